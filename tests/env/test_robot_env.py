import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.control.observe import ObserveCfg
from robot_rl.env.fake_port import FakePort, FakePortCfg, fake_reach_task
from robot_rl.env.port import TakenOver
from robot_rl.env.robot_env import RobotEnv, RobotEnvCfg
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import CameraSpec, Command

CAMERA = CameraSpec(name="front", width_px=48, height_px=40, rate_hz=30.0)
ZERO = np.zeros(3, np.float32)


class RecordingPort(FakePort):
    """Remembers what reached it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sent, self.stops = [], 0

    def send(self, command):
        self.sent.append(command)
        return super().send(command)

    def stop(self):
        self.stops += 1
        super().stop()


def make(port=None, *, task=None, horizon=60, **cfg):
    port = port or RecordingPort()
    task = task or fake_reach_task(port.spec, horizon=horizon)
    return RobotEnv(port, task, RobotEnvCfg(**cfg))


def pixel_env():
    spec = franka_like_spec("seeing", cameras=(CAMERA,), tracked=("goal",))
    return make(FakePort(spec), observe=ObserveCfg(pixels=True))


def towards_goal(obs):
    """The reach features begin with the way to the goal [m]; an action of 1 is 2 cm."""
    return np.clip(obs[:3] / 0.02, -1, 1).astype(np.float32)


def rollout(env, policy=towards_goal, **reset):
    obs, info = env.reset(**reset)
    steps = [(obs, 0.0, False, False, info)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(policy(steps[-1][0])))
    return steps


@pytest.mark.parametrize("build", [make, pixel_env], ids=["state", "pixels"])
def test_it_passes_the_checkers_of_gymnasium_and_sb3(build):
    with warnings.catch_warnings():
        # A robot's joint and object positions have no natural bounds to declare.
        warnings.filterwarnings("ignore", message=".*Box observation space m.* value is")
        warnings.filterwarnings("ignore", message=".*render")
        warnings.filterwarnings("ignore", message=".*not able to test alternative render modes")
        gymnasium_check(build())
        sb3_check(build())


def test_a_simple_policy_succeeds_and_success_terminates_with_reward_one():
    steps = rollout(make(), seed=0)
    _, reward, terminated, truncated, info = steps[-1]
    assert (reward, terminated, truncated, info["is_success"]) == (1.0, True, False, True)
    assert sum(step[1] for step in steps) == 1.0
    assert len(steps) < 60


def test_success_needs_the_goal_held_without_a_break():
    env = make(task=replace(fake_reach_task(FakePort().spec), hold_s=0.5))
    steps = rollout(env, seed=0)
    near = [np.linalg.norm(obs[:3]) < 0.02 for obs, *_ in steps]
    assert all(near[-11:]) and not near[-12]  # 0.5 s at 20 Hz after the first instant


def test_a_time_out_truncates_and_does_not_terminate():
    env = make(horizon=5)
    steps = rollout(env, lambda obs: -towards_goal(obs), seed=0)
    assert len(steps) == 6
    assert (steps[-1][2], steps[-1][3]) == (False, True)


def test_success_on_the_last_step_is_no_time_out():
    length = len(rollout(make(), seed=0)) - 1
    steps = rollout(make(horizon=length), seed=0)
    assert (steps[-1][2], steps[-1][3]) == (True, False)


def test_equal_seeds_give_equal_episodes_and_later_resets_go_on_alike():
    def first_observations():
        env = make()
        return [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]

    one, two = first_observations(), first_observations()
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[0], one[1])


@pytest.mark.parametrize("action", [[np.nan, 0, 0], [np.inf, 0, 0]])
def test_a_non_finite_action_stops_the_robot_and_nothing_is_sent(action):
    env = make()
    env.reset(seed=0)
    with pytest.raises(NonFiniteError, match="action is not finite"):
        env.step(np.float32(action))
    assert env.port.sent == [] and env.port.stops == 1


def test_an_action_of_another_length_stops_the_robot():
    env = make()
    env.reset(seed=0)
    with pytest.raises(ShapeError, match=r"action of arm\.x.* has shape"):
        env.step(np.zeros(4, np.float32))
    assert env.port.sent == [] and env.port.stops == 1


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (FakePortCfg(nan_after_s=0.12), NonFiniteError),
        (FakePortCfg(refuse_after_s=0.12), PortError),
        (FakePortCfg(freeze_after_s=0.12), PortError),
    ],
    ids=["nan", "refusal", "frozen"],
)
def test_a_failing_robot_is_stopped_and_the_failure_is_told(faults, error):
    env = make(RecordingPort(cfg=faults))
    env.reset(seed=0)
    with pytest.raises(error):
        for _ in range(20):
            env.step(ZERO)
    assert env.port.stops == 1


def test_with_hold_a_frozen_robot_is_held_and_the_executed_action_is_zero():
    port = RecordingPort(cfg=FakePortCfg(freeze_after_s=0.2))
    env = make(port, observe=ObserveCfg(hold_when_stale=True))
    env.reset(seed=0)
    infos = [env.step(np.float32([0.5, 0, 0]))[4] for _ in range(15)]
    stale = [info["is_stale"] for info in infos]
    assert not stale[3] and all(stale[-5:])
    np.testing.assert_array_equal(infos[-1]["executed_action"], ZERO)
    np.testing.assert_array_equal(port.sent[-1].q_rad, port.sent[-2].q_rad)
    assert infos[-1]["obs_age_s"] > 0.2


def test_the_executed_action_is_the_request_where_nothing_limits():
    env = make()
    env.reset(seed=0)
    env.step(ZERO)  # turns the tool to its home orientation
    action = np.float32([0.5, -0.25, 0.75])
    info = env.step(action)[4]
    np.testing.assert_allclose(info["executed_action"], action, atol=0.01)
    assert info["executed_action"].dtype == info["requested_action"].dtype == np.float32
    assert not any(info["safety"].values())


def test_the_executed_action_tells_what_the_velocity_limit_left():
    slow = replace(franka_arm(), joint_velocity_limit_rad_s=np.full(7, 0.2))
    env = make(RecordingPort(franka_like_spec(arms=(slow,), tracked=("goal",))))
    env.reset(seed=0)
    for _ in range(10):
        env.step(ZERO)
    info = env.step(np.float32([0, 0, 1]))[4]
    assert info["safety"]["velocity_limit"]
    assert 0.05 < info["executed_action"][2] < 0.9


def test_the_executed_action_is_what_the_port_says_it_sent():
    class HalvingPort(RecordingPort):
        def send(self, command):
            return super().send(replace(command, q_rad=0.5 * (command.q_rad + self._q_target)))

    env = make(HalvingPort(cfg=FakePortCfg(start_noise_rad=0.0)))
    env.reset(seed=0)
    info = env.step(np.float32([0.8, 0, 0]))[4]
    np.testing.assert_allclose(info["executed_action"], [0.4, 0, 0], atol=0.02)


def test_the_workspace_stops_the_tool_and_says_so():
    env = make(horizon=200)
    env.reset(seed=0)
    for _ in range(40):
        info = env.step(np.float32([0, 0, -1]))[4]
    assert info["safety"]["workspace"]
    arm = env.port.spec.arms[0]
    assert forward(arm, env.port.sent[-1].q_rad)[2, 3] > arm.workspace_lower_m[2] - 2e-3


def test_an_action_delay_holds_commands_back_by_its_steps():
    def sent(delay):
        env = make(action_delay_steps=delay)
        env.reset(seed=0)
        for i in range(6):
            env.step(np.float32([0.1 * i, 0, 0.2]))
        return [command.q_rad for command in env.port.sent]

    prompt, late = sent(0), sent(2)
    assert len(prompt) == len(late) == 6
    np.testing.assert_allclose(late[2:], prompt[:4], atol=1e-12)
    np.testing.assert_array_equal(late[0], late[1])


def test_an_observation_delay_shows_the_past_and_reports_its_age():
    def seen(delay):
        env = make(observation_delay_steps=delay)
        steps = [env.reset(seed=0)] + [env.step(np.float32([0.5, 0, 0.2])) for _ in range(6)]
        return [step[0] for step in steps], steps[-1][4]["obs_age_s"]

    (prompt, prompt_age_s), (late, late_age_s) = seen(0), seen(2)
    np.testing.assert_array_equal(late[2:], prompt[:-2])
    np.testing.assert_array_equal(late[0], late[1])
    assert prompt_age_s == 0.0 and late_age_s == pytest.approx(0.1)


def test_steps_keep_the_tasks_rate_and_a_late_caller_is_told():
    env = make()
    env.reset(seed=0)
    stamps = [env.step(ZERO)[4]["t_s"] for _ in range(4)]
    np.testing.assert_allclose(np.diff(stamps), 0.05)
    env.port.clock.sleep_until(env.port.clock.now() + 0.03)  # thinks, but within the period
    info = env.step(ZERO)[4]
    assert not info["is_late"] and info["t_s"] == pytest.approx(stamps[-1] + 0.05)
    env.port.clock.sleep_until(env.port.clock.now() + 0.2)
    info = env.step(ZERO)[4]
    assert info["is_late"] and info["t_s"] == pytest.approx(stamps[-1] + 0.05 + 0.2 + 0.05)


def test_construction_touches_no_robot_and_step_needs_reset():
    env = make()
    with pytest.raises(PortError, match=r"step\(\) before reset\(\)"):
        env.step(ZERO)
    with pytest.raises(PortError, match="not connected"):
        env.port.read()


def test_pixels_come_as_a_dict_and_render_shows_the_first_camera():
    env = pixel_env()
    obs, _ = env.reset(seed=0)
    assert obs["front"].shape == (40, 48, 3) and obs["front"].dtype == np.uint8
    np.testing.assert_array_equal(env.render(), obs["front"])
    assert isinstance(env, gymnasium.Env) and env.observation_space.contains(obs)


def test_negative_delays_are_refused():
    with pytest.raises(ConfigError, match="action_delay_steps -1"):
        RobotEnvCfg(action_delay_steps=-1)


class SharedFakePort(FakePort):
    """A port on which a person lifts the first joint in the second step."""

    def __init__(self):
        super().__init__()
        self.sent = 0

    def send(self, command):
        self.sent += 1
        return super().send(command)

    def taken_over(self):
        if self.sent != 2:
            return None
        q_rad = self.read().q_rad + 0.01 * np.eye(7)[0]
        return TakenOver("human", Command(q_rad=q_rad, gripper_m=self.read().gripper_m, stamp_s=0))


def test_what_a_person_did_is_what_was_executed_and_the_next_action_begins_there():
    env = make(SharedFakePort())
    env.reset(seed=0)
    infos, commands = [], [env.command]
    for _ in range(3):
        infos.append(env.step(ZERO)[-1])
        commands.append(env.command)
    assert [info.get("control_source") for info in infos] == [None, "human", None]
    lifted = commands[2].q_rad - commands[1].q_rad
    assert lifted[0] == pytest.approx(0.01, abs=2e-3)
    expected = env.decoder.encode(commands[1], commands[2])
    np.testing.assert_array_equal(infos[1]["executed_action"], expected)
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(infos[1]["requested_action"], ZERO)
