"""How well cameras, joints and delays are found on rigs whose truth is known.

    python tests/benchmarks/bench_calibration.py [--seeds 10] [--rendered 3]

Rigs of both mounts, 20 still views each and an 8 s swing at 30 images a second; corners are
projected with 0.05 px of noise, encoders have 0.01 degrees. Three columns are other ways to solve
the same views: the closed form alone, reprojection without joint slack and offsets, and the same
solver on views that were not chosen. The last table goes the whole way through rendered images
(blur 0.6 px, noise 2 of 255), detection and estimated intrinsics.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from calibration.chain import Chain, State
from calibration.closed_form import arm_transform, camera_error, solve
from calibration.detect import BoardView, board_pose, detect_board
from calibration.hand_eye import calibrate_hand_eye
from calibration.intrinsics import calibrate_intrinsics
from calibration.latency import calibrate_latency
from calibration.refinement import Noise, refine
from robot_rl.config import git_revision
from robot_rl.geometry import rotvec_from_matrix
from robot_rl.types import F64
from sim.calibration_scene import CalibrationScene
from sim.calibration_world import CalibrationWorld, Faults, draw_world, plan_views, wiggle

VIEWS = 20
CASES = {
    "perfect joints": Faults(joint_offset_deg=0.0, joint_noise_deg=0.0),
    "encoder noise 0.01 deg": Faults(joint_offset_deg=0.0),
    "offsets 0.3 deg": Faults(joint_noise_deg=0.0),
    "offsets 0.3 deg, noise 0.01 deg": Faults(),
}
TARGETS = {"position_mm": 0.15, "rotation_deg": 0.02, "offset_deg": 0.01, "delay_ms": 0.2}


def errors(world: CalibrationWorld, X: F64, offset: F64) -> dict[str, float]:
    E = camera_error(world.mount, world.forward, (X, offset), (world.X, world.offset_rad))
    return {
        "position_mm": 1e3 * float(np.linalg.norm(E[:3, 3])),
        "rotation_deg": float(np.rad2deg(np.linalg.norm(rotvec_from_matrix(E[:3, :3])))),
    }


def look(world: CalibrationWorld, q: F64, rng: np.random.Generator) -> tuple[F64, list[BoardView]]:
    seen = [(one, world.see(world.true_joints(one, rng), rng)) for one in q]
    kept = [(one, view) for one, view in seen if view is not None]
    return np.stack([one for one, _ in kept]), [view for _, view in kept]


def peers(world: CalibrationWorld, q: F64, views: list[BoardView]) -> dict[str, dict[str, float]]:
    """The closed form, and plain reprojection, on the same views."""
    B = np.stack([board_pose(world.camera, view, world.board)[0] for view in views])
    start = solve(arm_transform(world.mount, world.forward(q)), B)
    chain = Chain.build(world.camera, world.board, world.mount, world.forward, views, q)
    plain = refine(
        chain,
        State.start(start.X, start.Z, *q.shape),
        Noise(corner_px=0.05, joint_rad=0.0, offset_rad=0.0),
    )
    none = np.zeros(q.shape[1])
    return {
        "closed form": errors(world, start.X, none),
        "reprojection only": errors(world, plain.state.X, none),
    }


def hand_eye(mount: str, faults: Faults, seed: int) -> dict[str, dict[str, float]]:
    world, rng = draw_world(mount, seed, faults=faults), np.random.default_rng(1000 + seed)
    rows = {}
    for name, spare in (("ours", 24), ("ours, views not chosen", 1)):
        q, views = look(world, plan_views(world, VIEWS, seed, spare=spare), rng)
        begun = time.process_time()
        found = calibrate_hand_eye(world.camera, world.board, mount, world.forward, views, q)
        told = found.observable
        rows[name] = errors(world, found.X, found.offset_rad) | {
            "offset_deg": float(
                np.rad2deg(np.abs(found.offset_rad - world.offset_rad)[told]).mean()
            ),
            "held_out_mm": 1e3 * found.held_out_m,
            "cpu_s": time.process_time() - begun,
        }
        if name == "ours":
            rows |= peers(world, q, views)
    return rows


def delay(mount: str, seed: int) -> dict[str, float]:
    """The delay, with the hand-eye pose that calibration itself has found."""
    delay_s = (0.013, 0.047, 0.12)[seed % 3]
    world = draw_world(mount, seed, faults=Faults(delay_s=delay_s))
    rng = np.random.default_rng(2000 + seed)
    q, views = look(world, plan_views(world, VIEWS, seed), rng)
    found = calibrate_hand_eye(world.camera, world.board, mount, world.forward, views, q)
    joints_s, stamps = np.arange(0.0, 9.0, 0.01), np.arange(0.6, 8.6, 1 / 30)
    read = wiggle(world, joints_s, seed)
    read = read + np.deg2rad(world.faults.joint_noise_deg) * rng.normal(size=read.shape)
    shown = wiggle(world, stamps - delay_s, seed)
    seen = [world.see(world.true_joints(one, rng), rng) for one in shown]
    kept = [i for i, view in enumerate(seen) if view is not None]
    latency = calibrate_latency(
        world.camera,
        world.board,
        mount,
        world.forward,
        [seen[i] for i in kept],
        stamps[kept],
        joints_s,
        read,
        found.X,
        found.offset_rad,
    )
    return {
        "delay_ms": 1e3 * abs(latency.delay_s - delay_s),
        "z": abs(latency.delay_s - delay_s) / latency.std_s,
    }


def rendered(mount: str, seed: int) -> dict[str, float]:
    """Images, detection, estimated intrinsics from 40 views, hand-eye from the first 20."""
    world, rng = draw_world(mount, seed), np.random.default_rng(3000 + seed)
    scene = CalibrationScene(world)
    try:
        q = plan_views(world, 2 * VIEWS, seed, spare=6)
        seen = [detect_board(scene.image(world.true_joints(x, rng), rng), world.board) for x in q]
    finally:
        scene.close()
    kept = [i for i, view in enumerate(seen) if view is not None]
    views = [seen[i] for i in kept]
    width, height = world.camera.width_px, world.camera.height_px
    lens = calibrate_intrinsics(views, world.board, width, height)
    row: dict[str, float] = {
        "focal_percent": 100 * abs(lens.camera.fx_px / world.camera.fx_px - 1),
        "centre_px": float(
            np.hypot(
                lens.camera.cx_px - world.camera.cx_px, lens.camera.cy_px - world.camera.cy_px
            )
        ),
        "corner_px": lens.rms_px,
    }
    for name, camera in (("", lens.camera), ("true_lens_", world.camera)):
        found = calibrate_hand_eye(
            camera,
            world.board,
            mount,
            world.forward,
            views[:VIEWS],
            q[kept][:VIEWS],
            lens_std=None if name else lens.std,
        )
        row |= {
            name + key: value for key, value in errors(world, found.X, found.offset_rad).items()
        }
        told = found.observable
        off = np.rad2deg(np.abs(found.offset_rad - world.offset_rad)[told]).mean()
        row[name + "offset_deg"] = float(off)
    return row


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        key: {
            "median": float(np.median([row[key] for row in rows])),
            "worst": float(max(row[key] for row in rows)),
        }
        for key in rows[0]
    }


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    cells = ", ".join(
        f"{key} {value['median']:.3g} ({value['worst']:.3g})" for key, value in figures.items()
    )
    print(f"{title:<58} {cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rendered", type=int, default=3, help="rigs that are rendered")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/calibration.json"))
    args = parser.parse_args()
    result: dict[str, object] = {
        "revision": git_revision(),
        "seeds": args.seeds,
        "views": VIEWS,
        "targets": TARGETS,
    }
    print("medians (worst) over seeds")
    for mount in ("hand", "world"):
        for case, faults in CASES.items():
            rows = [hand_eye(mount, faults, seed) for seed in range(args.seeds)]
            for name in rows[0]:
                figures = summary([row[name] for row in rows])
                result[f"{mount} | {case} | {name}"] = figures
                show(f"{mount}, {case}, {name}", figures)
        figures = summary([delay(mount, seed) for seed in range(args.seeds)])
        result[f"{mount} | delay"] = figures
        show(f"{mount}, delay", figures)
        if args.rendered:
            figures = summary([rendered(mount, seed) for seed in range(args.rendered)])
            result[f"{mount} | rendered"] = figures
            show(f"{mount}, rendered", figures)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
