"""A rig whose truth is known: camera, board, joint offsets; what its sensors would say.

Corners come from projection and noise, thousands of views a second; `calibration_scene` renders
the same rig for the few views whose pixels matter. Encoders say q, but the arm stands at
q + offset + noise; images are stamped `delay_s` after the arm was there.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.chain import Chain, State
from calibration.closed_form import Mount
from calibration.detect import FEWEST_CORNERS, BoardView
from calibration.plan import choose_views
from calibration.refinement import Noise
from robot_rl.control.franka import franka_arm
from robot_rl.control.kinematics import forward, solve_ik
from robot_rl.errors import ConfigError
from robot_rl.geometry import matrix_from_rotvec, transform_inverse
from robot_rl.types import F64, ArmSpec

__all__ = ["CalibrationWorld", "Faults", "draw_world", "plan_views", "wiggle"]

_CANDIDATES = 120
_RIM_PX = 12.0
_START_SPREAD_RAD = 1.0
_FEWEST = 18  # corners of a candidate: a hand over the board or a blur may take some
_DEPTH = (1.1, 2.6)  # of the board, in distances at which it fills the image's width
_MIDDLE = (0.15, 0.85)  # of the board, as shares of the image
_TILT_RAD = 0.8
_LENS = (0.5,) * 4 + (0.01, 0.05, 5e-4, 5e-4, 0.0)  # how well intrinsics are known beforehand
_WIGGLE_HZ = (0.5, 0.8)
_WIGGLE_RAD = 0.12


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is wrong with the rig, as standard deviations unless said otherwise."""

    joint_offset_deg: float = 0.3
    """Of the constant offset of each joint."""
    joint_noise_deg: float = 0.01
    """Of each joint in each view."""
    corner_px: float = 0.05
    """Of a corner in each direction; rendered views have their own."""
    delay_s: float = 0.03
    """Exactly how much later images are stamped than joints."""

    def __post_init__(self) -> None:
        """Refuse negative noise."""
        if min(self.joint_offset_deg, self.joint_noise_deg, self.corner_px) < 0:
            raise ConfigError(f"faults are {self}, but deviations must not be negative.")


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationWorld:
    """The rig and its truth."""

    arm: ArmSpec
    mount: Mount
    board: BoardCfg
    camera: CameraModel
    X: F64  # (4, 4) T_tcp_cam of mount "hand", T_base_cam of "world"
    Z: F64  # (4, 4) T_base_board, T_tcp_board
    offset_rad: F64  # (n,)
    faults: Faults = field(default_factory=Faults)

    def forward(self, q_rad: F64) -> F64:
        """T_base_tcp of true joints."""
        return forward(self.arm, q_rad)

    def camera_in_base(self, q_rad: F64) -> F64:
        """T_base_cam (..., 4, 4) of true joints (..., n)."""
        if self.mount == "hand":
            return self.forward(q_rad) @ self.X
        return np.broadcast_to(self.X, (*np.shape(q_rad)[:-1], 4, 4))

    def board_in_base(self, q_rad: F64) -> F64:
        """T_base_board (..., 4, 4) of true joints (..., n)."""
        if self.mount == "world":
            return self.forward(q_rad) @ self.Z
        return np.broadcast_to(self.Z, (*np.shape(q_rad)[:-1], 4, 4))

    def true_joints(self, q_rad: F64, rng: np.random.Generator) -> F64:
        """Where the arm stands when its encoders say (..., n)."""
        noise = np.deg2rad(self.faults.joint_noise_deg) * rng.normal(size=np.shape(q_rad))
        return q_rad + self.offset_rad + noise

    def see(self, q_true_rad: F64, rng: np.random.Generator) -> BoardView | None:
        """The corners that one image shows, with noise; None if too few."""
        C = transform_inverse(self.camera_in_base(q_true_rad)) @ self.board_in_base(q_true_rad)
        points = self.board.corners_m @ C[:3, :3].T + C[:3, 3]
        if C[2, 2] <= 0.1 or (points[:, 2] <= 0.05).any():
            return None  # seen from behind, edge-on or at the lens
        pixels = self.camera.project(points)
        ids = np.flatnonzero(self.camera.sees(pixels, _RIM_PX) & self._has_markers(C))
        if len(ids) < FEWEST_CORNERS:
            return None
        noise = self.faults.corner_px * rng.normal(size=(len(ids), 2))
        return BoardView(ids=ids.astype(np.int64), corners_px=pixels[ids] + noise)

    def _has_markers(self, C: F64) -> NDArray[np.bool_]:
        """(corners,) whether the image holds the markers beside a corner: it is found by them."""
        markers_m = np.array(self.board.charuco().getObjPoints(), np.float64)  # (m, 4, 3)
        pixels = self.camera.project(markers_m @ C[:3, :3].T + C[:3, 3])
        is_whole = self.camera.sees(pixels, _RIM_PX).all(-1)
        gap = self.board.corners_m[:, None] - markers_m.mean(1)
        is_beside = np.linalg.norm(gap, axis=-1) < self.board.square_m
        return (~is_beside | is_whole).all(-1)


