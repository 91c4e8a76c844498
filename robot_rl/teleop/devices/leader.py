"""A leader arm: a person moves a small copy of the robot, and the robot follows its joints.

command:   **person → device** → mapping → decode → safety → send

Where the joints come from (a servo bus, a topic) is a function; here they become the robot's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.teleop.devices.device import STALE_S, Sample
from robot_rl.types import F64

__all__ = ["LeaderArm", "LeaderCfg", "Reading", "misalignment"]

Reading = tuple[float, F64]
"""(monotonic stamp [s], (dof,) or, with a trigger last, (dof + 1,) positions)."""


@dataclass(frozen=True, kw_only=True)
class LeaderCfg:
    """From the leader's joints to the robot's: q_robot = sign * q_leader + offset."""

    joint_names: tuple[str, ...]
    """The robot's joints, in order."""
    offset_rad: tuple[float, ...]
    """What is added; from holding both in one pose, or from a calibration file."""
    sign: tuple[int, ...]
    """1, or -1 for a joint that was built in the other way round."""
    has_trigger: bool = False
    """Whether the last position is a trigger for the gripper."""
    trigger_open_rad: float = 0.0
    """The trigger's position when let go."""
    trigger_closed_rad: float = 1.0
    """The trigger's position when pulled."""
    align_rad: float = 0.2
    """How far each joint may be from the robot's when the leader takes over."""

    def __post_init__(self) -> None:
        """Refuse tables of different lengths, and signs that are none."""
        n = len(self.joint_names)
        for name, value in (("offset_rad", self.offset_rad), ("sign", self.sign)):
            if len(value) != n:
                raise ShapeError(f"leader: {name}", (len(value),), (n,))
        if not set(self.sign) <= {-1, 1}:
            raise ConfigError(f"leader: sign is {self.sign}, but must hold 1 and -1 only.")
        if not self.align_rad > 0 or self.trigger_open_rad == self.trigger_closed_rad:
            raise ConfigError(
                f"leader: align_rad is {self.align_rad} and must be positive; the trigger is "
                f"{self.trigger_open_rad} rad open and {self.trigger_closed_rad} rad closed, "
                "which must differ."
            )


def misalignment(cfg: LeaderCfg, leader_rad: F64, robot_rad: F64) -> str:
    """What to do before the leader may take over; "" if it may.

    Args:
        cfg: Names and tolerance.
        leader_rad: (dof,) in the robot's joints.
        robot_rad: (dof,) where the robot stands.
    """
    gap = robot_rad - leader_rad
    worst = int(np.abs(gap).argmax())
    if abs(gap[worst]) <= cfg.align_rad:
        return ""
    return (
        f"leader is not aligned: turn {cfg.joint_names[worst]} by {gap[worst]:+.2f} rad "
        f"(within {cfg.align_rad} rad)"
    )


class LeaderArm:
    """Asks for the leader's joints, once the leader stands where the robot does.

    Aligned once, it stays in charge until it is let go: the clutch opens when readings stop, and
    when `release` is called.
    """

    name = "leader"

    def __init__(
        self,
        cfg: LeaderCfg,
        joints: Callable[[], Reading | None],
        robot: Callable[[], F64 | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow `joints` (newest reading of the leader) from where `robot` (dof,) stands."""
        self._cfg, self._joints, self._robot, self._clock = cfg, joints, robot, clock
        self._is_aligned = False

    def open(self) -> None:
        """Nothing to claim: whoever reads the leader has it."""

    def release(self) -> None:
        """Ask for alignment anew: after a reset, or when someone else has driven."""
        self._is_aligned = False

    def read(self) -> Sample:
        """See `Device.read`."""
        now_s = self._clock()
        reading, robot_rad = self._joints(), self._robot()
        if reading is None or robot_rad is None:
            missing = "leader" if reading is None else "robot"
            return Sample(stamp_s=now_s, note=f"no joint positions of the {missing} yet")
        stamp_s, positions = reading
        if now_s - stamp_s > STALE_S:
            self._is_aligned = False
            return Sample(stamp_s=stamp_s, note=f"leader: no position for {now_s - stamp_s:.1f} s")
        n = len(self._cfg.joint_names)
        allowed = n + self._cfg.has_trigger
        if positions.shape != (allowed,):
            raise ShapeError("leader: positions", positions.shape, (allowed,))
        q = np.array(self._cfg.sign) * positions[:n] + np.array(self._cfg.offset_rad)
        note = "" if self._is_aligned else misalignment(self._cfg, q, robot_rad)
        self._is_aligned = not note
        return Sample(
            stamp_s=stamp_s,
            joints_rad=q,
            gripper=self._opening(positions[-1]) if self._cfg.has_trigger else None,
            active=self._is_aligned,
            note=note,
        )

    def close(self) -> None:
        """Nothing to release."""

    def _opening(self, trigger_rad: float) -> float:
        open_rad, closed_rad = self._cfg.trigger_open_rad, self._cfg.trigger_closed_rad
        share = (closed_rad - trigger_rad) / (closed_rad - open_rad)
        return float(min(max(share, 0.0), 1.0))
