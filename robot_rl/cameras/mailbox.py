"""The newest frame of one camera, for any number of readers, and what was lost on the way.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

A reader sees the frame's own stamp and number, so an old frame is never taken for a new one; a
slow reader skips frames and never queues them.
"""

import threading
import time
from collections import deque

from robot_rl.cameras.frame import Frame

__all__ = ["Mailbox"]

_RATE_WINDOW_S = 2.0


class Mailbox:
    """Holds one frame; written by the capture thread, read by all others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._last_number: int | None = None
        self._arrivals_s: deque[float] = deque()
        self._received = self._missed = 0

    def put(self, frame: Frame) -> None:
        """Replace the frame, count the numbers that were skipped, and wake all who wait."""
        with self._changed:
            if self._last_number is not None and frame.frame_number > self._last_number:
                self._missed += frame.frame_number - self._last_number - 1
            self._frame, self._last_number = frame, frame.frame_number
            self._received += 1
            self._arrivals_s.append(frame.arrival.monotonic_s)
            self._forget(frame.arrival.monotonic_s)
            self._changed.notify_all()

    def clear(self) -> None:
        """Take the frame out: the camera is lost, or counts anew."""
        with self._changed:
            self._frame = self._last_number = None

    def newest(self) -> Frame | None:
        """The newest frame, however old; None before the first and while the camera is lost."""
        with self._changed:
            return self._frame

    def wait_for_other(self, than: Frame | None, timeout_s: float) -> Frame | None:
        """The newest frame as soon as it is another than `than`; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._frame is not None and self._frame is not than, timeout_s
            )
            return None if self._frame is than else self._frame

    @property
    def received(self) -> int:
        """Frames put in so far."""
        with self._changed:
            return self._received

    @property
    def missed(self) -> int:
        """Frame numbers skipped so far."""
        with self._changed:
            return self._missed

    @property
    def rate_hz(self) -> float:
        """Frames a second over the last two seconds."""
        with self._changed:
            self._forget(time.monotonic())
            if len(self._arrivals_s) < 2:
                return 0.0
            span_s = self._arrivals_s[-1] - self._arrivals_s[0]
            return (len(self._arrivals_s) - 1) / span_s if span_s > 0 else 0.0

    def _forget(self, now_s: float) -> None:
        """Drop arrivals that have left the window."""
        while self._arrivals_s and self._arrivals_s[0] < now_s - _RATE_WINDOW_S:
            self._arrivals_s.popleft()
