"""Each calibration as one step: from a session and the rig so far to a result worth keeping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from calibration.chain import Forward
from calibration.closed_form import Mount, camera_error
from calibration.detect import BoardView
from calibration.hand_eye import HandEye, HandEyeCfg, calibrate_hand_eye
from calibration.intrinsics import Intrinsics, IntrinsicsCfg, calibrate_intrinsics
from calibration.joints import JointsCfg, calibrate_joints
from calibration.latency import LatencyCfg, calibrate_latency
from calibration.session import Session, View
from calibration.store import Result, Rig
from robot_rl.config import to_plain
from robot_rl.control.franka import franka_arm
from robot_rl.control.kinematics import forward
from robot_rl.control.robot_file import load_robot
from robot_rl.errors import DataError, UnknownNameError
from robot_rl.geometry import rotvec_from_matrix
from robot_rl.types import F64, ArmSpec

__all__ = [
    "HandEyeStep",
    "IntrinsicsStep",
    "arm_of",
    "camera_of",
    "errors_to_truth",
    "hand_eye_step",
    "intrinsics_step",
    "joints_step",
    "kinematics",
    "latency_step",
    "transform_key",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class IntrinsicsStep:
    """Intrinsics with the views that they rest on."""

    result: Result
    found: Intrinsics
    views: Sequence[View]
    corners: Sequence[BoardView]


@dataclass(frozen=True, kw_only=True, eq=False)
class HandEyeStep:
    """A hand-eye pose with the views that it rests on."""

    result: Result
    found: HandEye
    views: Sequence[View]
    corners: Sequence[BoardView]


def arm_of(session: Session) -> ArmSpec:
    """The arm whose joints a session holds.

    Raises:
        UnknownNameError: The robot file has no such arm.
    """
    if session.cfg.robot == "twin":
        return franka_arm()
    arms = {arm.name: arm for arm in load_robot(session.cfg.robot).spec.arms}
    if session.cfg.arm not in arms:
        raise UnknownNameError(f"arm in {session.cfg.robot}", session.cfg.arm, arms)
    arm = arms[session.cfg.arm]
    if arm.joint_names != session.cfg.joint_names:
        raise DataError(
            f"the session holds the joints {', '.join(session.cfg.joint_names)}, but "
            f"{session.cfg.robot} has {', '.join(arm.joint_names)}. Is it another robot's?"
        )
    return arm


def kinematics(arm: ArmSpec) -> Forward:
    """The arm's forward kinematics, as `calibration` takes it."""
    return partial(forward, arm)


def camera_of(rig: Rig, session: Session, camera: str) -> Result:
    """The intrinsics in force, if they are of this device and image size.

    Raises:
        DataError: There are none, or they are of another one.
    """
    entry, result = session.entry(camera), rig.find("intrinsics", camera)
    if result is None:
        raise DataError(
            f"{rig.path} has no intrinsics of '{camera}'. First: robot-rl calibrate intrinsics "
            f"{session.path} --camera {camera} --rig {rig.path}"
        )
    serial = str(result.inputs.get("serial", ""))
    if serial and entry.serial and serial != entry.serial:
        raise DataError(
            f"the intrinsics of '{camera}' are those of device {serial}, but this session was "
            f"taken by {entry.serial}. Cameras mixed up? Calibrate this one's intrinsics first."
        )
    model = result.camera
    if (model.width_px, model.height_px) != (entry.width_px, entry.height_px):
        raise DataError(
            f"the intrinsics of '{camera}' are for {model.width_px} x {model.height_px} px, but "
            f"this session has {entry.width_px} x {entry.height_px} px. Calibrate them at the "
            "size that is used."
        )
    return result


def transform_key(mount: Mount) -> str:
    """What the camera's pose is called in a file."""
    return "T_tcp_cam" if mount == "hand" else "T_base_cam"


def _inputs(session: Session, camera: str, views: Sequence[View]) -> dict[str, Any]:
    """What a result says of where it comes from."""
    return {
        "session": str(session.path),
        "camera": camera,
        "serial": session.entry(camera).serial,
        "board": to_plain(session.cfg.board),
        "views": [view.name for view in views],
    }


def _lens_std(intrinsics: Result) -> F64 | None:
    """(9,) how well each parameter is known; None of files that do not say it."""
    r = intrinsics.residuals
    if "distortion_std" not in r:
        return None
    return np.concatenate([r["std_px"], r["distortion_std"]])


def intrinsics_step(session: Session, camera: str, cfg: IntrinsicsCfg) -> IntrinsicsStep:
    """Intrinsics from all still views of a camera."""
    entry = session.entry(camera)
    views, corners = session.seen(camera)
    found = calibrate_intrinsics(corners, session.cfg.board, entry.width_px, entry.height_px, cfg)
    kept = [views[i] for i in found.used]
    result = Result.new(
        "intrinsics",
        camera,
        to_plain(found.camera),
        {
            "rms_px": found.rms_px,
            "held_out_px": found.held_out_px,
            "std_px": found.std[:4],
            "distortion_std": found.std[4:],
            "view_rms_px": found.view_rms_px,
            "tilt_deg": found.tilt_deg,
            "coverage": found.coverage,
            "dropped": [views[i].name for i in found.dropped],
        },
        _inputs(session, camera, kept),
    )
    return IntrinsicsStep(result=result, found=found, views=views, corners=corners)


