import numpy as np
import pytest

from robot_rl.env.robot_env import RobotEnv
from robot_rl.errors import ConfigError
from sim.batch import BatchedTwin
from sim.identify.parameters import ParameterSet, nominal_parameter
from sim.identify.posterior import Posterior
from sim.port import SimPort
from sim.randomize import Exactly, RandomForces, RandomizedTwin, Uniform, parameters_of
from sim.tasks import make_twin


@pytest.fixture(scope="module")
def rod():
    return make_twin("rod")


@pytest.fixture(scope="module")
def parameters(rod):
    model = rod.build().compile()
    return ParameterSet(
        [
            nominal_parameter(model, "com_y", "rod", low=-0.08, high=0.08),
            nominal_parameter(model, "friction", "rod", low=0.15, high=0.6),
        ]
    )


def test_a_batch_and_a_port_draw_the_same_twin_and_forces_from_a_seed(rod, parameters):
    forces = RandomForces(force_n={"rod": 1.0, "arm/hand": 3.0})
    twin = RandomizedTwin(rod, Uniform(parameters=parameters), forces=forces)
    batch, env = BatchedTwin(twin, 3), RobotEnv(SimPort(twin), twin.task)
    batch.reset([5, 6, 7])
    env.reset(seed=6)
    for _ in range(15):
        action = twin.expert(batch.state)
        obs = batch.step(action)[0]
        np.testing.assert_allclose(env.step(action[1])[0], obs[1], atol=1e-5)
    places = batch.state.poses["rod"][:, :2]
    assert np.abs(places[0] - places[1]).max() > 1e-3
    env.close()


def test_an_episode_forgets_the_parameters_of_the_one_before(rod, parameters):
    twin = RandomizedTwin(rod, Uniform(parameters=parameters))
    fresh, used = BatchedTwin(twin, 1), BatchedTwin(twin, 1)
    used.reset([1])
    for batch in (used, fresh):
        batch.reset([2])
        for _ in range(10):
            batch.step(twin.expert(batch.state))
    np.testing.assert_array_equal(fresh.state.poses["rod"], used.state.poses["rod"])


def test_twins_at_nominal_parameters_are_the_task_itself(rod, parameters):
    same = RandomizedTwin(rod, Exactly(parameters=parameters, values=parameters.nominal))
    states = []
    for twin in (rod, same):
        batch = BatchedTwin(twin, 2)
        starts = [batch.draw(seed) for seed in (3, 4)]
        batch.place(starts)
        for _ in range(10):
            batch.step(twin.expert(batch.state))
        states.append(batch.state.poses["rod"])
    np.testing.assert_allclose(states[0], states[1], atol=1e-9)


def test_a_posterior_is_a_belief_and_its_draws_are_narrower_than_the_prior(rod, parameters):
    posterior = Posterior(
        parameters=parameters,
        mean=parameters.prior_mean,
        covariance=np.diag((0.1 * parameters.prior_std) ** 2),
        chi2=4.0,
    )
    rng = np.random.default_rng(0)
    drawn = [RandomizedTwin(rod, posterior).draw(rng).values for _ in range(50)]
    wide = Uniform(parameters=parameters).sample(50, rng)
    assert (np.std(drawn, axis=0) < 0.6 * wide.std(0)).all()
    assert (np.std(drawn, axis=0) > 0.05 * wide.std(0)).all()


def test_only_a_randomized_twin_has_parameters(rod, parameters):
    assert parameters_of(rod) is None
    assert parameters_of(RandomizedTwin(rod, Uniform(parameters=parameters))) is parameters


def test_forces_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"random forces are .*-1.* must be >= 0 N"):
        RandomForces(force_n={"rod": -1.0})


def test_an_arm_that_hears_late_stands_still_until_it_is_told_to_move():
    reach = make_twin("reach", load_n=0.0)
    joints = reach.robot.arms[0].joint_names
    model = reach.build().compile()
    late = ParameterSet([nominal_parameter(model, "delay", joints, low=0.0, high=0.1)])
    twin = RandomizedTwin(reach, Exactly(parameters=late, values=np.array([0.1])))
    batch, env = BatchedTwin(twin, 2), RobotEnv(SimPort(twin), twin.task)
    batch.reset([3, 4])
    env.reset(seed=4)
    before = batch.state.q_rad
    still = np.zeros((2, batch.single_action_space.shape[0]), np.float32)
    moving = np.ones_like(still)
    for action in (still, moving, moving, moving, moving):
        obs = batch.step(action)[0]
        np.testing.assert_allclose(env.step(action[1])[0], obs[1], atol=1e-5)
        if action is still:
            np.testing.assert_allclose(batch.state.q_rad, before, atol=1e-3)
    assert np.abs(batch.state.q_rad - before).max() > 5e-3
    env.close()
