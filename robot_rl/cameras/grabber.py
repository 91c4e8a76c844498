"""The seam between a camera and the thread that grabs its frames.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

from typing import Protocol

from robot_rl.cameras.cfg import CameraCfg, RealSenseCfg
from robot_rl.cameras.frame import Frame, Intrinsics

__all__ = ["FrameGrabber", "make_grabber"]


class FrameGrabber(Protocol):
    """A camera that one thread opens, grabs from and closes. Constructors do no I/O."""

    @property
    def camera(self) -> str:
        """Its name."""
        ...

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Of the colour image, known once open; None if the camera does not know them."""
        ...

    @property
    def link(self) -> str:
        """How the camera is reached, such as "USB 3.2"; known once open."""
        ...

    @property
    def incomplete(self) -> int:
        """Frame sets dropped so far because a part was missing."""
        ...

    def open(self) -> None:
        """Open the camera, or open it again.

        Raises:
            CameraError: It cannot be opened now; trying again may help.
            ConfigError: It can never be opened as it is configured.
        """
        ...

    def grab(self, timeout_s: float) -> Frame:
        """Wait for the next frame; its pixels are a copy of its own.

        Raises:
            CameraError: The camera has gone, or nothing came in time.
        """
        ...

    def close(self) -> None:
        """Release the camera; harmless when it is not open."""
        ...


def make_grabber(cfg: CameraCfg) -> FrameGrabber:
    """The grabber that belongs to a configuration; loads the library that it needs."""
    if isinstance(cfg, RealSenseCfg):
        from robot_rl.cameras.realsense import RealSenseGrabber

        return RealSenseGrabber(cfg)
    from robot_rl.cameras.uvc import UvcGrabber

    return UvcGrabber(cfg)
