"""Each kind of driver is told the same joints and openings, in its own words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl.control.driver_cfg import CommandCfg, GripperDriverCfg  # noqa: E402
from robot_rl.control.kinematics import forward  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.errors import ConfigError  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
TWIN = load_robot(ROBOTS / "twin.yaml")
PAIR = load_robot(ROBOTS / "twin_bimanual.yaml")
ARM = TWIN.spec.arms[0]
STATE_PART = {
    "state_topic": "joint_states",
    "state_joints": ("arm_gripper",),
    "state_closed": 0.0,
    "state_m_per_unit": 1.0,
}


def with_command(**command):
    driver = replace(TWIN.drivers[0], command=CommandCfg(**command))
    return replace(TWIN, drivers=(driver,))


def with_gripper(**gripper):
    driver = replace(TWIN.drivers[0], gripper=GripperDriverCfg(**STATE_PART, **gripper))
    return replace(TWIN, drivers=(driver,))


def heard_joints(graph, robot, kind, topic, q):
    """The message that a driver hears for joints `q`."""
    from robot_rl_control.drivers import JointCommands
    from robot_rl_control.qos import COMMAND

    node = graph.node("bridge")
    commands = JointCommands(node, robot)
    assert commands.topics == (f"{graph.namespace}/{topic}",)
    heard = graph.hear(kind, topic, COMMAND)

    def arrived():
        commands.publish(q, node.get_clock().now().to_msg())
        return heard.last

    return graph.wait_until(arrived, f"a command on {topic}")


def test_two_arms_share_one_message_in_the_order_of_the_file(ros_graph):
    from std_msgs.msg import Float64MultiArray

    q = np.arange(14) * 0.1
    topic = "forward_position_controller/commands"
    message = heard_joints(ros_graph, PAIR, Float64MultiArray, topic, q)
    np.testing.assert_array_equal(message.data, q)


def test_a_trajectory_is_one_point_ahead_without_velocity_so_that_it_ends_there(ros_graph):
    from trajectory_msgs.msg import JointTrajectory

    robot = with_command(kind="joint_trajectory", topic="jtc/joint_trajectory", lead_s=0.03)
    message = heard_joints(ros_graph, robot, JointTrajectory, "jtc/joint_trajectory", ARM.home_rad)
    (point,) = message.points
    np.testing.assert_array_equal(point.positions, ARM.home_rad)
    assert point.time_from_start.nanosec == 30_000_000 and len(point.velocities) == 0
    assert tuple(message.joint_names) == ARM.joint_names
    assert message.header.stamp.sec == 0, "it must begin on arrival"


def test_crisp_is_told_joints_by_name_or_the_pose_of_the_tool(ros_graph):
    from geometry_msgs.msg import PoseStamped
    from robot_rl_control.convert import pose_from_message
    from sensor_msgs.msg import JointState

    robot = with_command(kind="target_joint", topic="target_joint")
    message = heard_joints(ros_graph, robot, JointState, "target_joint", ARM.home_rad)
    assert dict(zip(message.name, message.position, strict=True)) == dict(
        zip(ARM.joint_names, ARM.home_rad, strict=True)
    )
    robot = with_command(kind="target_pose", topic="target_pose", frame_id="base")
    message = heard_joints(ros_graph, robot, PoseStamped, "target_pose", ARM.home_rad)
    assert message.header.frame_id == "base"
    pose = pose_from_message(message)
    np.testing.assert_allclose(pose[:3], forward(ARM, ARM.home_rad)[:3, 3])
    np.testing.assert_allclose(np.abs(pose[3:]), [0, 1, 0, 0], atol=1e-9)


def test_a_gripper_hears_each_change_once_in_its_own_unit(ros_graph):
    from robot_rl_control.grippers import GripperCommands
    from robot_rl_control.qos import STATE
    from trajectory_msgs.msg import JointTrajectory

    robot = with_gripper(
        kind="joint_trajectory",
        topic="gripper/joint_trajectory",
        command_joints=("finger",),
        command_closed=0.8,
        command_m_per_unit=-0.1,
        lead_s=0.1,
    )
    grippers = GripperCommands(ros_graph.node("bridge"), robot)
    assert grippers.topics == (f"{ros_graph.namespace}/gripper/joint_trajectory",)
    heard = ros_graph.hear(JointTrajectory, "gripper/joint_trajectory", STATE)

    def say(width):
        grippers.send(np.array([width]), np.array([width]))

    ros_graph.wait_until(lambda: say(0.08) or heard.last, "the first opening")
    for width in (0.08, 0.08, 0.0801, 0.0, 0.0):
        say(width)
    ros_graph.wait_until(lambda: heard.last.points[0].positions[0] == 0.8, "closed")
    values = [message.points[0].positions[0] for message in heard.messages]
    np.testing.assert_allclose(sorted(set(values)), [0.0, 0.8], atol=1e-9)
    assert values.count(0.8) == 1, "sent on change only"


def test_joint_state_and_position_grippers_are_told_widths(ros_graph):
    from robot_rl_control.grippers import GripperCommands
    from robot_rl_control.qos import STATE
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    node = ros_graph.node("bridge")
    single = GripperCommands(
        node, with_gripper(kind="joint_state", topic="grip", command_joints=("a", "b"))
    )
    heard = ros_graph.hear(JointState, "grip", STATE)
    width = np.array([0.03])
    ros_graph.wait_until(lambda: single.send(width, width) or heard.last, "an opening")
    assert list(heard.last.position) == [0.03, 0.03] and list(heard.last.name) == ["a", "b"]
    pair = GripperCommands(node, PAIR)
    both = ros_graph.hear(Float64MultiArray, "gripper_controller/commands", STATE)
    widths = np.array([0.01, 0.02])
    ros_graph.wait_until(lambda: pair.send(widths, widths) or both.last, "both openings")
    assert list(both.last.data) == [0.01, 0.02]


def test_a_gripper_with_two_services_is_called_once_for_each_change(ros_graph):
    from robot_rl_control.grippers import GripperCommands
    from std_srvs.srv import Trigger

    calls = []
    server = ros_graph.node("gripper")
    for name in ("open", "close"):

        def called(request, response, name=name):
            calls.append(name)
            response.success = True
            return response

        server.create_service(Trigger, name, called)
    robot = with_gripper(kind="trigger", open_service="open", close_service="close")
    grippers = GripperCommands(ros_graph.node("bridge"), robot)
    assert grippers.topics == ()

    def say(width, count):
        grippers.send(np.array([0.04]), np.array([width]))
        return len(calls) == count

    ros_graph.wait_until(lambda: say(0.08, 1), "open")
    ros_graph.wait_until(lambda: say(0.01, 2), "close")
    for _ in range(20):
        say(0.02, 2)
    ros_graph.wait_until(lambda: say(0.07, 3), "open again")
    assert calls == ["open", "close", "open"]


def test_an_action_without_its_package_names_what_to_install(ros_graph):
    from robot_rl_control.grippers import GripperCommands

    try:
        import control_msgs.action  # noqa: F401
    except ImportError:
        robot = with_gripper(kind="gripper_command", topic="gripper_cmd", max_effort_n=20.0)
        with pytest.raises(ConfigError, match=r"needs control_msgs, which is not installed\. In"):
            GripperCommands(ros_graph.node("bridge"), robot)
    else:
        pytest.skip("control_msgs is installed")


def test_states_of_arm_and_gripper_may_come_apart_and_in_any_order(ros_graph):
    from robot_rl_control.drivers import JointStates
    from robot_rl_control.qos import STATE
    from sensor_msgs.msg import JointState

    states = []
    JointStates(ros_graph.node("bridge"), TWIN, lambda *state: states.append(state))
    publisher = ros_graph.client.create_publisher(JointState, "joint_states", STATE)
    arm = JointState(name=list(ARM.joint_names[::-1]), position=ARM.home_rad[::-1].tolist())
    arm.header.stamp.sec = 7
    short = JointState(name=list(ARM.joint_names), position=[0.0])
    gripper = JointState(name=["arm_gripper", "other"], position=[0.05, 1.0])

    def reported():
        for message in (short, gripper, arm):
            publisher.publish(message)
        return states

    ros_graph.wait_until(reported, "a whole state")
    q, dq, width, stamp_s = states[0]
    np.testing.assert_array_equal(q, ARM.home_rad)
    assert dq is None and width.tolist() == [0.05] and stamp_s == 7.0
