"""The words of the two data paths as frozen types: what a robot is, what it says, what it is told.

Units are SI: metres, radians, seconds, newtons. Quaternions are (w, x, y, z). `T_a_b` maps
coordinates in frame b into frame a. This module loads numpy only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError

__all__ = [
    "F32",
    "F64",
    "I64",
    "U8",
    "ArmSpec",
    "CameraSpec",
    "Command",
    "GripperSpec",
    "Image",
    "RobotSpec",
    "RobotState",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class GripperSpec:
    """A parallel gripper: total opening between the fingers, and how fast it may change."""

    max_width_m: float
    max_speed_m_s: float
    max_force_n: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmSpec:
    """One serial arm: kinematics (modified DH), and the limits that safety needs.

    No limit has a default: a robot without a stated limit cannot be built.
    """

    name: str
    joint_names: tuple[str, ...]
    dh_a_m: F64  # (n,) modified DH, Craig's convention
    dh_alpha_rad: F64  # (n,)
    dh_d_m: F64  # (n,)
    T_world_base: F64  # (4, 4)
    T_flange_tcp: F64  # (4, 4) from the frame of the last joint to the tool centre point
    joint_lower_rad: F64  # (n,)
    joint_upper_rad: F64  # (n,)
    joint_velocity_limit_rad_s: F64  # (n,)
    joint_acceleration_limit_rad_s2: F64  # (n,)
    workspace_lower_m: F64  # (3,) box of allowed TCP positions, in base
    workspace_upper_m: F64  # (3,)
    home_rad: F64  # (n,)
    gripper: GripperSpec | None

    def __post_init__(self) -> None:
        """Refuse limits that are not finite, of another length, or crossed."""
        n = len(self.joint_names)
        for key in (
            "dh_a_m",
            "dh_alpha_rad",
            "dh_d_m",
            "joint_lower_rad",
            "joint_upper_rad",
            "joint_velocity_limit_rad_s",
            "joint_acceleration_limit_rad_s2",
            "home_rad",
        ):
            value = np.asarray(getattr(self, key), np.float64)
            if value.shape != (n,):
                raise ShapeError(f"arm '{self.name}': {key}", value.shape, (n,))
            if not np.isfinite(value).all():
                raise NonFiniteError(f"arm '{self.name}': {key}", value, "Give every limit.")
        for low, high in (
            (self.joint_lower_rad, self.joint_upper_rad),
            (self.workspace_lower_m, self.workspace_upper_m),
        ):
            if not (np.isfinite(low).all() and np.isfinite(high).all() and np.all(low < high)):
                raise ConfigError(
                    f"arm '{self.name}': lower limits {low} must be finite and below {high}."
                )

    @property
    def dof(self) -> int:
        """Number of joints."""
        return len(self.joint_names)


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera: its name and image size, and its rate."""

    name: str
    width_px: int
    height_px: int
    rate_hz: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RobotSpec:
    """All that is known of a robot before connecting to it.

    `tracked` names the poses (position + quaternion, in world) that the robot's world reports
    beside its joints: objects in the twin, or a pose tracker on the real robot; `signals` names
    further vectors and their lengths (drawer opening, for one).
    """

    name: str
    arms: tuple[ArmSpec, ...]
    cameras: tuple[CameraSpec, ...] = ()
    tracked: tuple[str, ...] = ()
    signals: Mapping[str, int] = field(default_factory=dict)

    @property
    def dof(self) -> int:
        """Number of joints over all arms; joint vectors are the arms' one after another."""
        return sum(arm.dof for arm in self.arms)

    @property
    def num_grippers(self) -> int:
        """Number of arms that carry a gripper; gripper vectors follow the order of the arms."""
        return sum(arm.gripper is not None for arm in self.arms)


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """One camera frame and when it was taken, in the clock of the port."""

    rgb: U8  # (height, width, 3)
    stamp_s: float
    frame_number: int


@dataclass(frozen=True, kw_only=True, eq=False)
class RobotState:
    """What a port reads at one instant; joint vectors are the arms' one after another."""

    stamp_s: float
    q_rad: F64  # (dof,)
    dq_rad_s: F64  # (dof,)
    gripper_m: F64  # (num_grippers,) opening
    tau_nm: F64 | None = None  # (dof,)
    poses: Mapping[str, F64] = field(default_factory=dict)  # name -> (7,) position, w x y z
    signals: Mapping[str, F64] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Command:
    """A joint position target for all arms; checked once here, at the boundary."""

    q_rad: F64  # (dof,)
    gripper_m: F64  # (num_grippers,)
    stamp_s: float

    def __post_init__(self) -> None:
        """Refuse a command that is not finite: no filter may be the last to see a NaN."""
        if not (np.isfinite(self.q_rad).all() and np.isfinite(self.gripper_m).all()):
            raise NonFiniteError(
                "command", (self.q_rad, self.gripper_m), "Stop the policy that produced it."
            )

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain arrays, for recording."""
        return {"q_rad": self.q_rad, "gripper_m": self.gripper_m, "stamp_s": self.stamp_s}
