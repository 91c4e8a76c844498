"""A session is recorded from the topics of a robot that stands before a board."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from pathlib import Path  # noqa: E402

from robot_rl_control import names  # noqa: E402
from robot_rl_control.convert import image_message, stamp_from_ns  # noqa: E402
from robot_rl_control.qos import SENSOR, STATE  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402

from calibration.guide import Guide, GuideCfg  # noqa: E402
from calibration.session import Session  # noqa: E402
from robot_rl.apps.calibrate.live import CameraAndArm, follow  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.errors import PortError, UnknownNameError  # noqa: E402
from sim.calibration_scene import CalibrationScene  # noqa: E402
from sim.calibration_world import draw_world, plan_views  # noqa: E402

ROBOT = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"
VIEWS = 5


def images_of(world, stops):
    scene, rng = CalibrationScene(world), np.random.default_rng(0)
    try:
        return [scene.image(q + world.offset_rad, rng) for q in stops]
    finally:
        scene.close()


def test_views_are_recorded_from_topics_by_the_stamps_of_their_headers(ros_graph, tmp_path):
    world = draw_world("hand", 0)
    stops = plan_views(world, VIEWS)
    images = images_of(world, stops)
    node, stopped = ros_graph.client, threading.Event()
    joints = node.create_publisher(JointState, names.JOINT_STATES, STATE)
    camera = node.create_publisher(Image, names.color_image("wrist"), SENSOR)
    cfg = GuideCfg(
        camera="wrist", mount="hand", joint_names=world.arm.joint_names, views=VIEWS, swing_s=0.0
    )
    guide = Guide(tmp_path / "s", cfg)

    def publish():
        """An arm that goes on as soon as its view is taken, at 50 Hz of its own time."""
        ns = 0
        while not stopped.wait(0.004):
            ns += 20_000_000
            stop = min(guide.taken, VIEWS - 1)
            stamp = stamp_from_ns(ns)
            message = JointState(name=["finger", *reversed(world.arm.joint_names)])
            message.header.stamp = stamp
            message.position = [0.0, *reversed(stops[stop].tolist())]
            joints.publish(message)
            if ns % 200_000_000 == 0:
                camera.publish(image_message(images[stop], stamp, "wrist"))

    said, robot = [], threading.Thread(target=publish)
    with CameraAndArm(
        load_robot(ROBOT), "arm", "wrist", ros_graph.namespace, ros_graph.context
    ) as source:
        ros_graph.wait_until(
            lambda: joints.get_subscription_count() and camera.get_subscription_count(), "matching"
        )
        robot.start()
        try:
            follow(source, guide, said.append, silence_s=30.0)
        finally:
            stopped.set()
            robot.join()
    views = Session.open(tmp_path / "s").views("wrist")
    assert len(views) == VIEWS and said[-1] == f"All {VIEWS} views are taken."
    np.testing.assert_allclose([view.q_rad for view in views], stops, atol=1e-9)
    assert all(round(view.stamp_s / 0.2, 6) % 1 == 0 for view in views)


def test_silence_ends_with_what_to_start(ros_graph, tmp_path):
    cfg = GuideCfg(camera="wrist", mount="hand", joint_names=("a",))
    file = load_robot(ROBOT)
    with CameraAndArm(file, "arm", "wrist", ros_graph.namespace, ros_graph.context) as source:
        with pytest.raises(PortError, match=r"no joints have come for 0\.2 s. Start driver"):
            follow(source, Guide(tmp_path, cfg), print, silence_s=0.2)


def test_an_arm_that_the_robot_lacks_is_named(ros_graph):
    with pytest.raises(UnknownNameError, match="Available: arm"):
        CameraAndArm(load_robot(ROBOT), "left", "wrist", ros_graph.namespace, ros_graph.context)
