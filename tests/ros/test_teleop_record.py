"""Demonstrations over the ROS graph: twin, bridge, device and recorder, each in its process."""

import json
import os
import pty
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl.apps import cli  # noqa: E402
from robot_rl.replay.store import EpisodeStore  # noqa: E402
from robot_rl.replay.trajectory import CONTROL_SOURCES  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
ROBOT = str(ROBOTS / "twin.yaml")
TASK = "reach"
LOOSE = {
    "min_rate_share": 0.2,
    "max_age_s": 2.0,
    "max_late_share": 1.0,
}  # this machine may be busy; faults are far worse


class Rig:
    """Twin and arm bridge, and what is said about the recording."""

    def __init__(self, graph, out, **twin):
        from robot_rl_control import names
        from robot_rl_control.qos import LATCHED
        from std_msgs.msg import String

        self.graph, self.out = graph, out
        self.statuses = graph.hear(String, names.EPISODE_STATUS, LATCHED)
        self.modes = graph.hear(String, names.BRIDGE_MODE, LATCHED)
        self.twin = graph.spawn("robot_rl_sim.twin_node", params={"task": TASK, **twin})
        self.bridge = graph.spawn(
            "robot_rl_control.arm_bridge", params={"robot": ROBOT, "autostart": True}
        )

    def record(self, device, **params):
        """Start the recorder for a device."""
        given = {"task": TASK, "robot": ROBOT, "out": str(self.out), "device": device}
        given |= {"countdown_s": 0.0, "reset_s": 0.2} | LOOSE | params
        self.recorder = self.graph.spawn("robot_rl_teleop.recorder_node", params=given)
        return self.recorder

    def teleop(self, device, **params):
        """Start the device."""
        given = {"task": TASK, "robot": ROBOT, "device": device} | params
        return self.graph.spawn("robot_rl_teleop.teleop_node", params=given)

    @property
    def status(self):
        return json.loads(self.statuses.last.data) if self.statuses.last else {}

    def wait_for(self, what, **wished):
        def holds():
            status = self.status
            return all(status.get(key) == value for key, value in wished.items()) and status

        return self.graph.wait_until(holds, f"{what}: {wished}, but {self.status}", 60.0)

    def ask(self, event):
        from std_srvs.srv import Trigger

        return self.graph.call(Trigger, f"recorder/{event}")

    def wait_for_end(self, child):
        self.graph.wait_until(lambda: child.process.poll() is not None, f"end of {child.name}", 90)
        assert child.process.returncode == 0, child.output