def hand_eye_step(session: Session, camera: str, rig: Rig, cfg: HandEyeCfg) -> HandEyeStep:
    """Where the camera is, and the arm's joint offsets."""
    intrinsics = camera_of(rig, session, camera)
    views, corners = session.seen(camera)
    mount = session.entry(camera).mount
    q = np.array([view.q_rad for view in views]).reshape(len(views), -1)
    found = calibrate_hand_eye(
        intrinsics.camera,
        session.cfg.board,
        mount,
        kinematics(arm_of(session)),
        corners,
        q,
        cfg,
        lens_std=_lens_std(intrinsics),
    )
    result = Result.new(
        "hand_eye",
        camera,
        {
            "mount": mount,
            transform_key(mount): found.X,
            "T_base_board" if mount == "hand" else "T_tcp_board": found.Z,
            "joint_names": session.cfg.joint_names,
            "joint_offset_rad": found.offset_rad,
            "joint_offset_observable": found.observable,
            "camera": found.camera,
        },
        {
            "held_out_m": found.held_out_m,
            "held_out_rad": found.held_out_rad,
            "held_out_px": found.held_out_px,
            "std_m": found.std[:3],
            "std_rad": found.std[3:],
            "joint_offset_std_rad": found.offset_std_rad,
            "floor_px": found.floor_px,
            "nominal_px": found.nominal_px,
            "offset_px": found.offset_px,
            "view_px": found.view_px,
            "board_scale": found.scale,
            "closed_form_m": found.closed_form_m,
            "diagnosis": found.diagnosis,
            "dropped": [views[i].name for i in found.dropped],
        },
        _inputs(session, camera, [views[i] for i in found.used])
        | {"intrinsics_hash": intrinsics.hash},
    )
    return HandEyeStep(result=result, found=found, views=views, corners=corners)


def latency_step(session: Session, camera: str, rig: Rig, cfg: LatencyCfg) -> Result:
    """How much later images are stamped than joints."""
    intrinsics, hand_eye = camera_of(rig, session, camera), rig.find("hand_eye", camera)
    if hand_eye is None:
        raise DataError(
            f"{rig.path} has no hand-eye pose of '{camera}'. First: robot-rl calibrate hand-eye "
            f"{session.path} --camera {camera} --rig {rig.path}"
        )
    if hand_eye.mount != session.entry(camera).mount:
        raise DataError(
            f"'{camera}' has mount '{hand_eye.mount}' in {rig.path}, but mount "
            f"'{session.entry(camera).mount}' in {session.path}. Cameras mixed up?"
        )
    views, corners = session.seen(camera, moving=True)
    stamps, q = session.joints()
    found = calibrate_latency(
        rig.lens(camera),
        session.cfg.board,
        hand_eye.mount,
        kinematics(arm_of(session)),
        corners,
        np.array([view.stamp_s for view in views]),
        stamps,
        q,
        hand_eye.transform(transform_key(hand_eye.mount)),
        np.array(hand_eye.values["joint_offset_rad"]),
        cfg,
    )
    return Result.new(
        "latency",
        camera,
        {"delay_s": found.delay_s},
        {
            "std_s": found.std_s,
            "halves_s": found.halves_s,
            "jitter_s": found.jitter_s,
            "without_px": found.without_px,
            "with_px": found.with_px,
            "speed_px_s": found.speed_px_s,
            "view_delay_s": found.view_delay_s,
        },
        {
            "session": str(session.path),
            "camera": camera,
            "views": len(found.view_px),
            "intrinsics_hash": intrinsics.hash,
            "hand_eye_hash": hand_eye.hash,
        },
    )


def joints_step(session: Session, cfg: JointsCfg) -> Result:
    """Sign and offset between the joints of leader and follower."""
    leader, follower = session.pairs()
    found = calibrate_joints(leader, follower, session.cfg.joint_names, cfg)
    return Result.new(
        "joints",
        session.cfg.arm,
        {
            "joint_names": session.cfg.joint_names,
            "sign": found.sign,
            "offset_rad": found.offset_rad,
            "quarter_turns": found.quarter_turns,
        },
        {
            "std_rad": found.std_rad,
            "scatter_rad": found.scatter_rad,
            "held_out_rad": found.held_out_rad,
        },
        {"session": str(session.path), "poses": len(leader)},
    )


def errors_to_truth(session: Session, result: Result) -> dict[str, float]:
    """How far a result is from what the twin knows; empty on a robot."""
    truth: Mapping[str, Any] = session.truth()
    if not truth:
        return {}
    if result.kind == "intrinsics":
        true = truth["camera"]
        return {
            f"{key} error [px]": float(result.values[key] - true[key])
            for key in ("fx_px", "fy_px", "cx_px", "cy_px")
        }
    if result.kind == "hand_eye":
        offset, true = np.array(result.values["joint_offset_rad"]), np.array(truth["offset_rad"])
        X = result.transform(transform_key(result.mount))
        E = camera_error(
            result.mount,
            kinematics(arm_of(session)),
            (X, offset),
            (np.array(truth["X"]), true),
        )
        told = np.array(result.values["joint_offset_observable"], bool)
        return {
            "camera position error [mm]": 1e3 * float(np.linalg.norm(E[:3, 3])),
            "camera rotation error [deg]": _degrees(rotvec_from_matrix(E[:3, :3])),
            "largest joint offset error [deg]": float(
                np.rad2deg(np.abs(offset - true)[told].max(initial=0.0))
            ),
        }
    if result.kind == "latency":
        return {"delay error [ms]": 1e3 * float(result.values["delay_s"] - truth["delay_s"])}
    gap = np.array(result.values["offset_rad"]) - np.array(truth["leader"]["offset_rad"])
    return {"largest offset error [rad]": float(np.abs(gap).max())}


def _degrees(rotvec: F64) -> float:
    return float(np.rad2deg(np.linalg.norm(rotvec)))
