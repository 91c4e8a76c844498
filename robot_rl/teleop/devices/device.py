"""What every device says at each read: a motion, a gripper wish, a clutch, and what was asked for.

command:   **person → device** → mapping → decode → safety → send
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.types import F32, F64

__all__ = ["STALE_S", "Device", "Event", "Sample", "still"]

STALE_S = 0.1
"""A held clutch that was last heard of longer ago counts as released."""


class Event(StrEnum):
    """What a person asks of the recorder; each has one line in the keymap."""

    START = "start"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    RERECORD = "rerecord"
    UNDO = "undo"
    INTERVENE = "intervene"
    QUIT = "quit"


def still() -> F64:
    """The twist (6,) of a hand that does not move."""
    return np.zeros(6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One read of a device. At most one of `joints_rad` and `action` stands in for the twist.

    Attributes:
        stamp_s: Monotonic time at which the hand was last heard of.
        twist: (6,) translation and rotation of the tool in base, as shares of full speed.
        joints_rad: (dof,) the joints that a leader arm asks for, or None.
        grippers_m: (num_grippers,) openings [m] that go with `joints_rad`, or None.
        action: (a,) in the env's own units, from a script or a policy, or None.
        gripper: Wished opening, 0 closed to 1 open; None leaves it as it is.
        toggles_gripper: Whether it was asked to change over since the last read.
        arm: Which arm the twist and the gripper are for.
        active: Whether the clutch (deadman) is held.
        events: What was asked for since the last read, oldest first.
        note: A line for the person, such as why the leader may not take over yet.
    """

    stamp_s: float
    twist: F64 = field(default_factory=still)
    joints_rad: F64 | None = None
    grippers_m: F64 | None = None
    action: F32 | None = None
    gripper: float | None = None
    toggles_gripper: bool = False
    arm: int = 0
    active: bool = False
    events: tuple[Event, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what no hand can mean: nothing later looks at a device's numbers again."""
        if self.twist.shape != (6,):
            raise ShapeError("device: twist", self.twist.shape, (6,))
        for name in ("twist", "joints_rad", "grippers_m", "action", "gripper"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise NonFiniteError(f"device: {name}", value, "Unplug the device and check it.")
        if np.abs(self.twist).max() > 1.0:
            raise ConfigError(f"device: twist is {self.twist}, but shares must be within ±1.")
        if self.gripper is not None and not 0.0 <= self.gripper <= 1.0:
            raise ConfigError(f"device: gripper is {self.gripper}, but must be within 0 and 1.")

    def is_held(self, now_s: float) -> bool:
        """Whether the clutch is held and the hand was heard of within `STALE_S`."""
        return self.active and now_s - self.stamp_s <= STALE_S


class Device(Protocol):
    """Something a person (or a script) steers with. Constructors do no I/O; `open` does."""

    @property
    def name(self) -> str:
        """The word a user types, and the column of the keymap."""
        ...

    def open(self) -> None:
        """Claim the device. Calling it twice is harmless.

        Raises:
            PortError: It is not there; the message says what to do.
        """
        ...

    def read(self) -> Sample:
        """What the hand does now; never waits.

        Raises:
            PortError: The device has gone.
        """
        ...

    def close(self) -> None:
        """Release the device. Calling it twice is harmless."""
        ...
