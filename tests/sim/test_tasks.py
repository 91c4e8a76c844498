import numpy as np
import pytest

from sim.batch import BatchedTwin
from sim.tasks import TASKS, make_env, make_task, make_twin
from sim.tasks.demonstrator import Demonstrator, DemonstratorCfg
from sim.twin import DEMO_SEEDS, EVAL_SEEDS

CLEAN = DemonstratorCfg(noise=0.0, pause_probability=0.0, slip_probability=0.0)


def _roll(twin, seeds, act):
    batch = BatchedTwin(twin, len(seeds))
    batch.reset(seeds)
    success = np.zeros(len(seeds), bool)
    while batch.active.any():
        success |= batch.step(act(batch.state))[2]
    return success


@pytest.mark.parametrize("name", TASKS)
def test_the_expert_nearly_always_succeeds_on_the_evaluation_seeds(name):
    twin = make_twin(name)
    assert _roll(twin, EVAL_SEEDS[:30], twin.expert).mean() >= 0.95


@pytest.mark.parametrize("name", TASKS)
def test_demonstrations_are_wide_and_still_mostly_succeed(name):
    twin = make_twin(name)
    seeds = DEMO_SEEDS[:20]
    people = [Demonstrator(twin) for _ in seeds]
    for person, seed in zip(people, seeds, strict=True):
        person.reset(seed)

    def act(state):
        actions = zip(people, twin.expert(state), strict=True)
        return np.stack([person.disturb(action) for person, action in actions])

    assert _roll(twin, seeds, act).mean() >= 0.8


@pytest.mark.parametrize("name", TASKS)
def test_standing_still_never_succeeds_and_times_out(name):
    env = make_env(name)
    env.reset(seed=1)
    action = np.zeros(env.action_space.shape, np.float32)
    steps = 0
    while True:
        _, reward, terminated, truncated, _ = env.step(action)
        steps += 1
        assert reward == 0.0 and not terminated
        if truncated:
            break
    assert steps == make_task(name).horizon
    env.close()


@pytest.mark.parametrize("name", TASKS)
def test_features_are_scaled_and_take_leading_dimensions(name):
    twin = make_twin(name)
    batch = BatchedTwin(twin, 20)
    obs, _ = batch.reset(range(20))
    assert obs.shape == (20, twin.task.feature_dim)
    assert np.abs(obs).max() < 5
    assert twin.expert(batch.state).shape == (20, *batch.single_action_space.shape)
    assert np.shape(twin.task.achieved(batch.state)) == (20,)


def test_evaluation_and_demonstration_seeds_are_disjoint():
    assert set(EVAL_SEEDS).isdisjoint(DEMO_SEEDS)
    assert range(500_000, 500_100) == EVAL_SEEDS


def test_a_demonstrator_without_faults_is_the_expert():
    twin = make_twin("pick-lift")
    batch = BatchedTwin(twin, 1)
    batch.reset([3])
    action = twin.expert(batch.state)[0]
    np.testing.assert_array_equal(Demonstrator(twin, CLEAN).disturb(action), action)


def test_faults_follow_from_the_seed_and_leave_the_grip_alone():
    person = Demonstrator(make_twin("bimanual-lift"))
    action = np.array([0.5, 0.5, 0.5, 1.0, 0.5, 0.5, 0.5, -1.0], np.float32)

    def roll(seed):
        person.reset(seed)
        return np.stack([person.disturb(action) for _ in range(30)])

    np.testing.assert_array_equal(roll(4), roll(4))
    assert np.abs(roll(4) - roll(5)).max() > 0.01
    np.testing.assert_array_equal(roll(6)[:, [3, 7]], np.tile([1.0, -1.0], (30, 1)))
