"""The task of a real robot, from its file."""

from pathlib import Path

import numpy as np
import pytest

from robot_rl.env.fake_port import FakePort
from robot_rl.env.robot_env import RobotEnv, RobotEnvCfg
from robot_rl.env.task_file import load_task
from robot_rl.errors import ConfigError, PortError
from robot_rl.types import RobotState

TASK = """
name: insert
instruction: put the peg into the hole
control_hz: 10.0
horizon: 150
translation_step_m: 0.01
use_gripper: false
poses: [hole]
signals: {force: 3}
success: {signal: success, above: 0.5, hold_s: 0.2}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "task.yaml").write_text(text)
    return folder / "task.yaml"


def state(**parts) -> RobotState:
    return RobotState(
        stamp_s=0.0, q_rad=np.zeros(7), dq_rad_s=np.zeros(7), gripper_m=np.zeros(1), **parts
    )


def test_a_policy_sees_the_poses_and_signals_that_the_file_names_in_its_order(tmp_path):
    file = load_task(written(tmp_path, TASK))
    task = file.task()
    seen = state(poses={"hole": np.arange(7.0)}, signals={"force": np.array([7.0, 8.0, 9.0])})
    np.testing.assert_array_equal(task.features(seen), np.arange(10, dtype=np.float32))
    assert task.feature_dim == 10 and task.features(seen).dtype == np.float32
    assert (task.name, task.control_hz, task.horizon, task.hold_s) == ("insert", 10.0, 150, 0.2)
    assert file.all_signals == {"success": 1, "force": 3}
    with pytest.raises(PortError, match=r"reports no pose 'hole'\. It reports \[\]"):
        task.features(state())


@pytest.mark.parametrize(("value", "holds"), [(0.0, False), (0.5, False), (0.6, True)])
def test_success_is_a_signal_above_its_threshold(tmp_path, value, holds):
    task = load_task(written(tmp_path, TASK)).task()
    assert task.achieved(state(signals={"success": np.array([value])})) is holds
    assert task.achieved(state()) is False, "nobody has said anything yet"


def test_a_robot_runs_the_task(tmp_path):
    task = load_task(written(tmp_path, TASK.replace("poses: [hole]", "").split("signals")[0]))
    env = RobotEnv(FakePort(), task.task(), RobotEnvCfg(observe=task.observe))
    obs, _ = env.reset(seed=0)
    assert obs.shape == env.observation_space.shape
    assert env.action_space.shape == (6,), "translation and rotation, and no gripper"
    assert not env.step(np.zeros(6, np.float32))[2]
    env.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("horizon: 150", "horizont: 150"), "unknown field\\(s\\) horizont"),
        (("horizon: 150", "horizon: 0"), "horizon 0 must be >= 1"),
        (("name: insert", ""), "misses the field 'name'"),
        (("{force: 3}", "{force: 0}"), "must have lengths of 1 or more"),
        (("use_gripper: false", "action_mode: jump"), "action_mode is 'jump'"),
        (("name: insert", "name: [insert"), "is not valid YAML"),
        (("poses: [hole]", "observe: {use_proprioception: false}"), None),
    ],
)
def test_a_file_that_says_nonsense_is_refused_by_name(tmp_path, change, message):
    path = written(tmp_path, TASK.replace(*change))
    if message is None:  # a signal is enough to see
        assert load_task(path).task().feature_dim == 3
        return
    with pytest.raises(ConfigError, match=message) as refused:
        load_task(path)
    assert str(path) in str(refused.value)


def test_a_policy_that_would_see_nothing_is_refused(tmp_path):
    text = TASK.split("poses")[0] + "observe: {use_proprioception: false}\n"
    with pytest.raises(ConfigError, match="shows nothing to a policy"):
        load_task(written(tmp_path, text))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_task(tmp_path / "none.yaml")
