"""One YAML file a robot: kinematics, every limit, drivers, cameras and watchdogs, read once.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

No limit has a default, and an unknown key is an error: a misspelt limit must not be a missing one.
The arm bridge, `RosPort`, the cameras and the doctor all read the same file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_rl.config import from_plain
from robot_rl.control.bridge_cfg import BridgeCfg
from robot_rl.control.driver_cfg import DriverCfg
from robot_rl.control.kinematics import forward
from robot_rl.errors import ConfigError, RobotRLError, UnknownNameError
from robot_rl.geometry import matrix_from_rotvec
from robot_rl.types import F64, ArmSpec, CameraSpec, GripperSpec, RobotSpec

__all__ = ["CalibrationCfg", "RobotFile", "load_robot"]


@dataclass(frozen=True, kw_only=True)
class CalibrationCfg:
    """Which measured rig is applied to a robot, and to what of it."""

    rig: Path
    """Its folder; relative to the robot file."""
    hash: str
    """Of the rig, as `robot-rl calibrate` prints it: another one is refused."""
    joints: Mapping[str, str] = field(default_factory=dict)
    """Arm to the camera with which its joint offsets were found."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Camera to the arm with which its place and delay were found."""

    def check(self, arms: Sequence[str]) -> None:
        """Refuse what applies to nothing, or to an arm that the robot does not have."""
        if not self.joints and not self.cameras:
            raise ConfigError("robot.calibration names neither joints nor cameras to apply it to.")
        for arm in (*self.joints, *self.cameras.values()):
            if arm not in arms:
                raise UnknownNameError("arm in robot.calibration", arm, arms)


@dataclass(frozen=True, kw_only=True, eq=False)
class RobotFile:
    """All that a robot file says."""

    path: Path
    spec: RobotSpec
    drivers: tuple[DriverCfg, ...]
    """One an arm, in the order of `spec.arms`."""
    bridge: BridgeCfg
    calibration: CalibrationCfg | None = None
    """What `control.calibrated` is to apply; None applies nothing."""

    @property
    def cameras(self) -> tuple[CameraSpec, ...]:
        """The cameras that the robot's own topics carry."""
        return self.spec.cameras


@dataclass(frozen=True, kw_only=True)
class _Transform:
    """A frame in another one."""

    position_m: tuple[float, float, float]
    rotvec_rad: tuple[float, float, float]

    @property
    def matrix(self) -> F64:
        """(4, 4) [m]."""
        T = np.eye(4)
        T[:3, :3] = matrix_from_rotvec(np.array(self.rotvec_rad))
        T[:3, 3] = self.position_m
        return T


@dataclass(frozen=True, kw_only=True)
class _ArmEntry:
    """One arm as it stands in the file; the names of `ArmSpec`, whose checks apply."""

    name: str
    joint_names: tuple[str, ...]
    dh_a_m: tuple[float, ...]
    dh_alpha_rad: tuple[float, ...]
    dh_d_m: tuple[float, ...]
    world_base: _Transform
    flange_tcp: _Transform
    joint_lower_rad: tuple[float, ...]
    joint_upper_rad: tuple[float, ...]
    joint_velocity_limit_rad_s: tuple[float, ...]
    joint_acceleration_limit_rad_s2: tuple[float, ...]
    workspace_lower_m: tuple[float, float, float]
    workspace_upper_m: tuple[float, float, float]
    home_rad: tuple[float, ...]
    gripper: GripperSpec | None
    driver: DriverCfg

    def spec(self) -> ArmSpec:
        """The arm, with limits that make sense together."""
        arm = ArmSpec(
            name=self.name,
            joint_names=self.joint_names,
            T_world_base=self.world_base.matrix,
            T_flange_tcp=self.flange_tcp.matrix,
            gripper=self.gripper,
            **{key: np.array(getattr(self, key)) for key in _VECTORS},
        )
        for key in ("joint_velocity_limit_rad_s", "joint_acceleration_limit_rad_s2"):
            if not (getattr(arm, key) > 0).all():
                raise ConfigError(
                    f"arm '{arm.name}': {key} is {getattr(arm, key)}, but must be positive."
                )
        if not (
            (arm.home_rad >= arm.joint_lower_rad) & (arm.home_rad <= arm.joint_upper_rad)
        ).all():
            raise ConfigError(f"arm '{arm.name}': home_rad lies outside the joint limits.")
        tool = forward(arm, arm.home_rad)[:3, 3]
        if not ((tool >= arm.workspace_lower_m) & (tool <= arm.workspace_upper_m)).all():
            raise ConfigError(
                f"arm '{arm.name}': at home_rad the tool stands at {tool.round(3)}, outside "
                "workspace_lower_m to workspace_upper_m. Give another home or a larger box."
            )
        self._check_gripper()
        return arm

    def _check_gripper(self) -> None:
        if (self.gripper is None) != (self.driver.gripper is None):
            raise ConfigError(
                f"arm '{self.name}': gripper and driver.gripper must both be given, or both null."
            )
        if self.gripper is None:
            return
        for key in ("max_width_m", "max_speed_m_s", "max_force_n"):
            if not getattr(self.gripper, key) > 0:
                raise ConfigError(
                    f"arm '{self.name}': gripper.{key} is {getattr(self.gripper, key)}, but must "
                    "be positive."
                )


_VECTORS = (
    "dh_a_m",
    "dh_alpha_rad",
    "dh_d_m",
    "joint_lower_rad",
    "joint_upper_rad",
    "joint_velocity_limit_rad_s",
    "joint_acceleration_limit_rad_s2",
    "workspace_lower_m",
    "workspace_upper_m",
    "home_rad",
)


@dataclass(frozen=True, kw_only=True)
class _RobotEntry:
    """The file as a whole."""

    name: str
    arms: tuple[_ArmEntry, ...]
    cameras: tuple[CameraSpec, ...]
    bridge: BridgeCfg
    calibration: CalibrationCfg | None = None


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader.construct_mapping`."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_robot(path: Path | str) -> RobotFile:
    """Read and check a robot file.

    Raises:
        ConfigError: It cannot be read, or a key is unknown, missing, of the wrong length, not
            finite or out of range; the message names file and key.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(), Loader=_Loader)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give a robot file."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    try:
        _refuse_non_finite(data, "robot")
        entry = from_plain(_RobotEntry, data, "robot")
        _refuse_twins(entry)
        if entry.calibration is not None:
            entry.calibration.check([arm.name for arm in entry.arms])
        spec = RobotSpec(
            name=entry.name,
            arms=tuple(arm.spec() for arm in entry.arms),
            cameras=entry.cameras,
        )
    except RobotRLError as error:
        raise ConfigError(f"{path}: {error}") from error
    return RobotFile(
        path=path,
        spec=spec,
        drivers=tuple(arm.driver for arm in entry.arms),
        bridge=entry.bridge,
        calibration=entry.calibration,
    )


def _refuse_non_finite(value: Any, where: str) -> None:
    """Name the first number that is NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}, but must be finite.")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{where}.{key}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            _refuse_non_finite(item, f"{where}[{i}]")


def _refuse_twins(entry: _RobotEntry) -> None:
    """Names index everything: no two arms, joints or cameras may share one."""
    if not entry.arms:
        raise ConfigError("robot.arms is empty, but a robot has one arm at least.")
    for kind, names in (
        ("arms", [arm.name for arm in entry.arms]),
        ("joints", [name for arm in entry.arms for name in arm.joint_names]),
        ("cameras", [camera.name for camera in entry.cameras]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{kind} named twice: {', '.join(twice)}. Give each its own name.")
