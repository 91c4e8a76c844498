"""A robot file's calibration, checked and put to use: joint offsets, delays, where cameras are.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → **send**

Offsets are applied at the driver's door, and nowhere else: what is measured gets them added, what
is commanded gets them taken off. Everything inside, limits included, is about the joints as they
truly stand, so that kinematics put the tool where it is. Without `calibration` in the robot file
nothing is changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from calibration.camera import CameraModel
from calibration.closed_form import Mount
from calibration.store import Result, Rig
from robot_rl.control.kinematics import forward
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.types import F64, ArmSpec

__all__ = ["CameraPlace", "Device", "RobotCalibration", "load_calibration"]

_LARGEST_OFFSET_RAD = 0.1  # beyond it the encoders' zeros are wrong, not calibrated


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraPlace:
    """What was measured of one camera."""

    lens: CameraModel
    """At the size of its own images, before anything scales them."""
    mount: Mount
    arm: ArmSpec
    X: F64
    """(4, 4) T_tcp_cam of mount "hand", T_base_cam of "world"."""
    delay_s: float
    """Stamp of an image minus stamp of the joints that it shows."""
    serial: str
    """Of the device; empty if it was not told."""
    hash: str
    """Of all that is known of it: what `CameraMeta.calibration` keeps."""

    def T_base_cam(self, q_rad: F64) -> F64:  # noqa: N802  (a frame's name)
        """(4, 4) while the arm stands at joints (n,) [rad], offsets included."""
        return forward(self.arm, q_rad) @ self.X if self.mount == "hand" else self.X.copy()


@dataclass(frozen=True, kw_only=True, eq=False)
class RobotCalibration:
    """All that is applied to one robot."""

    rig: Path
    hash: str
    offset_rad: Mapping[str, F64] = field(default_factory=dict)
    """(n,) by arm: where the arm stands minus what its encoders say."""
    cameras: Mapping[str, CameraPlace] = field(default_factory=dict)
    """By name."""

    def offset_of(self, arm: ArmSpec) -> F64:
        """(n,) [rad] of an arm; zeros if none was named for it."""
        return self.offset_rad.get(arm.name, np.zeros(arm.dof))

    def describe(self) -> str:
        """What is applied, for a person."""
        words = [
            f"{arm} by {', '.join(f'{np.rad2deg(x):+.3f}' for x in offset)} degrees"
            for arm, offset in self.offset_rad.items()
        ]
        words += [
            f"images of {name} by {1e3 * place.delay_s:.1f} ms"
            for name, place in self.cameras.items()
        ]
        return f"rig {self.rig} ({self.hash}): {'; '.join(words)}"

    def check_devices(self, devices: Iterable["Device"]) -> None:
        """Refuse cameras that are not those that were calibrated.

        Raises:
            ConfigError: A serial or an image size differs.
        """
        for device in devices:
            place = self.cameras.get(device.name)
            if place is None:
                continue
            serial = getattr(device, "serial", "")  # webcams have none
            if serial and place.serial and serial != place.serial:
                raise ConfigError(
                    f"camera '{device.name}' is device {serial}, but {self.rig} was calibrated "
                    f"with {place.serial}. Cameras mixed up? Else calibrate this one."
                )
            size = place.lens.width_px, place.lens.height_px
            if size != (device.width_px, device.height_px):
                raise ConfigError(
                    f"camera '{device.name}' is opened at {device.width_px} x {device.height_px} "
                    f"px, but {self.rig} was calibrated at {size[0]} x {size[1]} px. Open it at "
                    "that size, or calibrate it at this one."
                )


class Device(Protocol):
    """A camera that is opened, as `robot_rl.cameras.cfg` describes it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def width_px(self) -> int: ...  # noqa: D102
    @property
    def height_px(self) -> int: ...  # noqa: D102


def load_calibration(file: RobotFile) -> RobotCalibration | None:
    """The calibration that a robot file names; None if it names none.

    Raises:
        ConfigError: The rig is missing, has another hash, lacks what is asked of it, or is of
            another robot; says which.
    """
    cfg = file.calibration
    if cfg is None:
        return None
    path = (file.path.parent / cfg.rig.expanduser()).resolve()
    where = f"{file.path}: calibration"
    try:
        rig = Rig.load(path)
        if rig.hash != cfg.hash:
            raise ConfigError(
                f"hash is '{cfg.hash}', but {path} now has '{rig.hash}'. Was it calibrated anew? "
                "Look at its report, then put the new hash into the robot file."
            )
        arms = {arm.name: arm for arm in file.spec.arms}
        offsets = {name: _offset(rig, arms[name], camera) for name, camera in cfg.joints.items()}
        cameras = {name: _camera(rig, arms[arm], name) for name, arm in cfg.cameras.items()}
    except RobotRLError as error:
        raise ConfigError(f"{where}: {error}") from error
    return RobotCalibration(rig=path, hash=rig.hash, offset_rad=offsets, cameras=cameras)


def _of_arm(result: Result, arm: ArmSpec) -> Result:
    """A result, if it was measured with these joints."""
    names = tuple(result.values["joint_names"])
    if names != arm.joint_names:
        raise ConfigError(
            f"hand_eye of '{result.name}' is of the joints {', '.join(names)}, but arm "
            f"'{arm.name}' has {', '.join(arm.joint_names)}. Is it another robot's?"
        )
    return result


def _offset(rig: Rig, arm: ArmSpec, camera: str) -> F64:
    """(n,) joint offsets of an arm, as they were found with a camera."""
    values = _of_arm(rig.get("hand_eye", camera), arm).values
    offset = np.array(values["joint_offset_rad"], np.float64)
    if offset.shape != (arm.dof,) or not np.abs(offset).max() <= _LARGEST_OFFSET_RAD:
        raise ConfigError(
            f"joint offsets of arm '{arm.name}' are {offset.round(3)} rad, but each must be "
            f"within {_LARGEST_OFFSET_RAD:g}. Set the encoders' zeros first."
        )
    return offset


def _camera(rig: Rig, arm: ArmSpec, name: str) -> CameraPlace:
    """What the rig knows of a camera."""
    hand_eye, latency = _of_arm(rig.get("hand_eye", name), arm), rig.find("latency", name)
    return CameraPlace(
        lens=rig.lens(name),
        mount=hand_eye.mount,
        arm=arm,
        X=hand_eye.transform("T_tcp_cam" if hand_eye.mount == "hand" else "T_base_cam"),
        delay_s=float(latency.values["delay_s"]) if latency is not None else 0.0,
        serial=str(hand_eye.inputs.get("serial", "")),
        hash=rig.camera_hash(name),
    )
