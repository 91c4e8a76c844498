"""When a frame was taken, on the host's monotonic clock, from what camera and host say of it.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

| domain | conversion | what remains |
|---|---|---|
| MONOTONIC | none | nothing |
| WALL, WALL_FITTED | arrival - (wall time of arrival - stamp) | steps of the wall clock |
| DEVICE | stamp + least (arrival - stamp) of the last seconds | the fastest delivery's latency |
| NONE | arrival | the whole latency |

The least difference follows the drift of the camera's clock, and is not disturbed by frames that
the host picked up late: those come out old, as they are. No frame is taken after it arrived.
"""

from collections import deque

from robot_rl.cameras.frame import HostInstant, StampDomain

__all__ = ["StampConverter"]

_STEP_S = 1e-6


class StampConverter:
    """Turns the stamps of one camera, from opening to closing, into monotonic time.

    Args:
        window_s: Over which the least difference is taken: long enough to see a fast delivery,
            short enough for the drift (50 ppm make 1 ms in 20 s).
    """

    def __init__(self, window_s: float = 20.0) -> None:
        self._window_s = window_s
        # (arrival, difference), differences increasing: the first is the least of the window.
        self._differences: deque[tuple[float, float]] = deque()
        self._last_device_s = self._last_s = float("-inf")

    def to_monotonic(
        self, device_stamp_s: float | None, domain: StampDomain, arrival: HostInstant
    ) -> float:
        """When the frame was taken [s], on the monotonic clock.

        Later frames get later stamps, even if the conversion has learned to be more exact.
        """
        if device_stamp_s is None or domain is StampDomain.NONE:
            stamp_s = arrival.monotonic_s
        elif domain is StampDomain.MONOTONIC:
            stamp_s = device_stamp_s
        elif domain is StampDomain.DEVICE:
            stamp_s = device_stamp_s + self._least_difference(device_stamp_s, arrival.monotonic_s)
        else:
            stamp_s = arrival.monotonic_s - (arrival.wall_s - device_stamp_s)
        # A step of the wall clock may put the stamp into the future, which would keep it fresh.
        stamp_s = min(stamp_s, arrival.monotonic_s)
        self._last_s = min(max(stamp_s, self._last_s + _STEP_S), arrival.monotonic_s)
        return self._last_s

    def _least_difference(self, device_s: float, arrival_s: float) -> float:
        """The least arrival - stamp [s] of the window; begins anew when the clock went back."""
        if device_s < self._last_device_s:
            self._differences.clear()
        self._last_device_s = device_s
        difference = arrival_s - device_s
        while self._differences and self._differences[-1][1] >= difference:
            self._differences.pop()
        self._differences.append((arrival_s, difference))
        while self._differences[0][0] < arrival_s - self._window_s:
            self._differences.popleft()
        return self._differences[0][1]
