"""What `robot-rl calibrate` can be told: one class of options a step."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from calibration.board import BoardCfg
from calibration.closed_form import Mount
from calibration.hand_eye import HandEyeCfg
from calibration.intrinsics import IntrinsicsCfg
from calibration.joints import JointsCfg
from calibration.latency import LatencyCfg
from calibration.sheet import Paper

__all__ = [
    "Board",
    "CalibrateVerb",
    "HandEye",
    "Intrinsics",
    "Joints",
    "Latency",
    "Record",
    "Report",
    "Twin",
]

DEFAULT_RIG = Path("calibration/rigs/default")


@dataclass(frozen=True, kw_only=True)
class Board:
    """Write a board to print, as PDF or PNG, at true scale."""

    out: Positional[Path]
    """board.pdf or board.png."""
    board: BoardCfg = field(default_factory=BoardCfg)
    """Squares and markers."""
    paper: Paper = "a4"
    """Of the PDF."""
    dpi: int = 600
    """Of the PNG."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Record a session of the twin: still views, a swing, a leader; with the faults of a robot."""

    out: Positional[Path]
    """The session's folder."""
    mount: Mount = "hand"
    """Camera on the hand, or in the world with the board on the hand."""
    views: int = 20
    """Of the arm standing still."""
    swing_s: float = 6.0
    """How long the arm swings, for the delay."""
    seed: int = 0
    """Draws rig, faults and noise."""
    joint_offset_deg: float = 0.3
    """Standard deviation of the joints' constant offsets."""
    joint_noise_deg: float = 0.01
    """Standard deviation of each joint from view to view."""
    delay_s: float = 0.03
    """How much later images are stamped than joints."""
    blur_px: float = 0.6
    """Of the images."""
    noise: float = 2.0
    """Standard deviation of a pixel, of 255."""
    images: bool = True
    """Render images; else corners are projected, which is faster."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record a session on the ROS graph, told view by view what to show the camera."""

    out: Positional[Path]
    """The session's folder."""
    camera: str
    """Its name, as in <camera>/color/image_raw, or a whole topic."""
    name: str = ""
    """What it is called in session and rig (default: the camera's name); a topic needs one."""
    mount: Mount = "hand"
    """Camera on the hand, or in the world with the board on the hand."""
    robot: str = "twin"
    """Robot file, or the name of one that comes along, such as fr3."""
    arm: str = ""
    """Which arm (default: the first)."""
    namespace: str = "/robot"
    """Of driver and cameras."""
    serial: str = ""
    """Of the camera, so that cameras are not mixed up later."""
    board: BoardCfg = field(default_factory=BoardCfg)
    """As printed and measured."""
    views: int = 20
    """Of the arm standing still."""
    swing_s: float = 8.0
    """How long the arm swings at the end; 0 leaves the delay out."""


@dataclass(frozen=True, kw_only=True)
class _OfCamera:
    """What every step about one camera is told."""

    session: Positional[Path]
    """A folder of recorded views."""
    camera: str = ""
    """Which camera (default: the only one)."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""


@dataclass(frozen=True, kw_only=True)
class Intrinsics(_OfCamera):
    """Focal length, centre and distortion of a camera."""

    needs: IntrinsicsCfg = field(default_factory=IntrinsicsCfg)
    """What counts as enough."""


@dataclass(frozen=True, kw_only=True)
class HandEye(_OfCamera):
    """Where a camera is on the arm or beside it, and the arm's joint offsets."""

    needs: HandEyeCfg = field(default_factory=HandEyeCfg)
    """What counts as enough."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How much later images are stamped than joints."""

    session: Positional[Path]
    """A folder with views and joints of the arm in motion."""
    camera: str = ""
    """Which camera (default: the only one)."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""
    needs: LatencyCfg = field(default_factory=LatencyCfg)
    """What counts as enough."""


@dataclass(frozen=True, kw_only=True)
class Joints:
    """Sign and offset between the joints of a leader arm and its follower."""

    session: Positional[Path]
    """A folder with poses that both have held."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""
    needs: JointsCfg = field(default_factory=JointsCfg)
    """What counts as enough."""


@dataclass(frozen=True, kw_only=True)
class Report(_OfCamera):
    """Make the page of one camera: how good, why, and where to trust it."""

    out: Path | None = None
    """Where to write the page (default: calibration-<camera>.html in the session)."""
    needs: HandEyeCfg = field(default_factory=HandEyeCfg)
    """As for hand-eye, which is computed anew to draw it."""


CalibrateVerb = (
    Annotated[Board, tyro.conf.subcommand("board")]
    | Annotated[Twin, tyro.conf.subcommand("twin")]
    | Annotated[Record, tyro.conf.subcommand("record")]
    | Annotated[Intrinsics, tyro.conf.subcommand("intrinsics")]
    | Annotated[HandEye, tyro.conf.subcommand("hand-eye")]
    | Annotated[Joints, tyro.conf.subcommand("joints")]
    | Annotated[Latency, tyro.conf.subcommand("latency")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)
