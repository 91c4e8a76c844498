"""The arm bridge as its users meet it: a child process, and a driver that follows its commands."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl.control.kinematics import forward  # noqa: E402
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
        from diagnostic_msgs.msg import DiagnosticArray
        from robot_rl_control import names
        from robot_rl_control.qos import COMMAND, LATCHED, STATE
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Bool, String

        self.graph, self.driver = graph, Driver(graph)
        self.modes = graph.hear(String, names.BRIDGE_MODE, LATCHED)
        self.estops = graph.hear(Bool, names.ESTOPPED, LATCHED)
        self.executed = graph.hear(JointState, names.BRIDGE_EXECUTED, STATE)
        self.diagnostics = graph.hear(DiagnosticArray, "/diagnostics", STATE)
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


def diagnosis(rig):
    """What the bridge last told of itself while it held, by name."""
    for message in reversed(rig.diagnostics.messages):
        for status in message.status:
            if status.name == f"{rig.graph.namespace}/arm_bridge" and status.message == "hold":
                return {value.key: value.value for value in status.values}
    return None


def check_limits(commands):
    """No command outside joint limits or workspace, whatever happened.

    Speed and acceleration are judged in tests/control/test_bridge.py: here a busy machine may
    lose messages between two that are heard.
    """
    path = np.array(commands)
    lower, upper = ARM.joint_lower_rad - 1e-9, ARM.joint_upper_rad + 1e-9
    assert len(path) > 0 and ((path >= lower) & (path <= upper)).all()
    tool = forward(ARM, path)[:, :3, 3]
    assert (tool >= ARM.workspace_lower_m - 1.001e-3).all()
    assert (tool <= ARM.workspace_upper_m + 1.001e-3).all()


def test_the_arm_follows_the_policy_and_holds_when_it_falls_silent(ros_graph):
    rig = Rig(ros_graph)
    goal = ARM.home_rad + 0.2
    rig.follow(goal, 0.02)
    rig.wait_for_mode("hold")
    assert "policy" in {mode.data for mode in rig.modes.messages}
    sources = [message.header.frame_id for message in rig.executed.messages]
    assert {"hold", "blend"} <= set(sources) <= {"policy", "blend", "hold"}
    assert list(rig.executed.last.name) == NAMES
    rig.diagnostics.messages.clear()  # those of the time before any target
    said = ros_graph.wait_until(lambda: diagnosis(rig), "diagnostics")
    assert said["mode"] == "hold" and said["hold reason"].startswith("policy_target: silent")
    assert float(said["age joint_states [s]"]) < 5.0 and int(said["taken policy_target"]) > 5
    assert float(said["lateness p50 [ms]"]) <= float(said["lateness p99 [ms]"])
    assert rig.bridge.interrupt() == 0
    assert rig.modes.last.data == "inactive"
    check_limits(rig.driver.commands)


def test_the_estop_latches_while_broken_and_good_commands_stream_in(ros_graph):
    from robot_rl_control import names
    from std_srvs.srv import Trigger

    rig = Rig(ros_graph)
    goal = ARM.home_rad + np.array([0.8, 0, 0, 0, 0, 0, 0])

    def moving():
        rig.policy.publish(rig.target(goal))
        return np.abs(rig.driver.q - ARM.home_rad).max() > 0.1

    ros_graph.wait_until(moving, "the arm on its way")
    assert ros_graph.call(Trigger, names.ESTOP).success
    rig.wait_for_mode("estopped")
    assert rig.estops.last.data is True
    rng = np.random.default_rng(0)
    for _ in range(300):
        rig.policy.publish(rig.target(rng.choice([np.nan, np.inf, 9.0, -9.0], 7), 7.0))
        rig.policy.publish(rig.target(goal))
    stopped = rig.driver.commands[-1]
    seen = len(rig.driver.commands)
    ros_graph.wait_until(lambda: len(rig.driver.commands) > seen + 50, "commands that hold")
    assert all((q == rig.driver.commands[-1]).all() for q in rig.driver.commands[seen + 40 :])
    assert np.abs(stopped - goal).max() > 0.1, "it must not have gone on"
    assert rig.modes.last.data == "estopped"
    assert not ros_graph.call(Trigger, names.HOME).success
    assert ros_graph.call(Trigger, names.CLEAR_ESTOP).success
    rig.wait_for_mode("hold")
    assert ros_graph.call(Trigger, names.HOME).success
    home = ARM.home_rad
    ros_graph.wait_until(lambda: np.abs(rig.driver.q - home).max() < 1e-3, "the arm at home")
    check_limits(rig.driver.commands)


def test_the_operator_moves_the_tool_while_the_switch_is_held(ros_graph):
    from geometry_msgs.msg import TwistStamped
    from robot_rl_control import names
    from robot_rl_control.qos import COMMAND
    from std_msgs.msg import Bool
    from std_srvs.srv import SetBool

    rig = Rig(ros_graph)
    twists = ros_graph.client.create_publisher(TwistStamped, names.TELEOP_TWIST, COMMAND)
    switch = ros_graph.client.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)

    def push():
        message = TwistStamped()
        message.header.frame_id = "arm"
        message.header.stamp = ros_graph.client.get_clock().now().to_msg()
        message.twist.linear.y = 0.2
        switch.publish(Bool(data=True))
        twists.publish(message)
        rig.policy.publish(rig.target(ARM.home_rad))  # it must not interfere
        return forward(ARM, rig.driver.q)[1, 3] > 0.05

    ros_graph.wait_until(push, "the tool 5 cm to the left")
    assert "human" in {message.header.frame_id for message in rig.executed.messages}
    assert ros_graph.call(SetBool, names.SET_INTERVENTION, SetBool.Request(data=True)).success
    rig.wait_for_mode("hold")
    check_limits(rig.driver.commands)


def test_a_second_publisher_of_commands_is_a_fault_and_keeps_it_from_starting(ros_graph):
    from robot_rl_control import names
    from robot_rl_control.qos import COMMAND
    from std_msgs.msg import Float64MultiArray
    from std_srvs.srv import Trigger

    rig = Rig(ros_graph)
    topic = TWIN.drivers[0].command.topic
    rogue = ros_graph.node("rogue")
    publisher = rogue.create_publisher(Float64MultiArray, topic, COMMAND)
    ros_graph.wait_until(lambda: rig.modes.last.data.startswith("fault:"), "a fault")
    place = f"{ros_graph.namespace}/rogue also publishes {ros_graph.namespace}/{topic}"
    assert rig.modes.last.data == f"fault:{place}"
    assert rig.bridge.interrupt() == 0
    late = ros_graph.spawn(
        "robot_rl_control.arm_bridge",
        params={"robot": str(ROBOTS / "twin.yaml"), "autostart": True},
    )
    ros_graph.wait_until(lambda: place in late.output, "a refusal to start")
    rogue.destroy_publisher(publisher)
    rig.wait_for_mode("hold")
    assert ros_graph.call(Trigger, names.CLEAR_ESTOP).success


def test_without_autostart_it_obeys_the_life_cycle(ros_graph):
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState
    from robot_rl_control import names
    from robot_rl_control.qos import LATCHED
    from std_msgs.msg import String

    driver = Driver(ros_graph)
    modes = ros_graph.hear(String, names.BRIDGE_MODE, LATCHED)
    ros_graph.spawn("robot_rl_control.arm_bridge", params={"robot": str(ROBOTS / "twin.yaml")})

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return ros_graph.call(ChangeState, "arm_bridge/change_state", request).success

    def state():
        return ros_graph.call(GetState, "arm_bridge/get_state").current_state.id

    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    assert change(Transition.TRANSITION_CONFIGURE)
    ros_graph.wait_until(lambda: modes.last and modes.last.data == "inactive", "inactive")
    ros_graph.wait_until(lambda: change(Transition.TRANSITION_ACTIVATE), "activation")
    ros_graph.wait_until(lambda: modes.last.data == "hold", "hold")
    ros_graph.wait_until(lambda: len(driver.commands) > 10, "commands")
    assert change(Transition.TRANSITION_DEACTIVATE)
    ros_graph.wait_until(lambda: modes.last.data == "inactive", "inactive again")
    assert state() == State.PRIMARY_STATE_INACTIVE
    assert (driver.commands[-1] == ARM.home_rad).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"robot": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
        ({"robot": str(ROBOTS / "twin.yaml"), "rate": 5}, "unknown field(s) rate"),
        ({}, "misses the field 'robot'"),
    ],
)
def test_wrong_parameters_end_it_with_one_clear_line(ros_graph, params, message):
    child = ros_graph.spawn("robot_rl_control.arm_bridge", params=params)
    ros_graph.wait_until(lambda: child.process.poll() is not None, "its end")
    assert child.process.returncode == 2
    assert message in child.output and "Traceback" not in child.output
