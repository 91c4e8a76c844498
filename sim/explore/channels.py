"""What is measured of a motion, as numbers with a known noise.

explore:   believed twins → motion → **measurement** → fit → posterior → task policy

The joints and openings that identification of the arm reads are here beside the poses and signals
of objects, since a trial is compared as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64, RobotState
from sim.tasks.rod import yaw_of

__all__ = ["Channel", "Kind", "measure", "noise"]

Kind = Literal["xy", "yaw", "signal", "joints"]
_SIZES: dict[str, int | None] = {"xy": 2, "yaw": 1, "signal": 1, "joints": None}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One kind of number that a robot's sensors give."""

    kind: Kind
    """Place [m] or turn [rad] of a tracked body, a signal, or all joint angles [rad]."""
    name: str = ""
    """Of the body or signal."""
    std: float
    """Deviation of its noise, in its unit."""

    def __post_init__(self) -> None:
        """Refuse a noise that is none: a fit weighs by it."""
        if not self.std > 0:
            raise ConfigError(f"channel {self.kind} {self.name}: std is {self.std}, must be > 0.")

    def read(self, state: RobotState) -> F64:
        """(..., k) of a state with leading dimensions."""
        if self.kind == "joints":
            return state.q_rad
        if self.kind == "signal":
            return state.signals[self.name]
        pose = state.poses[self.name]
        return pose[..., :2] if self.kind == "xy" else yaw_of(pose)[..., None]

    def size(self, dof: int) -> int:
        """How many numbers."""
        return _SIZES[self.kind] or dof


def measure(channels: Sequence[Channel], state: RobotState) -> F64:
    """(..., m) all channels of a state, side by side."""
    return np.concatenate([channel.read(state) for channel in channels], -1)


def noise(channels: Sequence[Channel], dof: int) -> F64:
    """(m,) deviation of each number of `measure`."""
    return np.concatenate([np.full(channel.size(dof), channel.std) for channel in channels])
