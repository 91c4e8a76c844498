"""A robot is excited through its arm bridge, measured and fitted; whatever ends it is told."""

import threading

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from pathlib import Path  # noqa: E402

from robot_rl_control import names  # noqa: E402
from robot_rl_control.qos import COMMAND, LATCHED, STATE  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from robot_rl.apps.identify import main  # noqa: E402
from sim.identify.measurement import load_measurement  # noqa: E402
from sim.identify.posterior import Posterior  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
PATIENT = {  # watchdogs that a loaded machine does not trip
    "command_timeout_s": 10.0,
    "observation_age_s": 20.0,
    "state_timeout_s": 10.0,
    "tracking_window_s": 10.0,
}
SHORT = ["--motion.duration-s", "3", "--motion.rest-s", "0.4", "--motion.candidates", "1"]
QUICK = ["--search.starts", "1", "--search.candidates", "0", "--unknowns", "delay"]
DELAY_S = 0.025


class Robot:
    """Twin and bridge as children, and what `excite` is told of them."""

    def __init__(self, graph):
        data = yaml.safe_load((ROBOTS / "twin.yaml").read_text())
        data["bridge"] |= PATIENT
        self.file = graph.folder / "robot.yaml"
        self.file.write_text(yaml.safe_dump(data))
        self.graph = graph
        self.twin = graph.spawn(
            "robot_rl_sim.twin_node",
            params={
                "task": "reach",
                "command_timeout_s": 10.0,
                "delay_s": DELAY_S,
                "joint_noise_rad": 3e-4,
            },
        )
        graph.spawn(
            "robot_rl_control.arm_bridge", params={"robot": str(self.file), "autostart": True}
        )
        self.executed = graph.hear(JointState, names.BRIDGE_EXECUTED, STATE)
        self.mode = graph.hear(String, names.BRIDGE_MODE, LATCHED)

    def excite(self, out, *more):
        ros = ["--port", "ros", "--namespace", self.graph.namespace, "--silence-s", "10"]
        return main(["excite", str(out), "--robot", str(self.file), *ros, *SHORT, *more])

    def is_moving(self):
        recent = [m.position[0] for m in self.executed.messages[-10:]]
        return len(recent) == 10 and np.ptp(recent) > 0.02

    def holds(self):
        return self.mode.last.data == "hold"


@pytest.fixture
def robot(ros_graph):
    robot = Robot(ros_graph)
    ros_graph.wait_until(lambda: robot.mode.last and robot.holds(), "the bridge to hold")
    return robot


def test_what_was_measured_on_the_graph_is_fitted_as_what_the_twin_gives(robot, tmp_path, capsys):
    path, found = tmp_path / "fit.npz", tmp_path / "arm.json"
    assert robot.excite(path, "--yes") == 0
    said = capsys.readouterr().out
    assert "tool of arm" in said and "nothing else is known to stand there" in said
    measured = load_measurement(path)
    assert measured.channels == tuple(f"arm_joint{i}" for i in range(1, 8))
    assert measured.duration_s > 2.5 and measured.facts["share"] == 1.0
    ends = measured.command[[0, -1]]
    assert np.abs(np.diff(ends, axis=0)).max() < 0.01, "the way to the motion is not in it"
    assert np.ptp(measured.command, axis=0).min() > 0.1
    fit = ["fit", str(path), "--robot", str(robot.file), "--out", str(found), *QUICK]
    assert main([*fit, "--held-out", str(path)]) == 0
    posterior = Posterior.load(found)
    # How large it is depends on when this machine let the twin's and the bridge's process run.
    low, high = (getattr(posterior.parameters.parameters[0], end) for end in ("low", "high"))
    assert posterior.parameters.names == ("delay",) and low <= posterior.values[0] <= high
    assert posterior.details["measurements"][0]["hash"] == measured.hash
    assert np.isfinite(posterior.details["held_out"][0]["fitted_mrad"])


def test_whatever_ends_the_motion_leaves_the_arm_at_rest_and_what_was_measured(
    ros_graph, robot, tmp_path, capsys
):
    ends = []

    def during_motion(path, act):
        """Act once the arm moves; returns what the command has said."""
        thread = threading.Thread(target=lambda: ends.append(robot.excite(path, "--yes")))
        thread.start()
        ros_graph.wait_until(robot.is_moving, "the motion")
        act()
        ros_graph.wait_until(lambda: not thread.is_alive(), "the end of the motion", 60.0)
        thread.join()
        assert ends.pop() == 2
        return capsys.readouterr().err

    active = ros_graph.client.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)
    leader = ros_graph.client.create_publisher(JointState, names.TELEOP_JOINTS, COMMAND)

    def lead():
        last = robot.executed.last
        message = JointState(name=last.name[:7], position=last.position[:7])
        message.header.stamp = ros_graph.client.get_clock().now().to_msg()
        leader.publish(message)
        active.publish(Bool(data=True))

    def take_over():
        timer = ros_graph.client.create_timer(0.02, lead)
        ros_graph.wait_until(lambda: robot.mode.last.data == "teleop", "the operator")
        timer.cancel()

    said = during_motion(tmp_path / "person.npz", take_over)
    assert "error: a person has taken over" in said
    ros_graph.wait_until(robot.holds, "the bridge to hold")

    said = during_motion(tmp_path / "stop.npz", lambda: ros_graph.call(Trigger, names.ESTOP))
    assert "mode 'estopped'" in said and "clear_estop" in said
    ros_graph.wait_until(lambda: not robot.is_moving(), "the arm to stand")
    assert robot.excite(tmp_path / "no.npz", "--yes") == 2, "while the e-stop is latched"
    assert "clear_estop" in capsys.readouterr().err
    ros_graph.wait_until(
        lambda: ros_graph.call(Trigger, names.CLEAR_ESTOP).success, "the e-stop to clear"
    )
    ros_graph.wait_until(robot.holds, "the bridge to hold")

    said = during_motion(tmp_path / "gone.npz", robot.twin.kill)
    assert "arm bridge" in said or "driver (or the twin)" in said
    assert not (tmp_path / "no.npz").exists()


def test_without_a_yes_nothing_moves(robot, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "")
    before = robot.executed.last.position
    assert robot.excite(tmp_path / "no.npz") == 1
    assert "Nothing was moved." in capsys.readouterr().out
    assert robot.executed.last.position == before and not (tmp_path / "no.npz").exists()
