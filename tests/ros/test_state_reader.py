"""What the topics say becomes one state, and nothing old is ever taken for new."""

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from dataclasses import replace  # noqa: E402

import cv2  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from robot_rl_control import names  # noqa: E402
from robot_rl_control.convert import (  # noqa: E402
    image_message,
    pose_from_message,
    pose_message,
    rgb_from_message,
    stamp_from_ns,
)
from robot_rl_control.qos import SENSOR, STATE  # noqa: E402
from robot_rl_control.state_reader import (  # noqa: E402
    GripperJoints,
    StateReader,
    StateReaderCfg,
)
from sensor_msgs.msg import CompressedImage, Image, JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402

from robot_rl.control.franka import franka_like_spec  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.errors import DataError, PortError, UnknownNameError  # noqa: E402
from robot_rl.types import CameraSpec  # noqa: E402
from robot_rl.types import Image as TakenImage  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"

FRONT = CameraSpec(name="front", width_px=32, height_px=24, rate_hz=30.0)
SPEC = replace(franka_like_spec(tracked=("peg",)), signals={"drawer": 2})
ARM = SPEC.arms[0]
GRIPPER = names.gripper_name(ARM.name)


class Driver:
    """Publishes what the test says, and waits until the reader has it."""

    def __init__(self, graph, reader):
        self.graph, self.reader = graph, reader
        node = graph.client
        self.joints = node.create_publisher(JointState, names.JOINT_STATES, STATE)
        self.pose = node.create_publisher(PoseStamped, names.tracked("peg"), STATE)
        self.signal = node.create_publisher(Float64MultiArray, names.signal("drawer"), STATE)
        self.image = node.create_publisher(Image, names.color_image("front"), SENSOR)
        made = [self.joints, self.pose, self.signal]
        self.graph.wait_until(
            lambda: all(publisher.get_subscription_count() for publisher in made), "matching"
        )

    def facts(self, title):
        return next(v for k, v in self.reader.facts().items() if title in k)

    def say_joints(self, q, *, width=None, stamp_ns=None, joints=ARM.joint_names, dq=(), tau=()):
        message = JointState(name=list(joints), position=[float(x) for x in q])
        message.velocity, message.effort = [float(x) for x in dq], [float(x) for x in tau]
        if width is not None:
            message.name = [*message.name, GRIPPER]
            message.position = [*message.position, width]
            message.velocity = [*message.velocity, 0.0] if len(dq) else []
            message.effort = [*message.effort, 0.0] if len(tau) else []
        message.header.stamp = stamp_from_ns(time.time_ns() if stamp_ns is None else stamp_ns)
        before = self.facts("joints of arm")
        self.joints.publish(message)
        self.graph.wait_until(lambda: self.facts("joints of arm")[:2] != before[:2], "joints")

    def say_rest(self):
        self.pose.publish(pose_message(np.eye(7)[3], stamp_from_ns(time.time_ns())))
        self.signal.publish(Float64MultiArray(data=[0.1, 0.2]))
        self.graph.wait_until(
            lambda: self.facts("peg").received and self.facts("drawer").received, "pose and signal"
        )


def make(graph, spec=SPEC, cfg=None, **more):
    reader = StateReader(graph.client, spec, cfg, **more)
    return reader, Driver(graph, reader)


def test_joints_are_found_by_name_in_whatever_order_they_come(ros_graph):
    reader, driver = make(ros_graph)
    q = np.linspace(-0.5, 0.5, 7)
    order = np.array([3, 0, 6, 5, 1, 2, 4])
    names_there = ["elevator", *(ARM.joint_names[i] for i in order)]
    driver.say_joints(
        [9.0, *q[order]], joints=names_there, dq=[9.0, *-q[order]], tau=[9.0, *2 * q[order]],
        width=0.03,
    )  # fmt: skip
    driver.say_rest()
    state = reader.read()
    np.testing.assert_array_equal(state.q_rad, q)
    np.testing.assert_array_equal(state.dq_rad_s, -q)
    np.testing.assert_array_equal(state.tau_nm, 2 * q)
    np.testing.assert_array_equal(state.gripper_m, [0.03])
    np.testing.assert_array_equal(state.poses["peg"], np.eye(7)[3])
    np.testing.assert_array_equal(state.signals["drawer"], [0.1, 0.2])


def test_arm_and_gripper_may_report_apart_and_in_the_grippers_own_unit(ros_graph):
    fingers = GripperJoints(joints=("left", "right"), scale_m=-0.5, offset_m=0.08)
    reader, driver = make(ros_graph, cfg=StateReaderCfg(grippers={"arm": fingers}))
    driver.say_rest()
    driver.say_joints(np.zeros(7))
    assert [title.split(" (")[0] for title in reader.missing()] == ["gripper of arm"]
    with pytest.raises(PortError, match=r"has not reported: gripper of arm \(left, right\) on"):
        reader.read()
    message = JointState(name=["right", "left"], position=[0.04, 0.02])
    message.header.stamp = stamp_from_ns(time.time_ns())
    driver.joints.publish(message)
    assert reader.wait_for(lambda: not reader.missing(), 20.0)
    assert reader.read().gripper_m == pytest.approx([0.05])


