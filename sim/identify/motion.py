"""A motion of an arm, tick by tick, what it must keep clear of, and how the arm gets to it.

**motion** → measurement → parameters → fit → posterior → twins drawn from it
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robot_rl.config import from_plain, to_plain
from robot_rl.control.interpolate import target_of_step
from robot_rl.control.kinematics import forward
from robot_rl.control.safety import SafetyFilter
from robot_rl.errors import ConfigError, DataError
from robot_rl.types import F64, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.clearance import Clearance

__all__ = ["ExcitationCfg", "Motion", "approach", "check_motion", "smooth_rise", "stopping_points"]

_CHECK_EVERY = 10  # ticks between looks at clearances
_APPROACH_SHARE = 0.25  # of the limits of velocity and acceleration
_PEAK_SPEED, _PEAK_ACCELERATION = (
    1.875,
    5.78,
)  # of a way of 1 in 1 s by the quintic of `smooth_rise`


@dataclass(frozen=True, kw_only=True)
class ExcitationCfg:
    """What the motion is like. Shares are of the limits in the robot's description."""

    duration_s: float = 8.0
    """With the rest at both ends."""
    rest_s: float = 0.5
    """Standing still at the beginning and the end, for the noise and the start."""
    harmonics: int = 5
    """Sines and cosines of each joint."""
    base_hz: float = 0.2
    """The slowest."""
    amplitude_rad: float = 0.5
    """Largest way of a joint from the middle of the motion."""
    velocity_share: float = 0.8
    """Of the joints' velocity limits."""
    acceleration_share: float = 0.8
    """Of the joints' acceleration limits."""
    range_margin_rad: float = 0.1
    """From the ends of the joints' ranges."""
    clearance_m: float = 0.03
    """From the table and from the arm itself."""
    candidates: int = 6
    """Motions among which the most informative is chosen."""

    def __post_init__(self) -> None:
        """Refuse what leaves no time or no room to move."""
        for key in ("harmonics", "candidates"):
            if getattr(self, key) < 1:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be >= 1.")
        for key in ("rest_s", "base_hz", "amplitude_rad", "clearance_m"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be positive.")
        for key in ("velocity_share", "acceleration_share"):
            if not 0 < getattr(self, key) <= 1:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be in (0, 1].")
        if not self.duration_s >= 2 * self.rest_s + 1.0:
            raise ConfigError(
                f"excitation: duration_s is {self.duration_s}, but must leave a second of motion "
                f"between two rests of {self.rest_s} s."
            )
        if not self.range_margin_rad >= 0:
            raise ConfigError(
                f"excitation: range_margin_rad is {self.range_margin_rad}, must be >= 0."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Joint targets, one a tick of the bridge (10 ms)."""

    joints: tuple[str, ...]
    q_rad: F64  # (m, dof)

    @property
    def duration_s(self) -> float:
        """How long it takes."""
        return len(self.q_rad) * BRIDGE_PERIOD_S

    @property
    def peaks(self) -> dict[str, float]:
        """Largest way, speed and acceleration of any joint."""
        dq = np.diff(self.q_rad, axis=0) / BRIDGE_PERIOD_S
        return {
            "range_rad": float(np.ptp(self.q_rad, axis=0).max()),
            "speed_rad_s": float(np.abs(dq).max()),
            "acceleration_rad_s2": float(np.abs(np.diff(dq, axis=0)).max() / BRIDGE_PERIOD_S),
        }

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return to_plain({"joints": self.joints, "q_rad": self.q_rad})

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> "Motion":
        """What `to_plain` gave.

        Raises:
            ConfigError: It is none.
        """
        plain = from_plain(_PlainMotion, data, "motion")
        return cls(joints=plain.joints, q_rad=np.array(plain.q_rad))


@dataclass(frozen=True, kw_only=True)
class _PlainMotion:
    joints: tuple[str, ...]
    q_rad: list[list[float]]


def check_motion(
    robot: RobotSpec,
    clearance: Clearance,
    q_rad: F64,
    cfg: ExcitationCfg,
    *,
    may_brake: bool = False,
) -> str | None:
    """What a motion (m, dof), or braking in it, would violate, in words; None if nothing."""
    lower, upper, velocity, acceleration = _limits(robot)
    stops = stopping_points(robot, q_rad) if may_brake else q_rad[:0]
    reached = np.concatenate((q_rad, stops))
    if ((reached < lower + cfg.range_margin_rad) | (reached > upper - cfg.range_margin_rad)).any():
        return "joint ranges"
    dq = np.diff(q_rad, axis=0) / BRIDGE_PERIOD_S
    if (np.abs(dq) > cfg.velocity_share * velocity).any():
        return "joint velocities"
    ddq = np.diff(dq, axis=0) / BRIDGE_PERIOD_S
    if (np.abs(ddq) > cfg.acceleration_share * acceleration).any():
        return "joint accelerations"
    widths = np.zeros((len(q_rad) - 1, robot.num_grippers))
    kept, _, _ = SafetyFilter(robot, period_s=BRIDGE_PERIOD_S).filter_batch(
        q_rad[1:], widths, q_rad[:-1], widths
    )
    if np.abs(kept - q_rad[1:]).max() > 0 or not _is_inside(robot, stops):
        return "the workspace box of the tool"
    least_m, where = clearance.least_m(reached[::_CHECK_EVERY])
    if least_m < cfg.clearance_m:
        return f"the clearance between {where}"
    return None


def stopping_points(robot: RobotSpec, q_rad: F64) -> F64:
    """(m, dof) where the joints would stand if they braked from each tick of a motion (m, dof)."""
    speed = np.diff(q_rad, axis=0, append=q_rad[-1:]) / BRIDGE_PERIOD_S
    acceleration = _limits(robot)[3]
    return target_of_step(q_rad, speed, acceleration_limit=acceleration, dt=BRIDGE_PERIOD_S)


def approach(
    robot: RobotSpec, clearance: Clearance, here_rad: F64, to_rad: F64, cfg: ExcitationCfg
) -> F64:
    """(m, dof) a slow, straight way of all joints from rest to rest; its last tick is `to_rad`.

    Args:
        robot: Its limits, of which a quarter is used.
        clearance: What is in the way.
        here_rad: (dof,) where the arm stands.
        to_rad: (dof,) where it shall stand.
        cfg: The clearance to keep.

    Raises:
        DataError: Something is in the way; says what.
    """
    _, _, velocity, acceleration = _limits(robot)
    way = np.abs(to_rad - here_rad)
    duration_s = max(
        (_PEAK_SPEED * way / (_APPROACH_SHARE * velocity)).max(),
        np.sqrt((_PEAK_ACCELERATION * way / (_APPROACH_SHARE * acceleration)).max()),
    )
    ticks = max(1, int(np.ceil(duration_s / BRIDGE_PERIOD_S)))
    share = np.arange(ticks + 1) / ticks
    path = here_rad + smooth_rise(share)[:, None] * (to_rad - here_rad)
    problem = check_motion(robot, clearance, path, replace(cfg, range_margin_rad=0.0))
    if problem:
        raise DataError(
            f"the way from {np.round(here_rad, 3).tolist()} rad, where the arm stands, to "
            f"{np.round(to_rad, 3).tolist()} rad, where the motion begins, violates {problem}. "
            "Bring it nearer first: by hand, by teleoperation, or home."
        )
    return path[1:]


def smooth_rise(share: F64) -> F64:
    """From 0 to 1 as a share does, but smooth to the second derivative at both ends."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def _is_inside(robot: RobotSpec, q_rad: F64) -> bool:
    """Whether all tools are in their boxes at joints (m, dof)."""
    first, inside = 0, True
    for arm in robot.arms:
        tool = forward(arm, q_rad[:, first : first + arm.dof])[:, :3, 3]
        inside &= bool(((tool >= arm.workspace_lower_m) & (tool <= arm.workspace_upper_m)).all())
        first += arm.dof
    return inside


def _limits(robot: RobotSpec) -> tuple[F64, F64, F64, F64]:
    """Lower, upper [rad], velocity [rad/s] and acceleration [rad/s²] limits (dof,)."""
    arms = robot.arms
    return (
        np.concatenate([arm.joint_lower_rad for arm in arms]),
        np.concatenate([arm.joint_upper_rad for arm in arms]),
        np.concatenate([arm.joint_velocity_limit_rad_s for arm in arms]),
        np.concatenate([arm.joint_acceleration_limit_rad_s2 for arm in arms]),
    )
