"""Which cameras a workstation has, and how each is opened; from dataclasses or from YAML.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robot_rl.config import from_plain
from robot_rl.errors import ConfigError, UnknownNameError

__all__ = [
    "CameraCfg",
    "CaptureCfg",
    "RealSenseCfg",
    "UvcCfg",
    "cameras_from_plain",
    "load_cameras",
]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class CaptureCfg:
    """When a camera counts as lost, and how it is opened again."""

    lost_after_s: float = 1.0
    """Without a new frame for this long, its frames are served no more and it is opened again."""
    give_up_after_s: float = 30.0
    """Without a new frame for this long, the camera has failed for good."""
    backoff_s: float = 0.5
    """Pause before the first reopening; it doubles with each vain one."""
    max_backoff_s: float = 5.0
    """Longest pause."""

    def __post_init__(self) -> None:
        """Refuse times that contradict each other."""
        if not 0 < self.lost_after_s < self.give_up_after_s:
            raise ConfigError(
                f"capture: lost_after_s is {self.lost_after_s}, but must be positive and below "
                f"give_up_after_s, which is {self.give_up_after_s}."
            )
        if not 0 < self.backoff_s <= self.max_backoff_s:
            raise ConfigError(
                f"capture: backoff_s is {self.backoff_s}, but must be positive and at most "
                f"max_backoff_s, which is {self.max_backoff_s}."
            )


@dataclass(frozen=True, kw_only=True)
class RealSenseCfg:
    """A RealSense camera, opened through librealsense."""

    kind: Literal["realsense"] = "realsense"
    """Names this class in YAML."""
    name: str
    """Prefix of the topics and key of the images."""
    serial: str = ""
    """Printed on the camera, and listed by `robot-rl doctor`; a recording needs none."""
    width_px: int = 640
    """Of colour and depth."""
    height_px: int = 480
    """Of colour and depth."""
    rate_hz: int = 30
    """Of colour and depth."""
    use_depth: bool = True
    """Whether depth is taken too, aligned to colour; sets without it are then dropped."""
    lock_exposure: bool = True
    """Whether exposure and white balance stay as they are after the warm-up."""
    warmup_frames: int = 30
    """Frames that automatic exposure gets to settle."""
    allow_usb2: bool = False
    """Whether a camera on a USB 2 link is taken; it delivers fewer modes, and drops frames."""
    open_attempts: int = 3
    """How often it is started before opening fails; before the last, its hardware is reset."""
    device_file: Path | None = None
    """A recording (.db3) to play instead of the camera, at its own rate."""
    capture: CaptureCfg = field(default_factory=CaptureCfg)
    """When it counts as lost."""

    def __post_init__(self) -> None:
        """Refuse what cannot be opened."""
        _check_shape(self.name, self.width_px, self.height_px, self.rate_hz)
        if not self.serial and self.device_file is None:
            raise ConfigError(
                f"camera '{self.name}': serial is empty. Give the number on the camera, in quotes."
            )
        if self.open_attempts < 1 or self.warmup_frames < 0:
            raise ConfigError(
                f"camera '{self.name}': open_attempts is {self.open_attempts} and must be at "
                f"least 1; warmup_frames is {self.warmup_frames} and must not be negative."
            )


@dataclass(frozen=True, kw_only=True)
class UvcCfg:
    """A webcam or capture card, or a video file in its place, opened through OpenCV."""

    kind: Literal["uvc"] = "uvc"
    """Names this class in YAML."""
    name: str
    """Prefix of the topics and key of the images."""
    source: int | str
    """Index, or a path: /dev/v4l/by-id/... stays the same when cables are moved. A path to a
    video file plays that, at its own rate."""
    width_px: int = 640
    """Of the image that is asked for; another one is refused."""
    height_px: int = 480
    """Of the image that is asked for; another one is refused."""
    rate_hz: int = 30
    """Asked for; what comes is in the diagnostics."""
    fourcc: str = "MJPG"
    """Pixel format on the wire; uncompressed ones do not fit two cameras on one USB 2 bus."""
    backend: Literal["any", "v4l2", "gstreamer", "ffmpeg"] = "any"
    """OpenCV's way to the device."""
    capture: CaptureCfg = field(default_factory=CaptureCfg)
    """When it counts as lost."""

    def __post_init__(self) -> None:
        """Refuse what cannot be opened."""
        _check_shape(self.name, self.width_px, self.height_px, self.rate_hz)
        if len(self.fourcc) != 4:
            raise ConfigError(
                f"camera '{self.name}': fourcc is {self.fourcc!r}, but must be four characters, "
                "such as MJPG or YUYV."
            )


CameraCfg = RealSenseCfg | UvcCfg

_KINDS: dict[str, type[RealSenseCfg] | type[UvcCfg]] = {"realsense": RealSenseCfg, "uvc": UvcCfg}


def _check_shape(name: str, width_px: int, height_px: int, rate_hz: int) -> None:
    """Refuse a name that ROS would refuse, and an image without pixels."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"camera name is {name!r}, but must be lower-case letters, digits and underscores, "
            "beginning with a letter: it becomes a topic."
        )
    if min(width_px, height_px, rate_hz) < 1:
        raise ConfigError(
            f"camera '{name}': {width_px} x {height_px} px at {rate_hz} Hz, but all three must "
            "be at least 1."
        )


def cameras_from_plain(entries: Sequence[Mapping[str, Any]]) -> tuple[CameraCfg, ...]:
    """Build the cameras that a list of dicts describes; `kind` chooses the class.

    Raises:
        ConfigError: An entry is wrong, or two share a name; says which.
        UnknownNameError: An entry is of no known kind.
    """
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise ConfigError(f"cameras is {entries!r}, but must be a list of cameras.")
    cameras = []
    for place, entry in enumerate(entries):
        where = f"cameras[{place}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where} is {entry!r}, but must be a dict of fields.")
        kind = str(entry.get("kind", ""))
        if kind not in _KINDS:
            raise UnknownNameError(f"kind of camera in {where}", kind, _KINDS)
        cameras.append(from_plain(_KINDS[kind], entry, where))
    names = [camera.name for camera in cameras]
    if len(set(names)) < len(names):
        raise ConfigError(f"cameras are named {names}, but each name may stand once.")
    return tuple(cameras)


def load_cameras(path: Path) -> tuple[CameraCfg, ...]:
    """Read the list `cameras` of a YAML file; other keys belong to others.

    Raises:
        ConfigError: The file is missing, is no YAML, has no cameras or wrong ones.
    """
    import yaml  # only who reads files needs it

    try:
        data = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read cameras from {path}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no valid YAML: {error}.") from error
    if not isinstance(data, Mapping) or "cameras" not in data:
        raise ConfigError(f"{path} has no list 'cameras'. Add one, with a 'kind' in each entry.")
    return cameras_from_plain(data["cameras"])