def test_velocities_that_a_driver_does_not_report_come_from_positions(ros_graph):
    reader, driver = make(ros_graph)
    driver.say_rest()
    now_ns = time.time_ns()
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=now_ns - 20_000_000)
    driver.say_joints(np.full(7, 0.01), width=0.0, stamp_ns=now_ns)
    state = reader.read()
    np.testing.assert_allclose(state.dq_rad_s, 0.5)
    assert state.tau_nm is None


def test_the_state_is_as_old_as_its_oldest_part(ros_graph):
    reader, driver = make(ros_graph)
    driver.say_rest()
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=time.time_ns() - 3_000_000_000)
    state, stamp_ns = reader.read_stamped()
    assert 3.0 <= time.monotonic() - state.stamp_s < 4.0 + 20.0
    assert time.time_ns() - stamp_ns >= 3_000_000_000
    driver.say_joints(np.zeros(7), width=0.0)
    assert reader.read().stamp_s > state.stamp_s


def test_a_frozen_stamp_refreshes_nothing_however_often_it_comes(ros_graph):
    reader, driver = make(ros_graph)
    driver.say_rest()
    frozen_ns = time.time_ns()
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=frozen_ns)
    first = reader.read()
    for i in range(3):
        driver.say_joints(np.full(7, 0.1 * i), width=0.0, stamp_ns=frozen_ns)
    again = reader.read()
    assert again.stamp_s == first.stamp_s
    np.testing.assert_array_equal(again.q_rad, first.q_rad)
    assert driver.facts("joints of arm")[:2] == (1, 3)


def test_no_jump_of_the_system_clock_makes_old_data_new(ros_graph):
    clock = {"s": 100.0, "ns": 10**18}
    reader, driver = make(ros_graph, now_s=lambda: clock["s"], now_ns=lambda: clock["ns"])
    driver.say_rest()  # signals are stamped by the test's clock, the pose lies ahead of it
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=clock["ns"] - 500_000_000)
    assert reader.read().stamp_s == pytest.approx(99.5)
    clock["s"] += 2.0
    clock["ns"] -= 3_600 * 10**9  # the clock is set back by an hour
    assert reader.read().stamp_s == pytest.approx(99.5)
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=10**18 - 400_000_000)
    assert driver.facts("joints of arm").age_s == 0.0  # ahead of the clock: as new as its receipt
    clock["s"] += 1.0
    assert driver.facts("joints of arm").age_s == pytest.approx(1.0)
    clock["ns"] += 7_200 * 10**9  # and forward by two: what was on its way counts as old
    driver.say_joints(np.zeros(7), width=0.0, stamp_ns=10**18)
    assert driver.facts("joints of arm").age_s > 3_000


def test_a_pose_in_another_frame_is_not_taken_for_one_in_world(ros_graph):
    reader, driver = make(ros_graph)
    stamp = stamp_from_ns(time.time_ns())
    driver.pose.publish(pose_message(np.eye(7)[3] * 2, stamp, "camera_link"))
    driver.say_rest()
    assert driver.facts("peg").received == 1
    np.testing.assert_array_equal(reader._poses["peg"].value, np.eye(7)[3])


def test_images_are_scaled_counted_and_keep_their_age(ros_graph):
    spec = replace(SPEC, cameras=(FRONT,))
    reader, driver = make(ros_graph, spec)
    driver.say_rest()
    driver.say_joints(np.zeros(7), width=0.0)
    ros_graph.wait_until(lambda: driver.image.get_subscription_count(), "matching")
    stamp_ns = time.time_ns() - 2_000_000_000
    sent = image_message(np.full((48, 64, 3), 7, np.uint8), stamp_from_ns(stamp_ns), "front")

    def send():  # best effort: one may be lost
        driver.image.publish(sent)
        return driver.facts("front").received

    ros_graph.wait_until(send, "an image")
    state = reader.read()
    image = state.images["front"]
    assert image.rgb.shape == (24, 32, 3) and (image.rgb == 7).all()
    assert image.frame_number == 1
    assert state.stamp_s - image.stamp_s > 1.0  # the camera's age is its own
    assert reader.read().images["front"] is image
    repeated = driver.facts("front").repeated
    ros_graph.wait_until(
        lambda: send() and driver.facts("front").repeated > repeated, "the frozen frame"
    )
    assert reader.read().images["front"].stamp_s == image.stamp_s


def test_compressed_images_come_in_the_same_form(ros_graph):
    spec = replace(SPEC, cameras=(FRONT,))
    topic = names.color_image("front") + "/compressed"

    cfg = StateReaderCfg(image_topics={"front": topic})
    reader, driver = make(ros_graph, spec, cfg)
    driver.say_rest()
    driver.say_joints(np.zeros(7), width=0.0)
    assert reader.missing() == [topic]
    rgb = np.zeros((24, 32, 3), np.uint8)
    rgb[..., 0] = 200
    coded = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
    publisher = ros_graph.client.create_publisher(CompressedImage, topic, SENSOR)
    message = CompressedImage(format="jpeg", data=coded)

    def send():
        message.header.stamp = stamp_from_ns(time.time_ns())
        publisher.publish(message)
        return driver.facts("front").received

    ros_graph.wait_until(send, "a compressed image")
    np.testing.assert_allclose(reader.read().images["front"].rgb, rgb, atol=12)


