"""The arm bridge and the twin, each in its own process: what the arm does when somebody dies."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl.control.robot_file import load_robot  # noqa: E402

ROBOT = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"
ARM = load_robot(ROBOT).spec.arms[0]
NAMES = [*ARM.joint_names, "arm_gripper"]


class Rig:
    """Twin, bridge, and a client that hears both."""

    def __init__(self, graph):
        from robot_rl_control import names
        from robot_rl_control.qos import COMMAND, LATCHED, STATE
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Int64, String

        self.graph, self._kind = graph, JointState
        self.modes = graph.hear(String, names.BRIDGE_MODE, LATCHED)
        self.episodes = graph.hear(String, names.TWIN_EPISODE, LATCHED)
        self.joints = graph.hear(JointState, names.JOINT_STATES, STATE)
        self.policy = graph.client.create_publisher(JointState, names.POLICY_TARGET, COMMAND)
        self.reset = graph.client.create_publisher(Int64, names.TWIN_RESET, COMMAND)
        self.twin = graph.spawn("robot_rl_sim.twin_node", params={"task": "reach"})
        self.bridge = graph.spawn(
            "robot_rl_control.arm_bridge", params={"robot": str(ROBOT), "autostart": True}
        )
        self.wait_for_mode("hold")
        graph.wait_until(lambda: self.joints.last, "the twin's joint states")
        graph.wait_until(self.policy.get_subscription_count, "the bridge's ears")

    @property
    def q(self):
        message = self.joints.last
        values = dict(zip(message.name, message.position, strict=True))
        return np.array([values[name] for name in ARM.joint_names])

    def wait_for_mode(self, mode):
        self.graph.wait_until(
            lambda: self.modes.last and self.modes.last.data == mode, f"mode {mode}"
        )

    def send(self, q):
        message = self._kind(name=NAMES, position=[*map(float, q), 0.08])
        message.header.stamp = self.graph.client.get_clock().now().to_msg()
        self.policy.publish(message)

    def move(self, q, tolerance_rad=0.02):
        """Keep sending a target until the arm is near it."""

        def arrived():
            self.send(q)
            return np.abs(self.q - q).max() < tolerance_rad

        self.graph.wait_until(arrived, "the arm at its target")

    def wait_for_rest(self):
        """Until ten joint states in a row show speeds of nothing."""

        def at_rest():
            last = self.joints.messages[-10:]
            return len(last) == 10 and max(max(map(abs, m.velocity)) for m in last) < 1e-3

        self.graph.wait_until(at_rest, "the arm at rest")


def test_the_arm_holds_when_the_bridge_itself_is_killed(ros_graph):
    rig = Rig(ros_graph)
    start = rig.q
    goal = start + np.array([0.6, 0, 0, 0, 0, 0, 0])

    def moving():
        rig.send(goal)
        return rig.q[0] - start[0] > 0.1

    ros_graph.wait_until(moving, "the arm on its way")
    rig.bridge.kill()
    killed = len(rig.joints.messages)
    ros_graph.wait_until(lambda: len(rig.joints.messages) > killed + 10, "states after the kill")
    rig.wait_for_rest()
    assert goal[0] - rig.q[0] > 0.05, "it must not have gone on to its target"


def test_after_a_reset_of_the_scene_the_bridge_takes_the_arm_where_it_stands(ros_graph):
    from robot_rl_control import names
    from std_msgs.msg import Int64
    from std_srvs.srv import Trigger

    rig = Rig(ros_graph)
    rig.move(rig.q + 0.1)
    rig.wait_for_mode("hold")
    count = len(rig.episodes.messages)
    rig.reset.publish(Int64(data=3))
    ros_graph.wait_until(lambda: len(rig.episodes.messages) > count, "a new episode")
    ros_graph.wait_until(lambda: ros_graph.call(Trigger, names.RESYNC).success, "resync")
    start = rig.q
    rig.move(start + np.array([0.1, 0, 0, 0, 0, 0, 0]))
    assert rig.modes.last.data == "policy"
    assert rig.bridge.interrupt() == 0
    rig.wait_for_rest()


def test_joint_states_with_a_frozen_stamp_hold_the_arm_until_they_move_on(ros_graph):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    rig = Rig(ros_graph)
    start = rig.q
    rig.move(start + 0.05)

    def freeze(is_frozen):
        value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=is_frozen)
        request = SetParameters.Request(
            parameters=[Parameter(name="fault_frozen_stamps", value=value)]
        )
        (result,) = ros_graph.call(SetParameters, "twin/set_parameters", request).results
        assert result.successful, result.reason

    def mode_under_way(mode):
        rig.send(start)
        return rig.modes.last.data == mode

    freeze(True)
    ros_graph.wait_until(lambda: mode_under_way("hold"), "hold, though the policy goes on")
    count = len(rig.joints.messages)
    ros_graph.wait_until(
        lambda: rig.send(start) or len(rig.joints.messages) > count + 50, "frozen states"
    )
    assert rig.modes.last.data == "hold"
    freeze(False)
    ros_graph.wait_until(lambda: mode_under_way("policy"), "the policy again")