def test_the_expert_records_a_dataset_that_verifies(ros_graph, tmp_path, capsys):
    rig = Rig(ros_graph, tmp_path / "reach.zarr")
    rig.teleop("scripted")
    rig.wait_for_end(rig.record("scripted", episodes=2, auto_start=True))
    assert cli.main(["data", "verify", str(rig.out)]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    with EpisodeStore.open(rig.out) as store:
        assert store.meta.notes["task"] == TASK and store.meta.control_hz == 20.0
        good = [episode for episode in store if episode.success]
    assert len(good) == 2
    assert good[0].attrs["teleop"] == "scripted" and good[0].attrs["port"] == "ros"
    assert {e.attrs["seed"] for e in good} != {good[0].attrs["seed"]}, "each has its own start"
    for episode in good:
        assert episode.reward[-1] == 1.0 and episode.reward.sum() == 1.0
        assert {CONTROL_SOURCES[k] for k in episode.control_source} == {"scripted"}
        assert np.abs(episode.executed[:, :3]).max() > 0.1, "the arm was moved"


def test_a_session_without_nodes_of_its_own_records_through_the_ports_env(ros_graph, tmp_path):
    import sys

    rig = Rig(ros_graph, tmp_path / "reach.zarr")
    words = ["record", "--env", TASK, "--port", "ros", "--ros.namespace", ros_graph.namespace]
    words += ["--device", "scripted", "--episodes", "1", "--out", str(rig.out)]
    words += ["--gate.max-age-s", "2", "--gate.max-late-share", "1", "--gate.min-rate-share", "0"]
    rig.wait_for_end(ros_graph.run("record", [sys.executable, "-m", "robot_rl", *words]))
    with EpisodeStore.open(rig.out) as store:
        assert store.meta.robot == "twin" and any(episode.success for episode in store)


def test_a_person_at_a_terminal_starts_labels_and_undoes(ros_graph, tmp_path):
    rig = Rig(ros_graph, tmp_path / "reach.zarr")
    rig.record("keyboard", episodes=2, reset_s=1e6, operator="anna")
    line, terminal = pty.openpty()
    teleop = rig.teleop("keyboard", terminal=os.ttyname(terminal))
    rig.wait_for("ready", state="idle", waiting="")

    def press(key, what, **wished):
        """As a person does: press until it is seen to work."""

        def done():
            status = rig.status
            if all(status.get(k) == v for k, v in wished.items()):
                return True
            os.write(line, key.encode())
            ros_graph.wait_until(lambda: rig.status != status or True, "a moment")
            return False

        ros_graph.wait_until(done, f"{what}: {wished}", 60.0)

    def press_once(key, what, **wished):
        os.write(line, key.encode())
        rig.wait_for(what, **wished)

    press("\n", "started", state="recording")
    end = len(rig.modes.messages)

    def steered():
        os.write(line, b"w")
        return "teleop" in {m.data for m in rig.modes.messages[end:]} and rig.status["steps"] > 10

    ros_graph.wait_until(steered, "steering", 60.0)
    press_once("y", "labelled", state="reset", successes=1)
    press_once("z", "undone", successes=0, trashed=1)
    press_once("z", "brought back", successes=1, trashed=0)
    os.write(line, b"q")
    rig.wait_for_end(teleop)
    assert rig.recorder.interrupt() == 0
    with EpisodeStore.open(rig.out) as store:
        (episode,) = list(store)
    assert episode.success and episode.attrs["operator"] == "anna"
    assert episode.executed[:, 0].max() > 0.3 and abs(episode.executed[:, 1]).max() < 0.2
    os.close(line)
    os.close(terminal)


def test_a_leader_arm_moves_the_robot_once_it_is_aligned(ros_graph, tmp_path):
    from robot_rl_control import names
    from robot_rl_control.qos import STATE
    from sensor_msgs.msg import JointState

    rig = Rig(ros_graph, tmp_path / "x.zarr")
    joints = [f"l{k}" for k in range(7)]
    leader = ros_graph.client.create_publisher(JointState, "leader/joint_states", STATE)
    executed = ros_graph.hear(JointState, names.BRIDGE_EXECUTED, STATE)
    calibrated = {"leader_joints": joints, "leader_sign": [-1] * 7, "leader_offset_rad": [0.5] * 7}
    teleop = rig.teleop("leader", **calibrated)

    def stand(q):
        """The leader's own reading of the robot's joints `q`, in another order."""
        message = JointState(name=joints[::-1], position=(0.5 - np.asarray(q))[::-1].tolist())
        leader.publish(message)

    def robot():
        return np.array(executed.last.position[:7])

    ros_graph.wait_until(lambda: executed.last and leader.get_subscription_count(), "the bridge")
    begin = robot()
    far = begin + np.array([0, 0, 0.9, 0, 0, 0, 0])

    def complained():
        stand(far)
        return "turn arm_joint3 by -0.90 rad" in teleop.output

    ros_graph.wait_until(complained, "the leader to be told to align")
    np.testing.assert_allclose(robot(), begin, atol=1e-6)
    goal = begin + np.array([0.15, 0, 0, 0, 0, 0.1, 0])

    def follows(q):
        stand(q)
        return np.abs(robot() - q).max() < 1e-3

    ros_graph.wait_until(lambda: follows(begin + 0.02), "the leader to take over", 60.0)
    ros_graph.wait_until(lambda: follows(goal), "the robot at the leader", 60.0)
    assert teleop.interrupt() == 0


def test_taking_over_keeps_the_policy_out(ros_graph, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from robot_rl_control.qos import STATE

    rig = Rig(ros_graph, tmp_path / "x.zarr")
    heard = ros_graph.hear(DiagnosticArray, "/diagnostics", STATE)
    line, terminal = pty.openpty()
    teleop = rig.teleop("keyboard", terminal=os.ttyname(terminal))

    def reasons():
        values = [v for m in heard.messages[-3:] for s in m.status for v in s.values]
        return {v.value for v in values if v.key == "hold reason"}

    def taken_over():
        if heard.messages and not any("intervenes" in reason for reason in reasons()):
            count = len(heard.messages)
            os.write(line, b" ")
            ros_graph.wait_until(lambda: len(heard.messages) > count + 3, "diagnostics")
        return any("the operator intervenes" in reason for reason in reasons())

    ros_graph.wait_until(taken_over, "the bridge to know", 60.0)
    os.write(line, b"q")
    rig.wait_for_end(teleop)
    os.close(line)
    os.close(terminal)


def test_sigkill_of_the_recorder_loses_no_sealed_episode(ros_graph, tmp_path):
    rig = Rig(ros_graph, tmp_path / "reach.zarr")
    rig.teleop("scripted")
    rig.record("scripted", episodes=50, auto_start=True)
    rig.wait_for("an episode and the next one", successes=1, state="recording")
    rig.recorder.kill()
    ros_graph.wait_until(
        lambda: list((rig.out / "episodes").glob("ep_*")), "the sealed episode on disk"
    )

    def is_free():
        try:
            EpisodeStore.open(rig.out, mode="a").close()
        except cli.RobotRLError:
            return False
        return True

    ros_graph.wait_until(is_free, "the writer to let the store go")
    assert cli.main(["data", "verify", str(rig.out)]) == 0
    with EpisodeStore.open(rig.out) as store:
        assert sum(episode.success for episode in store) >= 1


def test_a_frozen_camera_aborts_the_episode_and_says_which(ros_graph, tmp_path):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    camera = "{name: front, width_px: 64, height_px: 48, rate_hz: 10.0}"
    seeing = Path(ROBOT).read_text().replace("cameras: []", f"cameras: [{camera}]")
    (tmp_path / "seeing.yaml").write_text(seeing)
    size = {"camera_width_px": 64, "camera_height_px": 48, "camera_rate_hz": 10.0}
    rig = Rig(ros_graph, tmp_path / "reach.zarr", cameras="front", **size)
    job = {"robot": str(tmp_path / "seeing.yaml"), "task": f"{TASK}/pixels"}
    rig.record("keyboard", episodes=2, reset_s=0.5, **job)

    def freeze(names):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=names)
        fault = Parameter(name="fault_frozen_cameras", value=value)
        request = SetParameters.Request(parameters=[fault])
        assert ros_graph.call(SetParameters, "twin/set_parameters", request).results[0].successful

    rig.wait_for("ready", state="idle", waiting="")
    rig.ask("start")
    ros_graph.wait_until(lambda: rig.status.get("steps", 0) > 10, "some steps", 60.0)
    rig.ask("failure")
    rig.wait_for("kept", failures=1)
    rig.wait_for("ready", state="idle", waiting="")
    rig.ask("start")
    ros_graph.wait_until(lambda: rig.status.get("steps", 0) > 5, "some steps", 60.0)
    freeze("front")
    assert "front: 2." in rig.wait_for("aborted", trashed=1)["reason"]
    assert rig.recorder.interrupt() == 0
    with EpisodeStore.open(rig.out) as store:
        (episode,) = list(store)
    streams = json.loads(rig.statuses.messages[-2].data)["streams"]
    assert set(streams["front/color/image_raw"]) == {"rate_hz", "age_s"}
    images = episode.obs["front"]
    assert images.shape[1:] == (48, 64, 3) and images.std() > 5, "the scene is on them"
    assert episode.attrs["streams"] == ["joints", "front"]


@pytest.mark.parametrize("fault", ["twin", "bridge"])
def test_what_dies_while_recording_aborts_with_the_reason(ros_graph, tmp_path, fault):
    rig = Rig(ros_graph, tmp_path / "reach.zarr")
    rig.record("keyboard", episodes=2, max_age_s=0.4)
    rig.wait_for("ready", state="idle", waiting="")
    assert rig.ask("start").success
    ros_graph.wait_until(lambda: rig.status.get("steps", 0) > 5, "some steps", 60.0)
    {"twin": rig.twin, "bridge": rig.bridge}[fault].kill()
    status = rig.wait_for("aborted", trashed=1)
    reason = {"twin": "joints: ", "bridge": "arm bridge: nothing was executed"}[fault]
    assert reason in status["reason"]
    assert rig.recorder.interrupt() == 0
    with EpisodeStore.open(rig.out) as store:
        assert store.ids() == store.partials() == []


def test_what_cannot_be_recorded_says_why(ros_graph, tmp_path):
    cases = {
        "robot_rl_teleop.recorder_node": ({"scene": "moon"}, "scene is 'moon', but must be"),
        "robot_rl_teleop.teleop_node": ({"device": "mouse"}, "unknown device 'mouse'"),
    }
    for module, (params, words) in cases.items():
        given = {"task": TASK, "robot": ROBOT, "out": str(tmp_path / "x")} | params
        if module.endswith("teleop_node"):
            del given["out"]
        child = ros_graph.spawn(module, params=given)
        ros_graph.wait_until(lambda child=child: child.process.poll() is not None, "its end")
        assert child.process.returncode == 2 and words in child.output
