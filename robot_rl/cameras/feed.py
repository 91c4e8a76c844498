"""All cameras of a workstation, read inside the actor's process: nothing is serialised.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

Its images go into `RobotState.images`; their stamps are in the time of `clock`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from robot_rl.cameras.capture import CameraHealth, CameraState, Capture
from robot_rl.cameras.cfg import CameraCfg, load_cameras
from robot_rl.cameras.fit import fit_image
from robot_rl.cameras.frame import CameraError, Frame
from robot_rl.cameras.grabber import make_grabber
from robot_rl.cameras.mailbox import Mailbox
from robot_rl.clock import Clock, WallClock
from robot_rl.errors import UnknownNameError
from robot_rl.types import CameraSpec, Image

__all__ = ["CameraFeed"]


class CameraFeed:
    """The newest image of each camera, by name.

    Args:
        cameras: What to open.
        specs: Sizes in which the robot's images are wanted, by camera name; other cameras give
            the size they are opened with.

    Raises:
        UnknownNameError: A spec names no camera.
    """

    def __init__(self, cameras: Sequence[CameraCfg], specs: Sequence[CameraSpec] = ()) -> None:
        self._cfgs = {cfg.name: cfg for cfg in cameras}
        self._captures = {cfg.name: Capture(make_grabber(cfg), cfg.capture) for cfg in cameras}
        self._sizes_px = {cfg.name: (cfg.width_px, cfg.height_px) for cfg in cameras}
        for spec in specs:
            if spec.name not in self._cfgs:
                raise UnknownNameError("camera", spec.name, self._cfgs)
            self._sizes_px[spec.name] = (spec.width_px, spec.height_px)
        self._clock = WallClock()
        self._fitted: dict[str, tuple[Frame, Image]] = {}

    @classmethod
    def from_yaml(cls, path: Path, specs: Sequence[CameraSpec] = ()) -> "CameraFeed":
        """The cameras of a robot's file, see `load_cameras`."""
        return cls(load_cameras(path), specs)

    @property
    def clock(self) -> Clock:
        """The time of all stamps: the host's monotonic clock."""
        return self._clock

    def open(self, timeout_s: float = 30.0) -> None:
        """Start all cameras and wait until each has delivered. Calling it twice is harmless.

        Raises:
            CameraError: A camera has failed, or has delivered nothing in time; all are closed.
        """
        for capture in self._captures.values():
            capture.start()
        deadline_s = time.monotonic() + timeout_s
        for capture in self._captures.values():
            try:
                self._wait_for_first(capture, deadline_s)
            except CameraError:
                self.close()
                raise

    @staticmethod
    def _wait_for_first(capture: Capture, deadline_s: float) -> None:
        """Return when the camera streams."""
        while capture.mailbox.wait_for_other(None, timeout_s=0.05) is None:
            health = capture.health()
            if health.state is CameraState.FAILED or time.monotonic() > deadline_s:
                raise CameraError(
                    f"camera '{health.camera}' delivers no image ({health.state}). "
                    f"{health.error or 'Give it more time, or look at its cable.'}"
                )

    def images(self) -> dict[str, Image]:
        """The newest image of each camera, with the stamp and number it was taken with.

        Whoever needs fresh ones compares the stamps with `clock`.

        Raises:
            CameraError: A camera is lost: it has delivered nothing new for `lost_after_s`.
        """
        now_s = self._clock.now()
        return {name: self._image(name, now_s) for name in self._captures}

    def _image(self, name: str, now_s: float) -> Image:
        """The newest image at the wanted size; fitted once a frame, not once a read."""
        frame = self._captures[name].mailbox.newest()
        limit_s = self._cfgs[name].capture.lost_after_s
        if frame is None or frame.age_s(now_s) > limit_s:
            health = self._captures[name].health()
            raise CameraError(
                f"camera '{name}' is {health.state}: no image of the last {limit_s} s. "
                f"{health.error or 'Look at its cable and its rate.'}"
            )
        known = self._fitted.get(name)
        if known is None or known[0] is not frame:
            rgb = fit_image(frame.rgb, *self._sizes_px[name])
            image = Image(rgb=rgb, stamp_s=frame.stamp_s, frame_number=frame.frame_number)
            known = self._fitted[name] = (frame, image)
        return known[1]

    @property
    def mailboxes(self) -> dict[str, Mailbox]:
        """Where the newest whole frame of each camera is found, with its depth and all stamps."""
        return {name: capture.mailbox for name, capture in self._captures.items()}

    def health(self) -> dict[str, CameraHealth]:
        """How each camera does."""
        return {name: capture.health() for name, capture in self._captures.items()}

    def close(self) -> None:
        """Stop all cameras. Calling it twice is harmless."""
        for capture in self._captures.values():
            capture.stop()

    def __enter__(self) -> "CameraFeed":
        """Open."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