def draw_world(
    mount: Mount,
    seed: int,
    *,
    faults: Faults | None = None,
    board: BoardCfg | None = None,
    camera: CameraModel | None = None,
) -> CalibrationWorld:
    """A rig of this mount, with its camera and board somewhere near where people put them."""
    rng = np.random.default_rng(seed)
    faults = faults or Faults()
    arm = franka_arm()
    board = board or BoardCfg()
    to_centre = np.eye(4)
    to_centre[:3, 3] = -board.centre_m
    if mount == "hand":
        X = _pose((0.07, 0.0, -0.12), (0.0, -0.25, 0.0)) @ _turn_z(np.pi / 2)
        flat = _pose((0.5, 0.0, 0.07), (np.pi, 0.0, 0.0))  # z of the board goes into the table
        Z = flat @ to_centre
    else:
        X = _look(np.array([1.15, -0.35, 0.65]), np.array([0.45, 0.0, 0.4]))
        held = _pose((0.07, 0.0, 0.06), (0.0, 0.0, 0.0))
        held[:3, :3] = np.array([[0, 0, -1.0], [1.0, 0, 0], [0, -1.0, 0]])  # it faces ahead
        Z = held @ to_centre
    offset = np.deg2rad(faults.joint_offset_deg) * rng.normal(size=arm.dof)
    return CalibrationWorld(
        arm=arm,
        mount=mount,
        board=board,
        camera=camera or _camera(rng),
        X=X @ _small(rng, 0.01, 0.1),
        Z=Z @ _small(rng, 0.03, 0.1),
        offset_rad=offset,
        faults=faults,
    )


def plan_views(world: CalibrationWorld, count: int, seed: int = 0, *, spare: int = 12) -> F64:
    """(count, n) [rad] encoder readings from which the board is well seen, all about it.

    Args:
        world: The rig.
        count: How many.
        seed: Draws the candidates.
        spare: How many candidates each view is the best of; 1 takes them as they are drawn.

    Raises:
        ConfigError: The arm reaches too few such poses.
    """
    rng = np.random.default_rng(seed)
    q, views = _candidates(world, spare * count, rng)
    if spare == 1:
        return q
    chain = Chain.build(world.camera, world.board, world.mount, world.forward, views, q)
    noise = Noise(corner_px=0.1, joint_rad=2e-4, offset_rad=0.01, lens=_LENS)
    state = State.start(world.X, world.Z, *q.shape)
    return q[choose_views(chain, state, noise, count)]


