"""Time as a dependency: the same loop waits on the robot and steps physics in the twin."""

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "WallClock"]


class Clock(Protocol):
    """Monotonic time in seconds, and waiting for it."""

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def sleep_until(self, time_s: float) -> None:
        """Return when `now() >= time_s`; at once if that has passed."""
        ...


class WallClock:
    """The workstation's monotonic clock."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    def sleep_until(self, time_s: float) -> None:
        """See `Clock.sleep_until`."""
        remaining = time_s - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)


class ManualClock:
    """A clock that moves only when it is told or waited on: for ports without physics."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now(self) -> float:
        """See `Clock.now`."""
        return self._now_s

    def sleep_until(self, time_s: float) -> None:
        """Jump to `time_s` if it lies ahead."""
        self._now_s = max(self._now_s, time_s)
