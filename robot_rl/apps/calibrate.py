"""`robot-rl calibrate <step>`: board, intrinsics, hand-eye, joints, latency, and their report.

Every step reads a session, a folder of recorded views (see `calibration.session`), and the rig
so far, and adds a version to the rig. `record` makes a session on the robot, view by view; `twin`
makes one of the twin, whose truth is known.

    robot-rl calibrate board board.pdf
    robot-rl calibrate record data/session --robot fr3 --camera wrist --mount hand
    robot-rl calibrate intrinsics data/session --rig calibration/rigs/mine
    robot-rl calibrate hand-eye data/session --rig calibration/rigs/mine
    robot-rl calibrate latency data/session --rig calibration/rigs/mine
    robot-rl calibrate report data/session --rig calibration/rigs/mine
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import Positional

from calibration.board import BoardCfg
from calibration.closed_form import Mount
from calibration.hand_eye import HandEyeCfg
from calibration.intrinsics import IntrinsicsCfg
from calibration.joints import JointsCfg
from calibration.latency import LatencyCfg
from calibration.session import Session
from calibration.sheet import Paper, write_sheet
from calibration.store import Result, Rig, save_result
from robot_rl.apps.calibrate_steps import (
    errors_to_truth,
    hand_eye_step,
    intrinsics_step,
    joints_step,
    latency_step,
    transform_key,
)
from robot_rl.apps.data_tables import Output
from robot_rl.errors import DataError, RobotRLError
from robot_rl.geometry import pose_from_matrix

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
    "main",
    "run",
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
class Intrinsics:
    """Focal length, centre and distortion of a camera."""

    session: Positional[Path]
    """A folder of recorded views."""
    camera: str = ""
    """Which camera (default: the only one)."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""
    needs: IntrinsicsCfg = field(default_factory=IntrinsicsCfg)
    """What counts as enough."""


