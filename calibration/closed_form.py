"""Hand-eye in closed form: where the camera sits, from how arm and board move with each other.

Both mounts are one equation, B = X^-1 G Z, for each view:

    hand    the camera is on the tool    X = T_tcp_cam    G = T_base_tcp^-1   Z = T_base_board
    world   the camera stands still      X = T_base_cam   G = T_base_tcp      Z = T_tcp_board

with B = T_cam_board. It starts the refinement, and it is where bad data shows first: motion that
cannot tell, a board of another size, a camera of another mount, views of another camera.

Ref: Park and Martin 1994, "Robot sensor calibration: solving AX = XB on the Euclidean group".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_rl.errors import DataError
from robot_rl.geometry import rotvec_from_matrix, transform_inverse
from robot_rl.types import F64, I64

__all__ = [
    "ClosedForm",
    "Mount",
    "arm_transform",
    "camera_error",
    "consistent_views",
    "misfit",
    "solve",
]

Mount = Literal["hand", "world"]

_NEAR_HALF_TURN_RAD = np.deg2rad(170.0)  # beyond it an axis may flip
_SMALLEST_TURN_DEG = 5.0  # RMS turn between views about the second axis
_SMALLEST_TRAVEL = 0.02  # singular value of the translation's equations, a share of the largest
_DRAWS = 60
_DRAWN_VIEWS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ClosedForm:
    """A solution that is good enough to start from."""

    X: F64  # (4, 4)
    Z: F64  # (4, 4)
    scale: float  # true size of the board over its nominal size, as the arm's motion has it
    position_m: F64  # (v,) misfit of each view
    rotation_rad: F64  # (v,)


def arm_transform(mount: Mount, T_base_tcp: F64) -> F64:
    """G (..., 4, 4) of tool poses."""
    return transform_inverse(T_base_tcp) if mount == "hand" else T_base_tcp


def camera_error(
    mount: Mount,
    forward: Callable[[F64], F64],
    found: tuple[F64, F64],
    true: tuple[F64, F64],
) -> F64:
    """(4, 4) by which a calibrated camera is off, in its own frame.

    An offset of the last joint is a turn of a camera on the hand, and one of the first joint
    turns base and world camera alike: no view tells them from X. Each X is therefore compared
    with its own offset of that joint applied.

    Args:
        mount: Where the camera is.
        forward: The arm's kinematics.
        found: X (4, 4) and joint offsets (n,) [rad].
        true: The same.
    """
    placed = []
    for X, offset in (found, true):
        alone = np.zeros(len(offset))
        alone[-1 if mount == "hand" else 0] = offset[-1 if mount == "hand" else 0]
        still, turned = forward(np.zeros(len(offset))), forward(alone)
        if mount == "hand":
            placed.append(transform_inverse(still) @ turned @ X)
        else:
            placed.append(still @ transform_inverse(turned) @ X)
    return transform_inverse(placed[1]) @ placed[0]


def solve(G: F64, B: F64) -> ClosedForm:
    """Solve B = X^-1 G Z for all views at once.

    Args:
        G: (v, 4, 4), see `arm_transform`.
        B: (v, 4, 4) T_cam_board.

    Raises:
        DataError: The motion between the views cannot tell the rotation or the translation.
    """
    first, second = np.triu_indices(len(G), 1)
    turn_arm = rotvec_from_matrix(G[second, :3, :3] @ G[first, :3, :3].swapaxes(-1, -2))
    turn_camera = rotvec_from_matrix(B[second, :3, :3] @ B[first, :3, :3].swapaxes(-1, -2))
    usable = np.linalg.norm(turn_arm, axis=-1) < _NEAR_HALF_TURN_RAD
    usable &= np.linalg.norm(turn_camera, axis=-1) < _NEAR_HALF_TURN_RAD
    turn_arm, turn_camera = turn_arm[usable], turn_camera[usable]
    _check_turns(turn_camera)
    U, _, Vt = np.linalg.svd(turn_arm.T @ turn_camera)
    R_X = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    R_Z = _mean_rotation(G[:, :3, :3].swapaxes(-1, -2) @ R_X @ B[:, :3, :3])
    t_X, t_Z, scale = _translations(G, B, R_X)
    X, Z = np.eye(4), np.eye(4)
    X[:3, :3], X[:3, 3] = R_X, t_X
    Z[:3, :3], Z[:3, 3] = R_Z, t_Z
    position, rotation = misfit(X, Z, G, B)
    return ClosedForm(X=X, Z=Z, scale=scale, position_m=position, rotation_rad=rotation)


def misfit(X: F64, Z: F64, G: F64, B: F64) -> tuple[F64, F64]:
    """How far each view is from X B = G Z: (v,) [m] and (v,) [rad]."""
    gap = transform_inverse(G @ Z) @ (X @ B)
    position = np.linalg.norm(gap[:, :3, 3], axis=-1)
    return position, np.linalg.norm(rotvec_from_matrix(gap[:, :3, :3]), axis=-1)


def consistent_views(
    G: F64, B: F64, *, position_m: float = 0.03, rotation_rad: float = 0.05, seed: int = 0
) -> I64:
    """Places of the largest set of views that one camera and one board explain.

    Random sets of four views are solved; the solution that most views agree with wins. Ref:
    Fischler and Bolles 1981, "Random sample consensus".
    """
    rng = np.random.default_rng(seed)
    best = np.zeros(len(G), bool)
    for _ in range(_DRAWS):
        drawn = rng.choice(len(G), _DRAWN_VIEWS, replace=False)
        try:
            found = solve(G[drawn], B[drawn])
        except DataError:
            continue
        position, rotation = misfit(found.X, found.Z, G, B)
        agreed = (position < position_m) & (rotation < rotation_rad)
        if agreed.sum() > best.sum():
            best = agreed
    return np.flatnonzero(best)


def _check_turns(turns: F64) -> None:
    """Refuse turns about a single axis: the camera could sit at any angle about it."""
    spread = np.linalg.svd(turns, compute_uv=False) if len(turns) else np.zeros(3)
    rms_deg = np.rad2deg(spread / np.sqrt(max(len(turns), 1)))
    if rms_deg[1] < _SMALLEST_TURN_DEG:
        what = "hardly turned" if rms_deg[0] < _SMALLEST_TURN_DEG else "turned about one axis only"
        raise DataError(
            f"the motion is degenerate: between views the hand {what} (RMS "
            f"{rms_deg[0]:.1f}, {rms_deg[1]:.1f}, {rms_deg[2]:.1f} degrees about its three main "
            f"axes; {_SMALLEST_TURN_DEG:g} about the second are needed). Tilt and roll the hand "
            "between views, by 30 degrees and more."
        )


def _translations(G: F64, B: F64, R_X: F64) -> tuple[F64, F64, float]:
    """t_X, t_Z and the board's scale: t_X + scale * R_X t_B - R_G t_Z = t_G, linear in all."""
    v = len(G)
    A = np.zeros((v, 3, 7))
    A[:, :, :3] = np.eye(3)
    A[:, :, 3:6] = -G[:, :3, :3]
    A[:, :, 6] = B[:, :3, 3] @ R_X.T
    A = A.reshape(3 * v, 7)
    b = G[:, :3, 3].reshape(3 * v)
    values = np.linalg.svd(A[:, :6], compute_uv=False)
    if values[-1] < _SMALLEST_TRAVEL * values[0]:
        raise DataError(
            "the motion is degenerate: the turns between views do not tell where the camera "
            f"sits (singular values {values[-1]:.2g} of {values[0]:.2g}). Turn the hand further, "
            "about more axes."
        )
    solution = np.linalg.lstsq(A, b, rcond=None)[0]
    scale = float(solution[6])
    # The start keeps the nominal size: the caller judges the scale.
    nominal = np.asarray(np.linalg.lstsq(A[:, :6], b - A[:, 6], rcond=None)[0], np.float64)
    return nominal[:3], nominal[3:6], scale


def _mean_rotation(R: F64) -> F64:
    """The rotation nearest to all of (v, 3, 3)."""
    U, _, Vt = np.linalg.svd(R.sum(0))
    return U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
