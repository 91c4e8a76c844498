"""What a robot file's rig does about encoders that are off, and about a camera that is late."""

import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from pathlib import Path  # noqa: E402

from robot_rl_control.ros_port import RosPort, RosPortCfg  # noqa: E402
from robot_rl_control.state_reader import StateReader, StateReaderCfg  # noqa: E402

from calibration.store import Result, Rig, save_result  # noqa: E402
from robot_rl.control.calibrated import load_calibration  # noqa: E402
from robot_rl.control.kinematics import forward, solve_ik  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.types import CameraSpec, Command  # noqa: E402

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
ARM = load_robot(ROBOTS / "twin.yaml").spec.arms[0]
# Those of the first and last joint no view can tell.
OFFSET = np.deg2rad([0.0, 0.3, -0.4, 0.3, 0.5, -0.3, 0.0])
DELAY_S = 0.25
LENS = {"width_px": 64, "height_px": 48, "fx_px": 60.0, "fy_px": 60.0, "cx_px": 32, "cy_px": 24}
PATIENT = {"command_timeout_s": 1.0, "observation_age_s": 5.0, "state_timeout_s": 5.0}


def robot_file(folder, *, is_calibrated):
    data = yaml.safe_load((ROBOTS / "twin.yaml").read_text())
    data["bridge"] |= PATIENT | {"tracking_window_s": 5.0}
    if is_calibrated:
        place = {"mount": "world", "T_base_cam": np.eye(4), "joint_names": ARM.joint_names}
        place["joint_offset_rad"] = OFFSET
        save_result(folder / "rig", Result.new("intrinsics", "front", LENS, {}))
        save_result(folder / "rig", Result.new("hand_eye", "front", place, {}))
        save_result(folder / "rig", Result.new("latency", "front", {"delay_s": DELAY_S}, {}))
        data["calibration"] = {
            "rig": "rig",
            "hash": Rig.load(folder / "rig").hash,
            "joints": {"arm": "front"},
            "cameras": {"front": "arm"},
        }
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("is_calibrated", [False, True])
def test_the_tool_goes_where_it_is_sent_only_with_the_offsets_known(ros_graph, is_calibrated):
    file = robot_file(ros_graph.folder, is_calibrated=is_calibrated)
    twin = {"task": "reach", "command_timeout_s": 2.0, "joint_offset_rad": OFFSET.tolist()}
    ros_graph.spawn("robot_rl_sim.twin_node", params=twin)
    ros_graph.spawn("robot_rl_control.arm_bridge", params={"robot": str(file), "autostart": True})
    encoders = StateReader(ros_graph.client, load_robot(ROBOTS / "twin.yaml").spec)
    port = RosPort(
        RosPortCfg(
            robot=file,
            namespace=ros_graph.namespace,
            reset="twin",
            connect_timeout_s=60.0,
            state_timeout_s=5.0,
            bridge_timeout_s=5.0,
        )
    )
    try:
        port.connect()
        port.reset(0)
        goal = forward(ARM, port.read().q_rad)
        goal[:3, 3] += [0.03, 0.04, 0.05]
        target, is_reached = solve_ik(ARM, goal, port.read().q_rad, iterations=40)
        assert is_reached

        def arrived():
            state = port.read()
            port.send(Command(q_rad=target, gripper_m=state.gripper_m, stamp_s=state.stamp_s))
            is_still = np.abs(state.dq_rad_s).max() < 1e-3
            return is_still and np.abs(state.q_rad - target).max() < 1e-3

        ros_graph.wait_until(arrived, "the arm at its target", 60.0)
        said = port.read().q_rad
        true = encoders.read().q_rad + OFFSET
    finally:
        port.close()
        encoders.close()
    error_m = np.linalg.norm((forward(ARM, true) - goal)[:3, 3])
    if is_calibrated:
        np.testing.assert_allclose(said, true, atol=1e-3)
        assert error_m < 1e-3
    else:
        assert error_m > 2.5e-3


def test_images_are_dated_back_by_the_delay_of_their_camera(ros_graph):
    file = load_robot(robot_file(ros_graph.folder, is_calibrated=True))
    calibration = load_calibration(file)
    assert calibration is not None
    twin = {"task": "reach", "cameras": "front", "camera_width_px": 64, "camera_height_px": 48}
    twin |= {"camera_rate_hz": 5.0, "camera_delay_s": DELAY_S}
    ros_graph.spawn("robot_rl_sim.twin_node", params=twin)
    camera = CameraSpec(name="front", width_px=64, height_px=48, rate_hz=5.0)
    spec = replace(file.spec, cameras=(camera,))
    cfg = StateReaderCfg.of_robot(file)
    plain = StateReader(ros_graph.client, spec, replace(cfg, calibration=None))
    knowing = StateReader(ros_graph.client, spec, cfg)

    def both():
        """One image as both see it."""
        if plain.missing() or knowing.missing():
            return None
        a, b = (reader.read().images["front"] for reader in (plain, knowing))
        return (
            (a, b) if np.array_equal(a.rgb, b.rgb) and a.frame_number == b.frame_number else None
        )

    a, b = ros_graph.wait_until(both, "the image in both", 60.0)
    assert a.stamp_s - b.stamp_s == pytest.approx(DELAY_S, abs=0.1)
    assert b.stamp_s < time.monotonic()
