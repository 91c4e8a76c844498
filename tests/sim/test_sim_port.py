import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from robot_rl.control.franka import franka_arm
from robot_rl.control.kinematics import forward
from robot_rl.env.conformance import check_port
from robot_rl.errors import ConfigError, PortError, UnknownNameError
from robot_rl.types import Command
from sim.arm import add_arm
from sim.port import SimPort
from sim.scene import empty_scene
from sim.tasks import TASKS, make_env, make_port, make_twin


@pytest.mark.parametrize("name", TASKS)
def test_every_twin_is_a_robot_port(name):
    check_port(lambda: make_port(name))


@pytest.mark.filterwarnings("ignore:.*infinity:UserWarning")  # states are unbounded
@pytest.mark.parametrize("name", TASKS)
def test_every_twin_is_a_gymnasium_env(name):
    env = make_env(name)
    check_gymnasium(env, skip_render_check=True)
    env.close()


def test_the_twin_passes_the_checks_of_stable_baselines():
    env = make_env("pick-lift")
    check_sb3(env, warn=False)
    env.close()


def test_the_model_and_the_kinematics_agree_on_where_the_tool_is():
    T_world_base = np.eye(4)
    T_world_base[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    T_world_base[:3, 3] = (0.1, -0.2, 0.3)
    arm = franka_arm("a", T_world_base=T_world_base)
    spec = empty_scene("fk")
    add_arm(spec, arm)
    model = spec.compile()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.uniform(arm.joint_lower_rad, arm.joint_upper_rad)
        for name, value in zip(arm.joint_names, q, strict=True):
            data.joint(name).qpos = value
        mujoco.mj_kinematics(model, data)
        T = T_world_base @ forward(arm, q)
        np.testing.assert_allclose(data.site("a/tcp").xpos, T[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.site("a/tcp").xmat.reshape(3, 3), T[:3, :3], atol=1e-9)


def test_gravity_is_compensated_so_a_still_arm_stays_where_it_was_put():
    port = SimPort(make_twin("pick-lift", load_n=0.0))
    port.connect()
    port.reset(1)
    before = port.read().q_rad
    port.clock.sleep_until(port.clock.now() + 1.0)
    assert np.abs(port.read().q_rad - before).max() < 2e-3


def test_equal_seeds_and_actions_give_equal_episodes_and_other_seeds_do_not():
    env = make_env("peg")
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 3)).astype(np.float32)

    def roll(seed):
        rows = [env.reset(seed=seed)[0]]
        return np.stack(rows + [env.step(action)[0] for action in actions])

    first, again, other = roll(3), roll(3), roll(4)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_hidden_dynamics_do_not_leak_from_one_episode_into_the_next():
    port = make_port("peg")
    port.connect()
    nominal = port.twin.build().compile().actuator_gainprm[:, 0]
    gains = []
    for seed in range(20):
        port.reset(seed)
        gains.append(port.model.actuator_gainprm[:, 0] / nominal)
    spread = port.twin.gain_spread
    assert np.ptp([g[0] for g in gains]) > spread
    assert np.all(np.abs(np.array(gains) - 1) <= spread + 1e-9)


def test_a_delayed_command_moves_nothing_before_its_time():
    port = make_port("reach", delay_s=0.05, difficulty={"load_n": 0.0})
    port.connect()
    q = port.read().q_rad
    port.send(Command(q_rad=q + 0.05, gripper_m=np.zeros(1), stamp_s=port.clock.now()))
    port.clock.sleep_until(port.clock.now() + 0.05)
    assert np.abs(port.read().q_rad - q).max() < 1e-3
    port.clock.sleep_until(port.clock.now() + 0.5)
    assert np.abs(port.read().q_rad - q).min() > 0.03


def test_a_negative_delay_is_refused():
    with pytest.raises(ConfigError, match=r"delay_s is -0.1, but must be >= 0"):
        make_port("reach", delay_s=-0.1)


def test_an_unknown_task_is_named_with_those_that_exist():
    with pytest.raises(UnknownNameError, match=r"unknown task 'pegg'. Available: bimanual-lift"):
        make_port("pegg")


def test_reading_a_twin_that_is_not_connected_says_what_to_do():
    with pytest.raises(PortError, match=r"is not connected. Call connect\(\)"):
        make_port("peg").read()
