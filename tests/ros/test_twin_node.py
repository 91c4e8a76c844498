"""The twin as a node: what a driver and cameras would say, and what a driver would survive."""

import json
import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from dataclasses import replace  # noqa: E402

from geometry_msgs.msg import PoseStamped  # noqa: E402
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.parameter import Parameter as RosParameter  # noqa: E402
from robot_rl_control import names  # noqa: E402
from robot_rl_control.convert import (  # noqa: E402
    ns_from_stamp,
    pose_from_message,
    rgb_from_message,
)
from robot_rl_control.qos import COMMAND, LATCHED, SENSOR, STATE  # noqa: E402
from robot_rl_sim.outbox import Outbox  # noqa: E402
from robot_rl_sim.twin_node import GRIPPER_COMMANDS, JOINT_COMMANDS, TwinNode  # noqa: E402
from robot_rl_sim.twin_params import TwinParams  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray, Int64, String  # noqa: E402

from robot_rl.errors import ConfigError, UnknownNameError  # noqa: E402
from sim.tasks import make_port, make_twin  # noqa: E402

NODE = "robot_rl_sim.twin_node"


class Robot:
    """A twin in another process, and a bridge's share of the topics."""

    def __init__(self, graph, task, **params):
        self.graph = graph
        self.child = graph.spawn(NODE, params={"task": task, **params})
        self.states = graph.hear(JointState, names.JOINT_STATES, STATE)
        self.episodes = graph.hear(String, names.TWIN_EPISODE, LATCHED)
        node = graph.client
        self.joints = node.create_publisher(Float64MultiArray, JOINT_COMMANDS, COMMAND)
        self.widths = node.create_publisher(Float64MultiArray, GRIPPER_COMMANDS, COMMAND)
        self.seeds = node.create_publisher(Int64, names.TWIN_RESET, COMMAND)
        graph.wait_until(lambda: self.states.last and self.episodes.last, "the twin's first words")
        graph.wait_until(
            lambda: all(
                p.get_subscription_count() for p in (self.joints, self.widths, self.seeds)
            ),
            "its ears",
        )

    @property
    def q(self):
        return np.array(self.states.last.position[:7])

    @property
    def width(self):
        return self.states.last.position[7]

    def command(self, q):
        self.joints.publish(Float64MultiArray(data=[float(x) for x in q]))

    def grip(self, width):
        self.widths.publish(Float64MultiArray(data=[float(width)]))

    def reset(self, seed):
        count = json.loads(self.episodes.last.data)["count"]
        self.seeds.publish(Int64(data=seed))
        self.graph.wait_until(
            lambda: json.loads(self.episodes.last.data) == {"seed": seed, "count": count + 1},
            "the new episode",
        )
        self.hear_more(2)

    def hear_more(self, number):
        heard = len(self.states.messages)
        self.graph.wait_until(lambda: len(self.states.messages) >= heard + number, "joint states")

    def go(self, q, near_rad=0.02, width=None):
        """Stream a target until the arm is there."""

        def there():
            self.command(q)
            if width is not None:
                self.grip(width)
            return np.abs(self.q - q).max() < near_rad

        self.graph.wait_until(there, "the arm at its target")

    def set(self, **faults):
        kinds = {float: "double", bool: "bool", str: "string", int: "integer"}
        request = SetParameters.Request()
        for name, value in faults.items():
            kind = kinds[type(value)]
            message = ParameterValue(type=getattr(ParameterType, f"PARAMETER_{kind.upper()}"))
            setattr(message, f"{kind}_value", value)
            request.parameters.append(Parameter(name=name, value=message))
        return self.graph.call(SetParameters, "twin/set_parameters", request).results


def test_the_twin_reports_what_the_simulated_port_reads(ros_graph):
    robot = Robot(ros_graph, "pick-lift", seed=3)
    port = make_port("pick-lift")
    port.connect()
    port.reset(3)
    expected = port.read()
    message = robot.states.last
    arm = port.spec.arms[0]
    assert message.name == [*arm.joint_names, names.gripper_name(arm.name)]
    np.testing.assert_array_equal(robot.q, expected.q_rad)
    assert robot.width == expected.gripper_m[0]
    assert json.loads(robot.episodes.last.data) == {"seed": 3, "count": 0}
    for name, pose in expected.poses.items():
        heard = ros_graph.hear(PoseStamped, names.tracked(name), STATE)
        ros_graph.wait_until(lambda heard=heard: heard.last, name)
        assert heard.last.header.frame_id == "world"
        np.testing.assert_array_equal(pose_from_message(heard.last), pose)


