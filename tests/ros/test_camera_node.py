"""The camera node in a process of its own, on librealsense's pipeline playing recordings.

Each frame carries its number in the grey level of its colour and in its depth.
"""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

MODULE = "robot_rl_camera.camera_node"
WIDTH_PX, HEIGHT_PX, RATE_HZ = 64, 48, 30
FRAMES = range(1, 46)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One and a half seconds of a wrist camera."""
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    from robot_rl.cameras.frame import Intrinsics
    from robot_rl.cameras.recording import RecordedFrame, write_recording

    pinhole = Intrinsics(
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        fx_px=60.0,
        fy_px=61.0,
        cx_px=31.5,
        cy_px=23.5,
        distortion_model="plumb_bob",
        distortion=(0.0, 0.0, 0.0, 0.0, 0.0),
    )
    path = tmp_path_factory.mktemp("recording") / "wrist.db3"
    shape = (HEIGHT_PX, WIDTH_PX)
    frames = (
        RecordedFrame(
            frame_number=number,
            stamp_s=500.0 + number / RATE_HZ,
            rgb=np.full((*shape, 3), 5 * number, np.uint8),
            depth_mm=np.full(shape, 500 + number, np.uint16),
        )
        for number in FRAMES
    )
    write_recording(path, frames, pinhole, rate_hz=RATE_HZ)
    return path


def wrist(path: Path, give_up_after_s: float = 60.0) -> str:
    return (
        f"  - {{kind: realsense, name: wrist, device_file: {path}, width_px: {WIDTH_PX}, "
        f"height_px: {HEIGHT_PX}, capture: {{lost_after_s: 0.4, backoff_s: 0.05, "
        f"max_backoff_s: 0.1, give_up_after_s: {give_up_after_s}}}}}\n"
    )


def spawn(graph, *entries: str, **params):
    config = graph.folder / "cameras.yaml"
    config.write_text("cameras:\n" + "".join(entries))
    return graph.spawn(MODULE, params={"config": str(config)} | params)


def topics(graph, camera: str = "wrist"):
    """What is heard of colour, depth and camera info."""
    from robot_rl_control import names
    from robot_rl_control.qos import SENSOR
    from sensor_msgs.msg import CameraInfo, Image

    return (
        graph.hear(Image, names.color_image(camera), SENSOR),
        graph.hear(Image, names.aligned_depth(camera), SENSOR),
        graph.hear(CameraInfo, names.camera_info(camera), SENSOR),
    )


def diagnostics(graph):
    from diagnostic_msgs.msg import DiagnosticArray
    from robot_rl_control.qos import STATE

    return graph.hear(DiagnosticArray, "/diagnostics", STATE)


def statuses(heard, camera: str):
    found = [status for message in list(heard.messages) for status in message.status]
    return [status for status in found if status.name.endswith(f"camera: {camera}")]


def values(status) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_colour_depth_and_intrinsics_reach_a_subscriber(ros_graph, recording):
    colors, depths, infos = topics(ros_graph)
    child = spawn(ros_graph, wrist(recording))
    ros_graph.wait_until(
        lambda: min(map(len, (colors.messages, depths.messages, infos.messages))) >= 5,
        "five frames with depth and info",
    )
    depth_at = {stamp_ns(message): message for message in list(depths.messages)}
    info_at = {stamp_ns(message): message for message in list(infos.messages)}
    pairs = [m for m in list(colors.messages) if stamp_ns(m) in depth_at.keys() & info_at.keys()]
    assert pairs, "the parts of a frame share its stamp"
    for color in pairs:
        depth, info = depth_at[stamp_ns(color)], info_at[stamp_ns(color)]
        assert {m.header.frame_id for m in (color, depth, info)} == {"wrist_color_optical_frame"}
        assert (color.encoding, color.width, color.height, color.step) == ("rgb8", 64, 48, 192)
        assert (depth.encoding, depth.width, depth.height, depth.step) == ("16UC1", 64, 48, 128)
        (level,) = set(color.data)
        known = set(np.frombuffer(depth.data, np.uint16)) - {0}
        assert known == {500 + level // 5}, "the depth belongs to the colour"
        assert list(info.k) == [60.0, 0.0, 31.5, 0.0, 61.0, 23.5, 0.0, 0.0, 1.0]
        assert list(info.p)[:7] == [60.0, 0.0, 31.5, 0.0, 0.0, 61.0, 23.5]
        assert info.distortion_model == "plumb_bob" and len(info.d) == 5
        assert (info.width, info.height) == (64, 48)
    age_s = time.time() - stamp_ns(colors.last) * 1e-9
    assert 0.0 < age_s < 10.0, "stamped when it was taken"
    assert child.interrupt() == 0, child.output


def test_compressed_images_come_when_somebody_listens(ros_graph, recording):
    from robot_rl_control.qos import SENSOR
    from sensor_msgs.msg import CompressedImage

    spawn(ros_graph, wrist(recording))
    heard = ros_graph.hear(CompressedImage, "wrist/color/image_raw/compressed", SENSOR)
    ros_graph.wait_until(lambda: heard.last, "a compressed image")
    bgr = cv2.imdecode(np.frombuffer(heard.last.data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr.shape == (HEIGHT_PX, WIDTH_PX, 3) and np.ptp(bgr) <= 3
    assert "jpeg" in heard.last.format
    assert heard.last.header.frame_id == "wrist_color_optical_frame"


def test_a_camera_that_is_unplugged_is_reported_and_comes_back_without_old_frames(
    ros_graph, recording
):
    from diagnostic_msgs.msg import DiagnosticStatus

    colors, _, _ = topics(ros_graph)
    health = diagnostics(ros_graph)
    # The end of a recording is what an unplugged camera is to librealsense: silence.
    child = spawn(ros_graph, wrist(recording))
    ros_graph.wait_until(
        lambda: any(int(values(s)["losses"]) >= 2 for s in statuses(health, "wrist")),
        "the camera lost twice",
    )
    known = len(colors.messages)
    ros_graph.wait_until(lambda: len(colors.messages) > known, "frames after the loss")
    stamps = [stamp_ns(message) for message in list(colors.messages)]
    assert stamps == sorted(set(stamps)), "no frame is published twice"
    for status in statuses(health, "wrist"):
        said = values(status)
        if said["state"] == "streaming":
            assert status.hardware_id == "recording of USB 3.2"
        if said["state"] == "lost":
            assert status.level == DiagnosticStatus.ERROR and "delivers nothing" in status.message
    assert child.interrupt() == 0, child.output


def test_a_camera_that_stays_away_ends_the_node_with_an_error(ros_graph, recording, tmp_path):
    path = tmp_path / "unplugged.db3"
    path.write_bytes(recording.read_bytes())
    colors, _, _ = topics(ros_graph)
    child = spawn(ros_graph, wrist(path, give_up_after_s=1.0))
    ros_graph.wait_until(lambda: colors.last, "a first frame")
    path.unlink()
    ros_graph.wait_until(lambda: child.process.poll() is not None, "the node's end")
    assert child.process.returncode == 1
    assert "camera 'wrist' cannot start" in child.output


def test_webcam_and_depth_camera_run_side_by_side(ros_graph, recording, tmp_path):
    video = tmp_path / "front.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (64, 48))
    for level in range(0, 200, 2):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    front = f"  - {{kind: uvc, name: front, source: {video}, width_px: 64, height_px: 48}}\n"
    colors, _, _ = topics(ros_graph)
    images, depths, infos = topics(ros_graph, "front")
    child = spawn(ros_graph, wrist(recording), front)
    ros_graph.wait_until(lambda: colors.last and images.last and infos.last, "both cameras")
    assert not any(infos.last.k), "a webcam does not know its pinhole"
    assert not depths.messages
    assert child.interrupt() == 0, child.output


def test_a_wrong_file_ends_the_node_and_says_why(ros_graph):
    child = ros_graph.spawn(MODULE, params={"config": "/nowhere.yaml"})
    ros_graph.wait_until(lambda: child.process.poll() is not None, "the node's end")
    assert child.process.returncode == 2
    assert "cannot read cameras from /nowhere.yaml" in child.output


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fps": 30}, r"parameters of camera has unknown field\(s\) fps. Known: config, cameras"),
        ({"cameras": ["b"]}, r"unknown camera of .*cameras.yaml 'b'. Available: a."),
        ({"cameras": "a"}, "parameters of camera.cameras is 'a', but must be tuple"),
        ({"config": ""}, "config is empty. Pass -p config:="),
        ({"config": None}, "misses the field 'config'"),
    ],
)
def test_a_wrong_parameter_is_refused(ros_graph, given, message):
    from rclpy.parameter import Parameter
    from robot_rl_camera.camera_node import CameraNode

    from robot_rl.errors import RobotRLError

    config = ros_graph.folder / "cameras.yaml"
    config.write_text("cameras:\n  - {kind: uvc, name: a, source: 0}\n")
    values = {"config": str(config)} | given
    overrides = [Parameter(key, value=value) for key, value in values.items() if value is not None]
    with pytest.raises(RobotRLError, match=message):
        CameraNode(
            context=ros_graph.context,
            namespace=ros_graph.namespace,
            parameter_overrides=overrides,
        )


def test_the_example_in_the_package_can_be_read():
    from robot_rl.cameras.cfg import load_cameras

    path = Path(__file__).parents[2] / "ros_ws/src/robot_rl_camera/config/cameras.yaml"
    assert [camera.name for camera in load_cameras(path)] == ["wrist", "front"]
