"""Cameras from YAML: what is wrong is said with its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.cameras.cfg import (
    CaptureCfg,
    RealSenseCfg,
    UvcCfg,
    cameras_from_plain,
    load_cameras,
)
from robot_rl.config import to_plain
from robot_rl.errors import ConfigError, UnknownNameError


def test_a_robot_file_gives_its_cameras(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(
        "arms: [of no concern here]\n"
        "cameras:\n"
        "  - {kind: realsense, name: wrist, serial: '0123', rate_hz: 60}\n"
        "  - {kind: uvc, name: front, source: /dev/video2, capture: {lost_after_s: 2}}\n"
    )
    assert load_cameras(path) == (
        RealSenseCfg(name="wrist", serial="0123", rate_hz=60),
        UvcCfg(name="front", source="/dev/video2", capture=CaptureCfg(lost_after_s=2.0)),
    )


def test_cameras_survive_being_written_as_plain_data():
    cameras = (
        RealSenseCfg(name="wrist", device_file=Path("a.db3"), use_depth=False),
        UvcCfg(name="front", source=0, backend="v4l2"),
    )
    assert cameras_from_plain(to_plain(list(cameras))) == cameras


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "realsense", "name": "a"}, "serial is empty. Give the number on the camera"),
        (
            {"kind": "realsense", "name": "a", "serial": 12},
            "serial is 12, but must be of type str",
        ),
        ({"kind": "uvc", "name": "a", "sauce": 0}, r"cameras\[0\] has unknown field\(s\) sauce"),
        ({"kind": "uvc", "name": "Front", "source": 0}, "camera name is 'Front', but must be"),
        ({"kind": "uvc", "name": "a", "source": 0, "fourcc": "JPEGS"}, "must be four characters"),
        ({"kind": "uvc", "name": "a", "source": 0, "rate_hz": 0}, "all three must be at least 1"),
        (
            {"kind": "uvc", "name": "a", "source": 0, "capture": {"lost_after_s": 60.0}},
            "must be positive and below give_up_after_s, which is 30.0",
        ),
        (
            {"kind": "uvc", "name": "a", "source": 0, "capture": {"backoff_s": 9.0}},
            "must be positive and at most max_backoff_s, which is 5.0",
        ),
        (
            {"kind": "realsense", "name": "a", "serial": "1", "open_attempts": 0},
            "open_attempts is 0 and must be at least 1",
        ),
        ("wrist", "must be a dict of fields"),
    ],
)
def test_a_wrong_camera_is_refused(entry, message):
    with pytest.raises(ConfigError, match=message):
        cameras_from_plain([entry])


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"cameras\[0\] 'zed'. Available: realsense, uvc"):
        cameras_from_plain([{"kind": "zed", "name": "a"}])


def test_two_cameras_of_one_name_are_refused():
    entry = {"kind": "uvc", "name": "a", "source": 0}
    with pytest.raises(ConfigError, match="each name may stand once"):
        cameras_from_plain([entry, entry])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read cameras from .*No such file"),
        ("a: [", "is no valid YAML"),
        ("arms: []", "has no list 'cameras'"),
        ("cameras: wrist", "must be a list of cameras"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "robot.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_cameras(path)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("cfg", ("cv2", "yaml", "pyrealsense2", "torch")),
        ("capture", ("cv2", "pyrealsense2", "torch")),
        ("realsense", ("cv2", "pyrealsense2", "torch")),
        ("feed", ("pyrealsense2", "torch", "rclpy")),
    ],
)
def test_importing_loads_no_driver(module, heavy):
    code = f"import sys, robot_rl.cameras.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(heavy) & set(done.stdout.split())