def test_a_reset_draws_the_scene_and_ignores_commands_until_one_is_near(ros_graph):
    robot = Robot(ros_graph, "reach")
    robot.reset(7)
    start = make_twin("reach").draw(np.random.default_rng(7)).q_rad
    np.testing.assert_array_equal(robot.q, start)
    for _ in range(5):
        robot.command(start + 0.3)
    robot.hear_more(10)
    np.testing.assert_array_equal(robot.q, start)
    robot.command(start)
    robot.hear_more(5)
    np.testing.assert_array_equal(robot.q, start)  # asked for no motion, the scene stands
    robot.go(start + 0.1)
    robot.reset(7)
    np.testing.assert_array_equal(robot.q, start)


def test_the_gripper_goes_to_the_width_that_it_is_told(ros_graph):
    robot = Robot(ros_graph, "pick-lift")
    start, width = robot.q, robot.width
    wished = 0.02 if width > 0.05 else 0.06
    robot.go(start, near_rad=1.0)
    ros_graph.wait_until(
        lambda: robot.go(start, 1.0, wished) or abs(robot.width - wished) < 5e-3, "the width"
    )


def test_commands_that_are_no_commands_move_nothing(ros_graph):
    robot = Robot(ros_graph, "reach")
    start = robot.q
    robot.command(np.full(7, np.nan))
    robot.command(np.zeros(6))
    robot.command([*start[:6], np.inf])
    robot.grip(np.nan)
    robot.seeds.publish(Int64(data=-1))
    ros_graph.wait_until(lambda: robot.child.output.count("refused") > 1, "words of refusal")
    robot.hear_more(10)
    np.testing.assert_array_equal(robot.q, start)
    assert "joint command" in robot.child.output
    assert "seed -1 is negative" in robot.child.output


def test_the_arm_brakes_and_holds_when_the_commands_end(ros_graph):
    robot = Robot(ros_graph, "reach", command_timeout_s=0.1)
    robot.go(robot.q + 0.04, near_rad=0.01)
    far = robot.q + np.array([0.8, 0, 0, 0, 0, 0, 0])
    begin = robot.q
    ros_graph.wait_until(
        lambda: robot.command(far) or robot.q[0] - begin[0] > 0.1, "the arm on its way"
    )
    ros_graph.wait_until(
        lambda: max(abs(v) for v in robot.states.last.velocity) < 1e-3, "the arm at rest"
    )
    assert 0.1 < robot.q[0] - begin[0] < 0.79
    stopped = robot.q
    robot.hear_more(30)
    assert np.abs(robot.q - stopped).max() < 2e-3


def test_faults_can_be_set_while_it_runs_and_nothing_else_can(ros_graph):
    robot = Robot(ros_graph, "reach")
    (fixed,) = robot.set(task="peg")
    assert not fixed.successful and "task cannot change while the twin runs" in fixed.reason
    (wrong,) = robot.set(fault_dropped_share=1.5)
    assert wrong.reason == "fault_dropped_share is 1.5, but must be in 0 to 1."
    assert robot.set(fault_frozen_stamps=True)[0].successful
    robot.hear_more(5)
    frozen = robot.states.last.header.stamp
    robot.hear_more(5)
    assert robot.states.last.header.stamp == frozen
    assert robot.set(fault_frozen_stamps=False)[0].successful
    ros_graph.wait_until(lambda: robot.states.last.header.stamp != frozen, "stamps that go on")

    assert robot.set(fault_latency_s=0.2)[0].successful
    ros_graph.wait_until(
        lambda: time.time_ns() - ns_from_stamp(robot.states.last.header.stamp) > 200_000_000,
        "late joint states",
    )
    heard = len(robot.states.messages)
    robot.hear_more(3)
    ages = [time.time() - ns_from_stamp(m.header.stamp) * 1e-9 for m in robot.states.messages]
    assert min(ages[heard:]) >= 0.2
    robot.set(fault_latency_s=0.0)

    poses = ros_graph.hear(PoseStamped, names.tracked("goal"), STATE)
    assert robot.set(fault_dropped_share=1.0)[0].successful
    set_ns = time.time_ns()
    ros_graph.wait_until(
        lambda: poses.last and ns_from_stamp(poses.last.header.stamp) > set_ns + 500_000_000,
        "poses, which are not lost",
    )
    newest_ns = max(ns_from_stamp(message.header.stamp) for message in robot.states.messages)
    assert newest_ns < set_ns + 100_000_000
    robot.set(fault_dropped_share=0.0)
    robot.hear_more(1)


