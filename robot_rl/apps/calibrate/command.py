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
from pathlib import Path

import numpy as np
import tyro

from calibration.session import Session
from calibration.sheet import write_sheet
from calibration.store import Result, Rig, save_result
from robot_rl.apps.calibrate.steps import (
    errors_to_truth,
    hand_eye_step,
    intrinsics_step,
    joints_step,
    latency_step,
    transform_key,
)
from robot_rl.apps.calibrate.verbs import (
    Board,
    CalibrateVerb,
    HandEye,
    Intrinsics,
    Joints,
    Latency,
    Record,
    Report,
    Twin,
)
from robot_rl.apps.data_tables import Output
from robot_rl.errors import DataError, RobotRLError
from robot_rl.geometry import pose_from_matrix

__all__ = ["main", "run"]


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
    from robot_rl.apps.calibrate.live import CameraAndArm, follow
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
    std = found.std
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
    from robot_rl.apps.calibrate.page import write_calibration_page

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
