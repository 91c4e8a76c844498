"""Webcams and capture cards through OpenCV; a video file may stand in for one.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

OpenCV tells neither the number of a frame nor its intrinsics: frames are counted as they come,
so drops show in the rate only. V4L2 stamps are the kernel's, on the monotonic clock.
"""

import time
from pathlib import Path

import cv2
import numpy as np

from robot_rl.cameras.cfg import UvcCfg
from robot_rl.cameras.frame import CameraError, Frame, HostInstant, Intrinsics, StampDomain
from robot_rl.cameras.stamps import StampConverter
from robot_rl.errors import ConfigError

__all__ = ["UvcGrabber"]

_BACKENDS = {
    "any": cv2.CAP_ANY,
    "v4l2": cv2.CAP_V4L2,
    "gstreamer": cv2.CAP_GSTREAMER,
    "ffmpeg": cv2.CAP_FFMPEG,
}
_PLAUSIBLE_AGE_S = 5.0


class UvcGrabber:
    """See `FrameGrabber`. A read that fails is an error, never the frame before."""

    def __init__(self, cfg: UvcCfg) -> None:
        self._cfg = cfg
        self._capture: cv2.VideoCapture | None = None
        self._stamps = StampConverter()
        self._domain: StampDomain | None = None
        self._is_file = False
        self._opened_s = 0.0
        self._count = 0

    @property
    def camera(self) -> str:
        """See `FrameGrabber.camera`."""
        return self._cfg.name

    @property
    def intrinsics(self) -> Intrinsics | None:
        """None: UVC has no place for them; they come from calibration."""
        return None

    @property
    def link(self) -> str:
        """See `FrameGrabber.link`."""
        if self._capture is None:
            return "closed"
        return "recording" if self._is_file else self._capture.getBackendName()

    @property
    def incomplete(self) -> int:
        """Always 0: there is one stream."""
        return 0

    def open(self) -> None:
        """See `FrameGrabber.open`."""
        self.close()
        source = self._cfg.source
        self._is_file = isinstance(source, str) and Path(source).is_file()
        if isinstance(source, str) and not Path(source).exists():
            # OpenCV would try the path as a pattern, an address and a pipeline, and warn of each.
            raise CameraError(f"camera '{self.camera}': there is no {source}. Is it plugged in?")
        capture = cv2.VideoCapture(source, _BACKENDS[self._cfg.backend])
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                f"camera '{self.camera}': OpenCV cannot open {source!r} by '{self._cfg.backend}'. "
                "Close other programs that use it, and see: v4l2-ctl --list-devices"
            )
        if not self._is_file:
            self._ask(capture)
        self._capture, self._stamps, self._domain = capture, StampConverter(), None
        self._opened_s = time.monotonic()

    def _ask(self, capture: cv2.VideoCapture) -> None:
        """Ask for the mode; drivers round silently, so the first frame is what counts."""
        # The pixel format comes first: it decides which sizes there are.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._cfg.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._cfg.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._cfg.height_px)
        capture.set(cv2.CAP_PROP_FPS, self._cfg.rate_hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a longer queue would hand out old frames

    def grab(self, timeout_s: float) -> Frame:
        """See `FrameGrabber.grab`; the driver's own timeout (V4L2: 10 s) may be longer."""
        if self._capture is None:
            raise CameraError(f"camera '{self.camera}' is not open. Call open() first.")
        is_read, bgr = self._capture.read()
        if not is_read:
            raise CameraError(
                f"camera '{self.camera}': {self._cfg.source!r} delivers no further frame. "
                "Check cable and power."
            )
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        if self._is_file:
            self._wait_as_long_as_a_camera(stamp_s, timeout_s)
        height_px, width_px = bgr.shape[:2]
        if (width_px, height_px) != (self._cfg.width_px, self._cfg.height_px):
            raise ConfigError(
                f"camera '{self.camera}' delivers {width_px} x {height_px} px, but "
                f"{self._cfg.width_px} x {self._cfg.height_px} was asked for. "
                "Ask for a mode that it has: v4l2-ctl --list-formats-ext"
            )
        arrival = HostInstant.now()
        if self._domain is None:
            self._domain = self._domain_of(stamp_s, arrival)
        device_s = None if self._domain is StampDomain.NONE else stamp_s
        self._count += 1
        return Frame(
            camera=self.camera,
            rgb=np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8),
            depth_mm=None,
            frame_number=self._count,
            device_stamp_s=device_s,
            domain=self._domain,
            arrival=arrival,
            stamp_s=self._stamps.to_monotonic(device_s, self._domain, arrival),
        )

    def _wait_as_long_as_a_camera(self, position_s: float, timeout_s: float) -> None:
        """Keep a file to its own time line."""
        remaining_s = self._opened_s + position_s - time.monotonic()
        if remaining_s > 0:
            time.sleep(min(remaining_s, timeout_s))

    def _domain_of(self, stamp_s: float, arrival: HostInstant) -> StampDomain:
        """Whose clock the first stamp was read from: drivers differ, and OpenCV does not tell."""
        if self._is_file:
            return StampDomain.DEVICE
        if stamp_s <= 0:
            return StampDomain.NONE
        if abs(arrival.monotonic_s - stamp_s) < _PLAUSIBLE_AGE_S:
            return StampDomain.MONOTONIC
        if abs(arrival.wall_s - stamp_s) < _PLAUSIBLE_AGE_S:
            return StampDomain.WALL
        return StampDomain.DEVICE

    def close(self) -> None:
        """See `FrameGrabber.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
