"""One frame of a camera with all that is known about when it was taken.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import time
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import PortError
from robot_rl.types import U8, Image

__all__ = ["U16", "CameraError", "Frame", "HostInstant", "Intrinsics", "StampDomain"]

U16 = NDArray[np.uint16]


class CameraError(PortError):
    """A camera is not there, refuses, or has gone silent; opening it again may help."""


class StampDomain(StrEnum):
    """Whose clock a device stamp was read from."""

    DEVICE = "device"
    """The camera's own clock, or the time line of a recording: unknown start, drifts, may wrap."""
    WALL = "wall"
    """The host's wall clock, read by the driver; it jumps when somebody sets the clock."""
    WALL_FITTED = "wall_fitted"
    """The camera's clock, which the driver has fitted to the host's wall clock."""
    MONOTONIC = "monotonic"
    """The host's monotonic clock, read by the kernel at the transfer."""
    NONE = "none"
    """The camera gives no stamp; the arrival is all that is known."""


@dataclass(frozen=True, kw_only=True)
class HostInstant:
    """One instant on both clocks of the host."""

    monotonic_s: float
    wall_s: float

    @classmethod
    def now(cls) -> "HostInstant":
        """The present."""
        return cls(monotonic_s=time.monotonic(), wall_s=time.time())


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """A pinhole with distortion, as `sensor_msgs/CameraInfo` has it."""

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion_model: str  # "plumb_bob" or "equidistant"
    distortion: tuple[float, ...]  # k1, k2, p1, p2, k3, or k1 to k4 of "equidistant"


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A frame, its copies of the pixels, and its stamps."""

    camera: str
    rgb: U8  # (height, width, 3)
    depth_mm: U16 | None  # (height, width) in the pixels of the colour image; 0 is unknown
    frame_number: int
    device_stamp_s: float | None  # as the camera gave it, in `domain`
    domain: StampDomain
    arrival: HostInstant  # when the host had it whole
    stamp_s: float  # when it was taken, on the host's monotonic clock; see `StampConverter`

    @property
    def stamp_wall_s(self) -> float:
        """When it was taken, on the host's wall clock as it stood at the arrival."""
        return self.arrival.wall_s - (self.arrival.monotonic_s - self.stamp_s)

    def age_s(self, now_s: float) -> float:
        """Seconds since it was taken; `now_s` is on the monotonic clock."""
        return now_s - self.stamp_s

    def image(self) -> Image:
        """The colour part as a port gives it."""
        return Image(rgb=self.rgb, stamp_s=self.stamp_s, frame_number=self.frame_number)
