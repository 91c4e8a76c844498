"""One thread a camera: opens it, grabs, tells new frames from old ones, and opens it again.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

A lost or frozen camera takes its frame out of the mailbox before anything else is tried, so
nobody is served what it saw before.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from robot_rl.cameras.cfg import CaptureCfg
from robot_rl.cameras.frame import CameraError, Frame, Intrinsics
from robot_rl.cameras.freeze import FreezeDetector
from robot_rl.cameras.grabber import FrameGrabber
from robot_rl.cameras.mailbox import Mailbox
from robot_rl.errors import RobotRLError

__all__ = ["CameraHealth", "CameraState", "Capture"]

_logger = logging.getLogger(__name__)
_JOIN_S = 5.0


class CameraState(StrEnum):
    """Where a capture stands."""

    CLOSED = "closed"
    OPENING = "opening"
    STREAMING = "streaming"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class CameraHealth:
    """What diagnostics report of one camera."""

    camera: str
    state: CameraState
    rate_hz: float
    age_s: float  # of the newest frame; infinite without one
    received: int  # new frames
    missed: int  # frame numbers skipped, incomplete sets among them
    repeated: int  # frames delivered again
    incomplete: int  # sets without colour or depth
    losses: int  # how often it was lost, or could not be opened
    link: str
    stamp_domain: str
    error: str  # the last one; empty while streaming


class Capture:
    """Grabs one camera into a mailbox until it is stopped.

    Args:
        grabber: Used by the thread of this object only.
        cfg: When the camera counts as lost.
        on_frame: Called in the thread with each new frame; must return within the frame period.
    """

    def __init__(
        self,
        grabber: FrameGrabber,
        cfg: CaptureCfg,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        self._grabber, self._cfg, self._on_frame = grabber, cfg, on_frame
        self._mailbox, self._detector = Mailbox(), FreezeDetector()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._state, self._error = CameraState.CLOSED, ""
        self._repeated = self._losses = 0

    @property
    def camera(self) -> str:
        """Its name."""
        return self._grabber.camera

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Of the colour image; None before the camera is open, or if it does not know them."""
        return self._grabber.intrinsics

    @property
    def mailbox(self) -> Mailbox:
        """Where the newest frame is."""
        return self._mailbox

    def start(self) -> None:
        """Begin to grab; harmless when it runs."""
        if self._thread is None:
            self._stopping.clear()
            self._state = CameraState.OPENING
            self._thread = threading.Thread(
                target=self._run, name=f"camera {self.camera}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop grabbing and release the camera; harmless when it does not run."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _logger.warning("camera '%s' is stuck in its driver; leaving it", self.camera)
        self._thread = None

    def health(self) -> CameraHealth:
        """How the camera does at present."""
        frame = self._mailbox.newest()
        return CameraHealth(
            camera=self.camera,
            state=self._state,
            rate_hz=self._mailbox.rate_hz,
            age_s=frame.age_s(time.monotonic()) if frame else float("inf"),
            received=self._mailbox.received,
            missed=self._mailbox.missed,
            repeated=self._repeated,
            incomplete=self._grabber.incomplete,
            losses=self._losses,
            link=self._grabber.link,
            stamp_domain=frame.domain if frame else "",
            error=self._error,
        )

    def _run(self) -> None:
        """The thread: open, stream, and again, until stopped or failed."""
        end = CameraState.FAILED  # unless the loop ends as it should
        try:
            self._keep_streaming()
            end = CameraState.CLOSED
        except RobotRLError as error:
            self._error = str(error)
            _logger.error("camera '%s' has failed: %s", self.camera, error)
        finally:
            self._mailbox.clear()
            if end is CameraState.FAILED:
                self._error = self._error or "its thread has crashed; see the traceback"
            self._state = end
            self._grabber.close()

    def _keep_streaming(self) -> None:
        """Open and stream until stopped.

        Raises:
            CameraError: Nothing new came for as long as the configuration allows.
            RobotRLError: The camera cannot work as it is configured.
        """
        pause_s, new_at_s = self._cfg.backoff_s, time.monotonic()
        while not self._stopping.is_set():
            before = self._mailbox.received
            try:
                self._grabber.open()
                self._stream()
            except CameraError as error:
                self._lose(error)
                if self._mailbox.received > before:
                    pause_s, new_at_s = self._cfg.backoff_s, time.monotonic()
                if time.monotonic() - new_at_s >= self._cfg.give_up_after_s:
                    raise
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, self._cfg.max_backoff_s)

    def _stream(self) -> None:
        """Put new frames into the mailbox until stopped.

        Raises:
            CameraError: The camera has gone, or delivers nothing new.
        """
        detector = self._detector
        detector.begin(time.monotonic())
        while not self._stopping.is_set():
            frame = self._grabber.grab(self._cfg.lost_after_s)
            if detector.is_new(frame):
                self._mailbox.put(frame)
                self._state, self._error = CameraState.STREAMING, ""
                if self._on_frame is not None:
                    self._on_frame(frame)
                continue
            self._repeated += 1
            if detector.frozen_for_s(time.monotonic()) > self._cfg.lost_after_s:
                raise CameraError(
                    f"camera '{self.camera}' is frozen: it has delivered frame "
                    f"{frame.frame_number} again and again for {self._cfg.lost_after_s} s."
                )

    def _lose(self, error: CameraError) -> None:
        """Serve nothing from now on, and release the camera."""
        self._mailbox.clear()
        self._state, self._error = CameraState.LOST, str(error)
        self._losses += 1
        self._grabber.close()
        _logger.warning("%s Opening it again.", error)
