"""The page of one calibrated camera: how good it is, what limits it, and a look at the proof."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.closed_form import arm_transform
from calibration.detect import board_pose
from calibration.hand_eye import HandEyeCfg
from calibration.intrinsics import COVERAGE_GRID, coverage
from calibration.session import Session, View
from calibration.store import Result, Rig
from robot_rl.apps.calibrate.steps import (
    HandEyeStep,
    arm_of,
    errors_to_truth,
    hand_eye_step,
    kinematics,
)
from robot_rl.apps.page import card, legend, pairs, table, tile, write_page
from robot_rl.apps.svg import Curve, plot
from robot_rl.geometry import transform_inverse
from robot_rl.types import F64, I64, U8, ArmSpec

__all__ = ["write_calibration_page"]

_GOOD_M, _GOOD_RAD = 1e-3, np.deg2rad(0.1)  # what a grasp of some millimetres' play can stand
_ARROWS = 60.0  # magnification of residuals
_PLOT = (720, 240)
_GREEN, _ORANGE, _BLUE = (40, 190, 90), (240, 130, 30), (40, 120, 255)
_FINGER_M = 0.045


def write_calibration_page(
    path: Path, session: Session, camera: str, rig: Rig, cfg: HandEyeCfg
) -> Path:
    """Write the page of one camera; hand-eye is computed anew from the session.

    Raises:
        DataError: The session does not carry a hand-eye calibration; says why.
    """
    step = hand_eye_step(session, camera, rig, cfg)
    intrinsics, latency = rig.get("intrinsics", camera), rig.find("latency", camera)
    body = "".join(
        [
            _header(session, camera, rig),
            f'<div class="note">{html.escape(step.found.diagnosis)}</div>',
            _tiles(step, intrinsics, latency),
            _overlays(session, step),
            _views(step),
            _coverage(step, session.cfg.board),
            _joints(session, step),
            _delay(latency),
            _truth(session, [step.result, intrinsics, latency]),
            _provenance(session, rig, camera, step.result),
            "<footer>Made by robot-rl calibrate report.</footer>",
        ]
    )
    return write_page(path, f"calibration of {camera}", body)


def _header(session: Session, camera: str, rig: Rig) -> str:
    mount = session.entry(camera).mount
    words = "on the hand" if mount == "hand" else "beside the arm, the board on the hand"
    return (
        f"<header><h1>Camera {html.escape(camera)}</h1>"
        f'<div class="soft">{words} · rig {html.escape(str(rig.path))} · '
        f"{html.escape(session.cfg.board.describe())}</div></header>"
    )


def _tiles(step: HandEyeStep, intrinsics: Result, latency: Result | None) -> str:
    """The figures that matter, the held-out ones first."""
    found, focal = step.found, intrinsics.residuals

    def mood(value: float, limit: float) -> str:
        return "good" if value <= limit else "bad"

    centre_px = max(found.lens_std[2:4]) or max(focal["std_px"][2:])
    centre_deg = np.rad2deg(centre_px / found.camera.fx_px)
    tiles = [
        tile(
            f"{1e3 * found.held_out_m:.2f} mm",
            "held-out error of the board's place",
            mood(found.held_out_m, _GOOD_M),
        ),
        tile(
            f"{np.rad2deg(found.held_out_rad):.3f}°",
            "held-out error of the board's turn",
            mood(found.held_out_rad, _GOOD_RAD),
        ),
        tile(f"{found.floor_px:.2f} px", "pixels alone: each view with a pose of its own"),
        tile(f"{found.nominal_px:.2f} px", "whole chain with the encoders' zeros"),
        tile(f"{found.offset_px:.2f} px", "whole chain with joint offsets"),
        tile(f"{focal['held_out_px']:.2f} px", "intrinsics on held-out views"),
        tile(f"± {centre_deg:.3f}°", "turn that the image centre leaves open"),
        tile(f"{100 * (found.scale - 1):+.2f} %", "size of the board, measured by the arm"),
    ]
    if latency is not None:
        words = f"delay of the images, ± {1e3 * latency.residuals['std_s']:.2f} ms"
        tiles.append(tile(f"{1e3 * latency.values['delay_s']:.1f} ms", words))
    return f'<section class="card tiles">{"".join(tiles)}</section>'


def _views(step: HandEyeStep) -> str:
    """RMS of each view, without the arm and with it."""
    found = step.found
    tips = [step.views[i].name for i in found.used]
    x = [float(i) for i in range(1, len(found.used) + 1)]
    curves = [
        Curve(x=x, y=found.view_floor_px, color="c2", has_dots=True, tips=tips),
        Curve(x=x, y=found.view_px, color="c1", has_dots=True, tips=tips),
    ]
    dropped = [step.views[i].name for i in found.dropped]
    left_out = f"<p>Left out: {html.escape(', '.join(dropped))}.</p>" if dropped else ""
    return card(
        "Residuals of each view [px]",
        legend({"pixels alone": "c2", "predicted by the joints": "c1"})
        + plot(curves, title="RMS of each view in pixels", x_label="view", size=_PLOT)
        + left_out,
        "A single high view was bumped or blurred; a high green line is pixels or intrinsics; a "
        "gap between the lines is the arm.",
    )


def _coverage(step: HandEyeStep, board: BoardCfg) -> str:
    """Where corners were seen, and how far off they were."""
    used, camera = [step.corners[i] for i in step.found.used], step.found.camera
    cells = coverage(used, camera.width_px, camera.height_px)
    residuals = [(view.corners_px, board_pose(camera, view, board)[1]) for view in used]
    return card(
        "Coverage, and residuals where they were",
        f'<div class="grid">{_heat(cells, camera)}{_arrows(residuals, camera)}</div>',
        f"Left: corners seen in each part of the image. Right: residuals of each view's own pose, "
        f"{_ARROWS:g} times enlarged; arrows that agree with their neighbours are a lens that the "
        "intrinsics do not describe.",
    )


def _heat(cells: I64, camera: CameraModel) -> str:
    rows, columns = COVERAGE_GRID
    w, h, most = camera.width_px / columns, camera.height_px / rows, max(int(cells.max()), 1)
    parts = []
    for (i, j), count in np.ndenumerate(cells):
        paint = f'fill="var(--c1)" opacity="{0.08 + 0.8 * count / most:.2f}"'
        if not count:
            paint = 'fill="var(--c5)" opacity="0.25"'
        parts.append(
            f'<rect x="{j * w:.0f}" y="{i * h:.0f}" width="{w - 4:.0f}" height="{h - 4:.0f}" '
            f'{paint}/><text x="{(j + 0.5) * w:.0f}" y="{(i + 0.5) * h + 6:.0f}" '
            f'text-anchor="middle" style="font-size:20px">{count}</text>'
        )
    return _picture(camera, "corners seen in each part of the image", "".join(parts))


def _arrows(residuals: Sequence[tuple[F64, F64]], camera: CameraModel) -> str:
    lines = "".join(
        f"M{x:.0f} {y:.0f}l{_ARROWS * dx:.0f} {_ARROWS * dy:.0f}"
        for pixels, gaps in residuals
        for (x, y), (dx, dy) in zip(pixels, gaps, strict=True)
    )
    path = f'<path d="{lines}" stroke="var(--c3)" stroke-width="1.5" fill="none"/>'
    return _picture(camera, "residuals of the corners", path)


def _picture(camera: CameraModel, words: str, body: str) -> str:
    """An SVG in the pixels of the camera."""
    return (
        f'<svg viewBox="0 0 {camera.width_px} {camera.height_px}" role="img" '
        f'aria-label="{words}"><rect width="{camera.width_px}" height="{camera.height_px}" '
        f'fill="none" stroke="var(--line)" stroke-width="2"/>{body}</svg>'
    )


def _joints(session: Session, step: HandEyeStep) -> str:
    """Offset, deviation and scatter of each joint."""
    found = step.found
    scatter = np.sqrt((found.slack_rad**2).mean(0))
    rows = [
        [
            html.escape(name),
            f"{np.rad2deg(offset):+.3f}" if told else "in the camera's pose",
            f"{np.rad2deg(std):.3f}" if told else "–",
            f"{np.rad2deg(spread):.3f}",
        ]
        for name, offset, std, told, spread in zip(
            session.cfg.joint_names,
            found.offset_rad,
            found.offset_std_rad,
            found.observable,
            scatter,
            strict=True,
        )
    ]
    return card(
        "Joints [degrees]",
        table(["joint", "offset", "±", "scatter from view to view"], rows),
        "Offsets are added to what the encoders say. Those of the first and the last joint no "
        "view tells from the pose of camera or board, and it takes them up without harm.",
    )


def _delay(latency: Result | None) -> str:
    """Delay of each image on its own."""
    if latency is None:
        return ""
    each = 1e3 * np.array(latency.residuals["view_delay_s"])
    middle = 1e3 * float(latency.values["delay_s"])
    near = np.clip(each, middle - 20, middle + 20)  # an image of a still moment tells nothing
    curve = Curve(x=[float(i) for i in range(1, len(near) + 1)], y=near, has_dots=True)
    return card(
        "Delay of each image [ms]",
        plot([curve], title="delay of each image", x_label="image", size=_PLOT),
        f"Together {middle:.2f} ms; even and odd images differ by "
        f"{1e3 * latency.residuals['halves_s']:+.2f} ms. Images taken while the arm turned back "
        "scatter, for nothing moved in them.",
    )


def _truth(session: Session, results: Sequence[Result | None]) -> str:
    """Errors against what the twin knows."""
    errors = {
        name: f"{value:+.4f}"
        for result in results
        if result is not None
        for name, value in errors_to_truth(session, result).items()
    }
    return card("Against the twin's truth", pairs(errors)) if errors else ""


def _provenance(session: Session, rig: Rig, camera: str, fresh: Result) -> str:
    """What is in force, and from when."""
    facts = {
        f"{kind} {name}": f"{result.date}, hash {result.hash}, source {result.revision}"
        for (kind, name), result in rig.results.items()
        if name == camera
    }
    facts |= {"rig": rig.hash or "empty", "session": session.path, "drawn from": fresh.date}
    return card("Where this comes from", pairs(facts))


def _overlays(session: Session, step: HandEyeStep) -> str:
    """The best, a middling and the worst view, with what the joints say drawn over them."""
    order = step.found.used[np.argsort(step.found.view_px)]
    chosen = {"best": order[0], "middling": order[len(order) // 2], "worst": order[-1]}
    arm, figures = arm_of(session), []
    for name, place in chosen.items():
        view = step.views[place]
        if not view.image:
            return ""  # a session of corners has nothing to draw over
        image = _drawn(session, view, int(place), step, arm)
        figures.append(
            f'<figure style="margin:0"><img alt="{name} view" style="width:100%" '
            f'src="data:image/jpeg;base64,{_jpeg(image)}">'
            f"<figcaption>{name}: {html.escape(view.name)}</figcaption></figure>"
        )
    return card(
        "Look for yourself",
        f'<div class="grid">{"".join(figures)}</div>',
        "Green: corners that were seen. Orange: where the joints say they are. Blue: the open "
        "gripper and the axes of the tool, where this calibration puts them; if they do not lie "
        "on the gripper, do not use it.",
    )


def _drawn(session: Session, view: View, place: int, step: HandEyeStep, arm: ArmSpec) -> U8:
    """The image of a view with corners, prediction and gripper."""
    assert view.q_rad is not None
    found, board, image = step.found, session.cfg.board, session.image(view)
    T = kinematics(arm)(view.q_rad + found.offset_rad)
    C = transform_inverse(found.X) @ arm_transform(found.mount, T) @ found.Z
    corners = step.corners[place]
    predicted = step.found.camera.project(corners.points_m(board) @ C[:3, :3].T + C[:3, 3])
    for seen, said in zip(corners.corners_px, predicted, strict=True):
        cv2.circle(image, _point(seen), 16 * 5, _GREEN, 1, cv2.LINE_AA, 4)
        cv2.drawMarker(image, _whole(said), _ORANGE, cv2.MARKER_CROSS, 7, 1, cv2.LINE_AA)
    inverse = transform_inverse(found.X)
    T_cam_tcp = inverse if found.mount == "hand" else inverse @ T
    for line in _gripper(arm):
        points = line @ T_cam_tcp[:3, :3].T + T_cam_tcp[:3, 3]
        if (points[:, 2] > 0.02).all():
            a, b = step.found.camera.project(points)
            cv2.line(image, _point(a), _point(b), _BLUE, 2, cv2.LINE_AA, 4)
    return image


def _gripper(arm: ArmSpec) -> list[F64]:
    """Lines (2, 3) [m] in the frame of the tool: open fingers, palm, and the tool's axes."""
    half = 0.5 * arm.gripper.max_width_m if arm.gripper else 0.0
    palm = [np.array([[0, -half, -_FINGER_M], [0, half, -_FINGER_M]])]
    fingers = [np.array([[0, s * half, -_FINGER_M], [0, s * half, 0.0]]) for s in (-1, 1)]
    axes = [np.array([[0.0, 0, 0], 0.02 * axis]) for axis in np.eye(3)]
    return [*palm, *fingers, *axes]


def _whole(pixel: F64) -> tuple[int, int]:
    return round(float(pixel[0])), round(float(pixel[1]))


def _point(pixel: F64) -> tuple[int, int]:
    """A pixel in sixteenths, kept within what OpenCV can count."""
    u, v = np.clip(pixel, -4000.0, 4000.0)
    return round(16 * float(u)), round(16 * float(v))


def _jpeg(image: U8) -> str:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return base64.b64encode(data.tobytes()).decode()