def test_images_come_under_the_names_of_a_realsense(ros_graph):
    size = {"camera_width_px": 64, "camera_height_px": 48, "camera_rate_hz": 5.0}
    robot = Robot(ros_graph, "peg", cameras="front", **size)
    images = ros_graph.hear(Image, names.color_image("front"), SENSOR)
    infos = ros_graph.hear(CameraInfo, names.camera_info("front"), SENSOR)
    coded = ros_graph.hear(CompressedImage, f"{names.color_image('front')}/compressed", SENSOR)
    ros_graph.wait_until(lambda: images.last and infos.last and coded.last, "images")
    rgb = rgb_from_message(images.last)
    port = make_port("peg")
    port.connect()
    np.testing.assert_array_equal(rgb, port.render("front", 64, 48))
    port.close()
    assert np.abs(rgb_from_message(coded.last).astype(int) - rgb).mean() < 5
    assert images.last.header.frame_id == "front_color_optical_frame"
    k = np.array(infos.last.k).reshape(3, 3)
    assert k[0, 0] == k[1, 1] == pytest.approx(24 / np.tan(np.radians(22.5)))
    assert (k[0, 2], k[1, 2]) == (31.5, 23.5)

    assert robot.set(fault_frozen_cameras="front")[0].successful
    heard = len(images.messages)
    ros_graph.wait_until(lambda: len(images.messages) > heard + 3, "repeated images")
    stamps = {ns_from_stamp(message.header.stamp) for message in images.messages[-3:]}
    assert len(stamps) == 1
    assert robot.set(fault_frozen_cameras="")[0].successful
    ros_graph.wait_until(
        lambda: ns_from_stamp(images.last.header.stamp) not in stamps, "the camera alive again"
    )


def test_an_unknown_task_ends_the_node_at_once_and_says_which_there_are(ros_graph):
    child = ros_graph.spawn(NODE, params={"task": "pegg"})
    assert child.process.wait(30) == 2
    assert "unknown task 'pegg'. Available: bimanual-lift" in child.output


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"task": "peg", "colour": "red"}, r"unknown field\(s\) colour"),
        ({}, "misses the field 'task'"),
        ({"task": "peg", "rate_hz": "fast"}, "rate_hz is 'fast', but must be"),
    ],
)
def test_parameters_that_are_unknown_missing_or_no_numbers_are_refused(
    ros_graph, given, complaint
):
    overrides = [RosParameter(name, value=value) for name, value in given.items()]
    with pytest.raises(ConfigError, match=complaint):
        TwinNode(context=ros_graph.context, parameter_overrides=overrides)


def test_ctrl_c_ends_the_twin_with_its_cameras_in_order(ros_graph):
    robot = Robot(ros_graph, "peg", cameras="front,wrist", camera_width_px=32, camera_height_px=32)
    robot.child.process.send_signal(signal.SIGINT)
    assert robot.child.process.wait(20) == 0
    assert "Traceback" not in robot.child.output


class Sent:
    def __init__(self):
        self.messages = []

    def publish(self, message):
        self.messages.append(message)


def test_a_slow_network_delivers_late_and_out_of_order_but_all():
    sent, outbox = Sent(), Outbox(seed=1)
    outbox.put(sent, "at once", 0.0)
    assert sent.messages == ["at once"]
    outbox.slow_down(0.1, 0.2)
    for i in range(50):
        outbox.put(sent, i, 0.01 * i)
    outbox.flush(0.09)
    assert sent.messages == ["at once"]
    outbox.flush(0.35)
    assert 0 < len(sent.messages) < 50
    outbox.flush(10.0)
    assert sent.messages[1:] != list(range(50)) and sorted(sent.messages[1:]) == list(range(50))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"rate_hz": 500.0}, "rate_hz is 500.0, but must be in 1 to 100.0"),
        ({"delay_s": -1.0}, "delay_s is -1.0, but must be at least 0"),
        ({"camera_rate_hz": 0.0}, "all three must be positive"),
    ],
)
def test_parameters_out_of_their_range_are_refused(wrong, complaint):
    with pytest.raises(ConfigError, match=complaint):
        replace(TwinParams(task="peg"), **wrong)


def test_an_unknown_camera_is_named_with_those_that_exist():
    with pytest.raises(UnknownNameError, match=r"unknown camera 'top'. Available: front, wrist"):
        TwinParams(task="peg", cameras="front,top")