@dataclass(frozen=True, kw_only=True)
class HandEye:
    """Where a camera is on the arm or beside it, and the arm's joint offsets."""

    session: Positional[Path]
    """A folder of recorded views."""
    camera: str = ""
    """Which camera (default: the only one)."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""
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
class Report:
    """Make the page of one camera: how good, why, and where to trust it."""

    session: Positional[Path]
    """A folder of recorded views."""
    camera: str = ""
    """Which camera (default: the only one)."""
    rig: Path = DEFAULT_RIG
    """Where results are kept."""
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


def _camera(session: Session, name: str) -> str:
    """The camera that is meant."""
    if name:
        session.entry(name)
        return name
    names = list(session.cfg.cameras)
    if len(names) != 1:
        raise DataError(
            f"{session.path} holds the cameras {', '.join(names)}. Choose one with --camera."
        )
    return names[0]


def _rig(path: Path) -> Rig:
    """The rig so far; an empty one if there is none yet."""
    return Rig.load(path) if path.is_dir() else Rig(path=path, results={})


def _keep(rig: Path, result: Result, session: Session, out: Output) -> None:
    """Save a result and say where, and how far it is from the truth where that is known."""
    path = save_result(rig, result)
    for name, error in errors_to_truth(session, result).items():
        out.line(f"  against the twin's truth: {name} {error:+.4f}")
    out.line(f"saved {path}, hash {result.hash}; the rig is now {Rig.load(rig).hash}")


def _board(args: Board, out: Output) -> int:
    path = write_sheet(args.out, args.board, args.paper, args.dpi)
    out.line(
        f"{path}: {args.board.describe()}. Print it at 100 %, glue it to something flat, and "
        "measure ten squares: their size goes into the session."
    )
    return 0


def _twin(args: Twin, out: Output) -> int:
    from sim.calibration_scene import Lens, film_session
    from sim.calibration_world import Faults, draw_world

    faults = Faults(
        joint_offset_deg=args.joint_offset_deg,
        joint_noise_deg=args.joint_noise_deg,
        delay_s=args.delay_s,
    )
    camera = "wrist" if args.mount == "hand" else "front"
    film_session(
        draw_world(args.mount, args.seed, faults=faults),
        args.out,
        camera=camera,
        views=args.views,
        seed=args.seed,
        lens=Lens(blur_px=args.blur_px, noise=args.noise),
        images=args.images,
        swing_s=args.swing_s,
    )
    out.line(
        f"{args.out}: a session of the twin's camera '{camera}'. Next: robot-rl calibrate "
        f"intrinsics {args.out}"
    )
    return 0


def _record(args: Record, out: Output) -> int:
    from calibration.guide import Guide, GuideCfg
    from robot_rl.apps.calibrate_live import CameraAndArm, follow
    from robot_rl.apps.ros import find_robot
    from robot_rl.control.robot_file import load_robot

    file = load_robot(find_robot(args.robot))
    arms = {arm.name: arm for arm in file.spec.arms}
    arm = args.arm or next(iter(arms))
    with CameraAndArm(file, arm, args.camera, args.namespace) as source:
        cfg = GuideCfg(
            camera=args.name or args.camera,
            mount=args.mount,
            joint_names=arms[arm].joint_names,
            board=args.board,
            robot=str(file.path),
            arm=arm,
            serial=args.serial,
            views=args.views,
            swing_s=args.swing_s,
        )
        follow(source, Guide(args.out, cfg), out.line)
    out.line(f"{args.out} is recorded. Next: robot-rl calibrate intrinsics {args.out}")
    return 0


def _intrinsics(args: Intrinsics, out: Output) -> int:
    session = Session.open(args.session)
    step = intrinsics_step(session, _camera(session, args.camera), args.needs)
    camera, found = step.found.camera, step.found
    std = found.std_px
    out.line(
        f"{step.result.name}: fx {camera.fx_px:.2f} ± {std[0]:.2f}, fy {camera.fy_px:.2f} ± "
        f"{std[1]:.2f}, cx {camera.cx_px:.2f} ± {std[2]:.2f}, cy {camera.cy_px:.2f} ± "
        f"{std[3]:.2f} px; RMS {found.rms_px:.3f} px, on held-out views {found.held_out_px:.3f} "
        f"px; {len(found.used)} views, {len(found.dropped)} dropped, "
        f"{(found.coverage > 0).mean():.0%} of the image covered"
    )
    _keep(args.rig, step.result, session, out)
    return 0


def _hand_eye(args: HandEye, out: Output) -> int:
    session, rig = Session.open(args.session), _rig(args.rig)
    step = hand_eye_step(session, _camera(session, args.camera), rig, args.needs)
    found = step.found
    pose = ", ".join(f"{x:.5f}" for x in pose_from_matrix(found.X))
    out.line(f"{step.result.name}: {transform_key(found.mount)} = [{pose}] (m, w x y z)")
    rows = [
        (name, f"{np.rad2deg(b):+.4f}", f"{np.rad2deg(s):.4f}" if told else "not told by views")
        for name, b, s, told in zip(
            session.cfg.joint_names,
            found.offset_rad,
            found.offset_std_rad,
            found.observable,
            strict=True,
        )
    ]
    out.table("Joint offsets, to be added to the encoders", ("joint", "deg", "±"), rows)
    out.line(
        f"{found.diagnosis} Held-out views are predicted to {1e3 * found.held_out_m:.2f} mm, "
        f"{np.rad2deg(found.held_out_rad):.3f} degrees, {found.held_out_px:.2f} px; "
        f"{len(found.used)} views, {len(found.dropped)} dropped."
    )
    _keep(args.rig, step.result, session, out)
    return 0


def _latency(args: Latency, out: Output) -> int:
    session, rig = Session.open(args.session), _rig(args.rig)
    result = latency_step(session, _camera(session, args.camera), rig, args.needs)
    r = result.residuals
    out.line(
        f"{result.name}: images are stamped {1e3 * result.values['delay_s']:.2f} ± "
        f"{1e3 * r['std_s']:.2f} ms after the joints they show; even and odd images differ by "
        f"{1e3 * r['halves_s']:+.2f} ms; corners fit to {r['with_px']:.2f} px, without the delay "
        f"to {r['without_px']:.2f} px"
    )
    _keep(args.rig, result, session, out)
    return 0


def _joints(args: Joints, out: Output) -> int:
    session = Session.open(args.session)
    result = joints_step(session, args.needs)
    rows = [
        (name, f"{sign:+d}", f"{offset:+.4f}", f"{turns:+d}", f"{scatter:.4f}")
        for name, sign, offset, turns, scatter in zip(
            session.cfg.joint_names,
            result.values["sign"],
            result.values["offset_rad"],
            result.values["quarter_turns"],
            result.residuals["scatter_rad"],
            strict=True,
        )
    ]
    out.table(
        "robot = sign * leader + offset",
        ("joint", "sign", "offset [rad]", "quarter turns", "scatter [rad]"),
        rows,
    )
    _keep(args.rig, result, session, out)
    return 0


def _report(args: Report, out: Output) -> int:
    from robot_rl.apps.calibrate_page import write_calibration_page

    session = Session.open(args.session)
    camera = _camera(session, args.camera)
    path = args.out or session.path / f"calibration-{camera}.html"
    write_calibration_page(path, session, camera, _rig(args.rig), args.needs)
    out.line(f"report: {path}")
    return 0


_VERBS: dict[type, Callable[..., int]] = {
    Board: _board,
    Twin: _twin,
    Record: _record,
    Intrinsics: _intrinsics,
    HandEye: _hand_eye,
    Joints: _joints,
    Latency: _latency,
    Report: _report,
}


def run(verb: CalibrateVerb) -> int:  # pyright: ignore[reportInvalidTypeForm]
    """Do what a parsed verb says.

    Raises:
        RobotRLError: It could not be done; the message says what to do next.
    """
    return _VERBS[type(verb)](verb, Output())


def main(args: Sequence[str] | None = None) -> int:
    """Parse `robot-rl calibrate` arguments, run the verb, and return the exit code."""
    verb = tyro.cli(CalibrateVerb, args=args, prog="robot-rl calibrate", description=__doc__)  # type: ignore[arg-type]
    try:
        return run(verb)
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