def _candidates(
    world: CalibrationWorld, count: int, rng: np.random.Generator
) -> tuple[F64, list[BoardView]]:
    """(count, n) [rad] within reach, and what is seen from there."""
    X_inv, Z_inv = transform_inverse(world.X), transform_inverse(world.Z)
    found: list[tuple[F64, BoardView]] = []
    for _ in range(40):
        C = np.stack([_draw_board_in_camera(world, rng) for _ in range(_CANDIDATES)])
        if world.mount == "hand":
            T = world.Z @ transform_inverse(C) @ X_inv
        else:
            T = world.X @ C @ Z_inv
        start = world.arm.home_rad + _START_SPREAD_RAD * rng.normal(size=(len(C), world.arm.dof))
        q, ok = solve_ik(world.arm, T, start, iterations=40)
        ok &= T[:, 2, 3] > 0.04
        seen = ((one, world.see(one, rng)) for one in q[ok])
        found += [(one, view) for one, view in seen if view and len(view.ids) >= _FEWEST]
        if len(found) >= count:
            return np.stack([one for one, _ in found[:count]]), [v for _, v in found[:count]]
    raise ConfigError(
        f"the arm reaches {len(found)} of {count} views of the board. Place the board nearer."
    )


def wiggle(world: CalibrationWorld, t_s: F64, seed: int = 0) -> F64:
    """(k, n) [rad] encoder readings at times (k,) of an arm that swings before the board."""
    rng = np.random.default_rng(seed)
    centre = plan_views(world, 1, seed, spare=1)[0]
    phase = rng.uniform(0, 2 * np.pi, size=(len(_WIGGLE_HZ), world.arm.dof))
    swing = np.zeros((len(t_s), world.arm.dof))
    for hz, start in zip(_WIGGLE_HZ, phase, strict=True):
        swing += np.sin(2 * np.pi * hz * t_s[:, None] + start) / len(_WIGGLE_HZ)
    share = np.linspace(0.3, 1.0, world.arm.dof)  # the far joints swing more
    return centre + _WIGGLE_RAD * share * swing


def _camera(rng: np.random.Generator) -> CameraModel:
    """A 640 x 480 camera of some 60 degrees with the distortion of a cheap lens."""
    focal = rng.uniform(580, 640)
    return CameraModel(
        width_px=640,
        height_px=480,
        fx_px=focal,
        fy_px=focal * rng.uniform(0.998, 1.002),
        cx_px=319.5 + rng.uniform(-8, 8),
        cy_px=239.5 + rng.uniform(-8, 8),
        distortion=(
            rng.uniform(-0.15, 0.05),
            rng.uniform(-0.05, 0.1),
            rng.uniform(-1e-3, 1e-3),
            rng.uniform(-1e-3, 1e-3),
            0.0,
        ),
    )


def _draw_board_in_camera(world: CalibrationWorld, rng: np.random.Generator) -> F64:
    """T_cam_board (4, 4) with the middle of the board somewhere in the image."""
    filling = world.board.size_m[0] * world.camera.fx_px / world.camera.width_px
    depth = filling * rng.uniform(*_DEPTH)
    pixel = np.array([world.camera.width_px, world.camera.height_px]) * rng.uniform(*_MIDDLE, 2)
    T = np.eye(4)
    tilt, about = rng.uniform(0.0, _TILT_RAD), rng.uniform(0, 2 * np.pi)
    T[:3, :3] = matrix_from_rotvec(tilt * np.array([np.cos(about), np.sin(about), 0.0]))
    T[:3, :3] = T[:3, :3] @ _turn_z(rng.uniform(-np.pi, np.pi))[:3, :3]
    T[:3, 3] = depth * world.camera.rays(pixel[None])[0] - T[:3, :3] @ world.board.centre_m
    return T


def _pose(position: tuple[float, float, float], rotvec: tuple[float, float, float]) -> F64:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = matrix_from_rotvec(np.array(rotvec)), position
    return T


def _turn_z(angle: float) -> F64:
    return _pose((0, 0, 0), (0, 0, angle))


def _small(rng: np.random.Generator, position_m: float, rotation_rad: float) -> F64:
    """A random small motion."""
    p, r = rng.uniform(-position_m, position_m, 3), rng.uniform(-rotation_rad, rotation_rad, 3)
    return _pose(tuple(p), tuple(r))


def _look(place: F64, target: F64) -> F64:
    """T_base_cam (4, 4) of a camera that looks from a place at a target, upright."""
    ahead = (target - place) / np.linalg.norm(target - place)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = np.stack([right, np.cross(ahead, right), ahead], axis=1), place
    return T
