"""Is this frame a new one? A frozen camera keeps delivering, but what it delivers is old.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import numpy as np

from robot_rl.cameras.frame import Frame

__all__ = ["FreezeDetector"]


class FreezeDetector:
    """Compares each frame with the last new one, and knows for how long nothing new has come.

    One detector serves all openings of a camera: what is still frozen after it is still old.
    """

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._new_at_s = 0.0

    def begin(self, now_s: float) -> None:
        """The camera is open from now on."""
        self._new_at_s = now_s

    def is_new(self, frame: Frame) -> bool:
        """Whether number and device stamp have both moved on.

        Without a device stamp the number is only a count of deliveries, so the pixels decide: the
        noise of a sensor never repeats itself to the bit.
        """
        last = self._last
        if last is not None:
            if frame.frame_number == last.frame_number:
                return False
            if frame.device_stamp_s is None:
                if np.array_equal(frame.rgb, last.rgb):
                    return False
            elif frame.device_stamp_s == last.device_stamp_s:
                return False
        self._last, self._new_at_s = frame, frame.arrival.monotonic_s
        return True

    def frozen_for_s(self, now_s: float) -> float:
        """Seconds since the last new frame arrived, or since `begin`."""
        return now_s - self._new_at_s