class Feed:
    """Cameras of this process, before and after their first image."""

    def __init__(self):
        self.given = {}

    def images(self):
        return self.given


def test_cameras_of_this_process_take_the_place_of_topics(ros_graph):
    feed = Feed()
    reader, driver = make(ros_graph, replace(SPEC, cameras=(FRONT,)), feed=feed)
    driver.say_rest()
    driver.say_joints(np.zeros(7), width=0.0)
    assert reader.missing() == ["camera front of this process"]
    rgb = np.full((48, 64, 3), 9, np.uint8)
    feed.given["front"] = TakenImage(rgb=rgb, stamp_s=5.0, frame_number=3)
    image = reader.read().images["front"]
    assert (image.rgb == 9).all() and image.rgb.shape == (24, 32, 3)
    assert (image.stamp_s, image.frame_number) == (5.0, 3)
    assert not any("image_raw" in title for title in reader.facts())


def test_a_robot_file_says_where_arm_and_gripper_report(ros_graph):
    file = load_robot(ROBOTS / "twin.yaml")
    driver = file.drivers[0]
    gripper = replace(
        driver.gripper, state_topic="hand/joint_states", state_joints=("left", "right"),
        state_closed=0.8, state_m_per_unit=-0.1,
    )  # fmt: skip
    file = replace(
        file, drivers=(replace(driver, joint_states="fr3/joint_states", gripper=gripper),)
    )
    reader = StateReader(ros_graph.client, file.spec, StateReaderCfg.of_robot(file))
    assert [title.split(" on ")[1] for title in reader.missing()] == [
        "fr3/joint_states", "hand/joint_states",
    ]  # fmt: skip
    arm = file.spec.arms[0]
    reported = {
        "hand/joint_states": (["left", "right"], [0.4, 0.5]),
        "fr3/joint_states": (list(arm.joint_names), arm.home_rad.tolist()),
    }
    publishers = {
        topic: ros_graph.client.create_publisher(JointState, topic, STATE) for topic in reported
    }

    def heard():
        for topic, (joints, position) in reported.items():
            message = JointState(name=joints, position=position)
            message.header.stamp = stamp_from_ns(time.time_ns())
            publishers[topic].publish(message)
        return not reader.missing()

    ros_graph.wait_until(heard, "arm and hand")
    assert reader.read().gripper_m == pytest.approx([gripper.width_m([0.4, 0.5])])


def test_a_signal_of_another_length_is_not_taken(ros_graph):
    _, driver = make(ros_graph)
    driver.signal.publish(Float64MultiArray(data=[1.0]))
    driver.say_rest()
    assert driver.facts("drawer").received == 1


def test_names_that_the_robot_does_not_have_are_refused(ros_graph):
    with pytest.raises(UnknownNameError, match=r"unknown camera 'top'. Available: front"):
        StateReader(
            ros_graph.client,
            replace(SPEC, cameras=(FRONT,)),
            StateReaderCfg(image_topics={"top": "x"}),
        )


def test_a_closed_reader_hears_no_more(ros_graph):
    reader, driver = make(ros_graph)
    reader.close()
    reader.close()
    ros_graph.wait_until(lambda: driver.joints.get_subscription_count() == 0, "unsubscribed")


def test_poses_and_images_survive_the_way_through_messages():
    rng = np.random.default_rng(0)
    pose = rng.normal(size=7)
    message = pose_message(pose, stamp_from_ns(5_000_000_001))
    assert message.pose.orientation.w == pose[3] and message.header.stamp.nanosec == 1
    np.testing.assert_array_equal(pose_from_message(message), pose)
    rgb = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(rgb_from_message(image_message(rgb, stamp_from_ns(0), "c")), rgb)


def test_padded_rows_and_other_channel_orders_are_understood():
    rgb = np.random.default_rng(0).integers(0, 255, (2, 3, 3)).astype(np.uint8)
    padded = np.zeros((2, 16), np.uint8)
    padded[:, :9] = rgb[..., ::-1].reshape(2, 9)
    message = Image(height=2, width=3, encoding="bgr8", step=16, data=padded.tobytes())
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


def test_what_is_no_colour_image_is_refused_with_what_would_be():
    with pytest.raises(DataError, match="image encoding is '16UC1', but must be one of bgr8"):
        rgb_from_message(Image(encoding="16UC1"))
    with pytest.raises(DataError, match="holds 5 bytes in rows of 9"):
        rgb_from_message(Image(encoding="rgb8", height=2, width=3, step=9, data=bytes(5)))
    with pytest.raises(DataError, match="cannot be decoded"):
        rgb_from_message(CompressedImage(format="jpeg", data=b"no image"))
