"""The arm bridge as its users meet it: a child process, and a driver that follows its commands."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl.control.robot_file import load_robot  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
TWIN = load_robot(ROBOTS / "twin.yaml")
ARM = TWIN.spec.arms[0]
NAMES = [*ARM.joint_names, "arm_gripper"]


class Driver:
    """What a driver does: it takes commands, moves there, and reports its joints at 100 Hz."""

    def __init__(self, graph):
        from robot_rl_control.qos import COMMAND, STATE
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray

        self.node = graph.node("driver")
        self.q, self.width = ARM.home_rad.copy(), 0.08
        self.commands: list[np.ndarray] = []
        self.is_reporting = True
        self._state = self.node.create_publisher(JointState, "joint_states", STATE)
        driver = TWIN.drivers[0]
        self.node.create_subscription(
            Float64MultiArray, driver.command.topic, self._on_joints, COMMAND
        )
        self.node.create_subscription(
            Float64MultiArray, driver.gripper.topic, self._on_gripper, COMMAND
        )
        self._kind = JointState
        self.node.create_timer(0.01, self._report)

    def _on_joints(self, message):
        self.q = np.array(message.data)
        self.commands.append(self.q)

    def _on_gripper(self, message):
        self.width = message.data[0]

    def _report(self):
        if not self.is_reporting:
            return
        message = self._kind(name=NAMES[::-1])
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.position = [self.width, *self.q[::-1].tolist()]
        message.velocity = [0.0] * 8
        self._state.publish(message)


class Rig:
    """Bridge, driver, and what a client hears of the bridge."""

    def __init__(self, graph):
        from robot_rl_control import names
        from robot_rl_control.qos import COMMAND, LATCHED, STATE
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Bool, String

        self.graph, self.driver = graph, Driver(graph)
        self.modes = graph.hear(String, names.BRIDGE_MODE, LATCHED)
        self.estops = graph.hear(Bool, names.ESTOPPED, LATCHED)
        self.executed = graph.hear(JointState, names.BRIDGE_EXECUTED, STATE)
        self.policy = graph.client.create_publisher(JointState, names.POLICY_TARGET, COMMAND)
        self.bridge = graph.spawn(
            "robot_rl_control.arm_bridge",
            params={"robot": str(ROBOTS / "twin.yaml"), "autostart": True},
        )
        self.wait_for_mode("hold")
        graph.wait_until(self.policy.get_subscription_count, "the bridge's ears")

    def wait_for_mode(self, mode):
        self.graph.wait_until(
            lambda: self.modes.last and self.modes.last.data == mode, f"mode {mode}"
        )

    def target(self, q, width=0.08):
        from sensor_msgs.msg import JointState

        message = JointState(name=NAMES, position=[*map(float, q), width])
        message.header.stamp = self.graph.client.get_clock().now().to_msg()
        return message

    def follow(self, q, width=0.08):
        """Keep sending one target until the arm is there."""

        def arrived():
            self.policy.publish(self.target(q, width))
            return np.abs(self.driver.q - q).max() < 1e-6 and self.driver.width == width

        self.graph.wait_until(arrived, "the arm at its target")


def check_limits(commands):
    """No command outside the limits, whatever happened; ticks are 10 ms by construction."""
    path = np.array(commands)
    speed = np.diff(path, axis=0) / 0.01
    change = np.diff(speed, axis=0) / 0.01
    assert (path >= ARM.joint_lower_rad - 1e-9).all() and (
        path <= ARM.joint_upper_rad + 1e-9
    ).all()
    assert (np.abs(speed) <= ARM.joint_velocity_limit_rad_s * (1 + 1e-6)).all()
    assert (np.abs(change) <= ARM.joint_acceleration_limit_rad_s2 * (1 + 1e-6)).all()


def test_the_arm_follows_the_policy_and_holds_when_it_falls_silent(ros_graph):
    rig = Rig(ros_graph)
    goal = ARM.home_rad + 0.2
    rig.follow(goal, 0.02)
    rig.wait_for_mode("hold")
    assert "policy" in {mode.data for mode in rig.modes.messages}
    assert {"policy", "blend", "hold"} >= {m.header.frame_id for m in rig.executed.messages}
    assert rig.bridge.interrupt() == 0
    assert rig.modes.last.data == "inactive"
