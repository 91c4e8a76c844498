from pathlib import Path

import numpy as np
import pytest
import yaml

from calibration.store import Result, Rig, save_result
from robot_rl.cameras.cfg import RealSenseCfg, UvcCfg
from robot_rl.control.calibrated import load_calibration
from robot_rl.control.kinematics import forward
from robot_rl.control.robot_file import load_robot
from robot_rl.errors import ConfigError

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
ARM = load_robot(ROBOTS / "twin.yaml").spec.arms[0]
OFFSET = np.deg2rad([0.0, 0.3, -0.4, 0.2, 0.5, -0.3, 0.0])
LENS = {
    "width_px": 640,
    "height_px": 480,
    "fx_px": 600.0,
    "fy_px": 600.0,
    "cx_px": 320.0,
    "cy_px": 240.0,
    "distortion": [0.0] * 5,
}
X = np.array([[0, -1, 0, 0.07], [1, 0, 0, 0.0], [0, 0, 1, -0.12], [0, 0, 0, 1.0]])


def make_rig(path, *, joints=ARM.joint_names, offset=OFFSET, delay_s=0.03, mount="hand"):
    key = "T_tcp_cam" if mount == "hand" else "T_base_cam"
    place = {"mount": mount, key: X, "joint_names": joints, "joint_offset_rad": offset}
    save_result(path, Result.new("intrinsics", "wrist", LENS, {}))
    save_result(path, Result.new("hand_eye", "wrist", place, {}, {"serial": "0123"}))
    save_result(path, Result.new("latency", "wrist", {"delay_s": delay_s}, {}))
    return Rig.load(path)


def robot_file(folder, calibration):
    data = yaml.safe_load((ROBOTS / "twin.yaml").read_text())
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data | {"calibration": calibration}))
    return path


def named(made, /, **changes):
    whole = {"rig": "rig", "hash": made.hash, "joints": {"arm": "wrist"}}
    return whole | {"cameras": {"wrist": "arm"}} | changes


def test_without_calibration_in_the_file_nothing_is_applied():
    assert load_calibration(load_robot(ROBOTS / "twin.yaml")) is None


def test_offsets_delays_and_places_are_those_of_the_rig(tmp_path):
    rig = make_rig(tmp_path / "rig")
    found = load_calibration(load_robot(robot_file(tmp_path, named(rig))))
    assert found is not None and found.hash == rig.hash
    np.testing.assert_allclose(found.offset_of(ARM), OFFSET)
    place = found.cameras["wrist"]
    assert (place.delay_s, place.serial, place.hash) == (0.03, "0123", rig.camera_hash("wrist"))
    np.testing.assert_allclose(place.T_base_cam(ARM.home_rad), forward(ARM, ARM.home_rad) @ X)
    assert "arm by +0.000, +0.300, -0.400" in found.describe()
    assert "images of wrist by 30.0 ms" in found.describe()


def test_a_camera_beside_the_arm_stays_where_it_is(tmp_path):
    rig = make_rig(tmp_path / "rig", mount="world")
    found = load_calibration(load_robot(robot_file(tmp_path, named(rig))))
    assert found is not None
    np.testing.assert_array_equal(found.cameras["wrist"].T_base_cam(ARM.home_rad), X)


@pytest.mark.parametrize(
    ("of_rig", "of_file", "complaint"),
    [
        ({}, {"rig": "elsewhere"}, "there is no calibration at .*elsewhere. Calibrate"),
        ({}, {"hash": "000000000000"}, "hash is '000000000000', but .* Was it calibrated anew"),
        ({}, {"joints": {"arm": "front"}}, "hand_eye calibration .*'front'.* Available: wrist"),
        ({}, {"cameras": {"front": "arm"}}, "'front'.* Available: wrist"),
        (
            {"joints": ("a", "b")},
            {},
            "is of the joints a, b, but arm 'arm' has .* another robot's",
        ),
        ({"offset": np.full(7, 0.2)}, {}, "each must be within 0.1. Set the encoders' zeros"),
        ({"offset": np.full(7, np.nan)}, {}, "each must be within 0.1"),
    ],
)
def test_a_rig_that_does_not_fit_is_refused_with_the_reason(tmp_path, of_rig, of_file, complaint):
    rig = make_rig(tmp_path / "rig", **of_rig)
    path = robot_file(tmp_path, named(rig, **of_file))
    with pytest.raises(ConfigError, match=rf"(?s)robot\.yaml: calibration: .*{complaint}"):
        load_calibration(load_robot(path))


@pytest.mark.parametrize(
    ("calibration", "complaint"),
    [
        ({"rig": "rig", "hash": "a"}, "names neither joints nor cameras"),
        ({"rig": "rig", "hash": "a", "joints": {"left": "wrist"}}, "left.*Available: arm"),
        ({"rig": "rig", "hash": "a", "joint": {}}, "joint"),
        ({"rig": "rig", "joints": {"arm": "wrist"}}, "hash"),
    ],
)
def test_a_calibration_that_says_too_little_is_refused_when_the_file_is_read(
    tmp_path, calibration, complaint
):
    with pytest.raises(ConfigError, match=complaint):
        load_robot(robot_file(tmp_path, calibration))


def test_cameras_that_were_not_calibrated_are_refused(tmp_path):
    rig = make_rig(tmp_path / "rig")
    found = load_calibration(load_robot(robot_file(tmp_path, named(rig))))
    assert found is not None
    found.check_devices([RealSenseCfg(name="wrist", serial="0123"), UvcCfg(name="top", source=0)])
    with pytest.raises(ConfigError, match=r"is device 9999, but .* calibrated with 0123"):
        found.check_devices([RealSenseCfg(name="wrist", serial="9999")])
    with pytest.raises(ConfigError, match=r"opened at 320 x 240 px, but .* at 640 x 480 px"):
        found.check_devices([UvcCfg(name="wrist", source=0, width_px=320, height_px=240)])
