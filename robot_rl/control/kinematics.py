"""Where the tool is, how it moves with the joints, and which joints put it there.

command:   camera, arm → observe → policy (base + residual) → **decode** → safety → send

Pure numpy over any leading dimensions: the twin solves thousands of arms at once, the real arm
one, in the same functions. At batch 1 every numpy call counts, which is why the code avoids
`np.cross`, `np.clip` and per-joint Python.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_rl.geometry import rotvec_from_matrix
from robot_rl.types import F64, ArmSpec

__all__ = ["forward", "jacobian", "solve_ik"]

_STEP_LIMIT_RAD = 0.5  # longest joint motion of one iteration: the linear model ends there
_DAMPING_FLOOR = 1e-6  # keeps the system solvable in a singularity
_DAMPING_GAIN = 0.5  # damping grows with the squared error: Sugihara 2011, eq. 32


class _Chain(NamedTuple):
    """An arm as constants: link transforms are cos(q) * cosine + sin(q) * sine + constant."""

    cosine: F64  # (n, 4, 4)
    sine: F64  # (n, 4, 4)
    constant: F64  # (n, 4, 4)
    T_flange_tcp: F64  # (4, 4)


@lru_cache(maxsize=64)
def _chain(arm: ArmSpec) -> _Chain:
    """Split modified DH links (Craig 2005, eq. 3.6) into their cos, sin and constant parts."""
    n = arm.dof
    cosine, sine, constant = np.zeros((3, n, 4, 4))
    ca, sa = np.cos(arm.dh_alpha_rad), np.sin(arm.dh_alpha_rad)
    cosine[:, 0, 0], cosine[:, 1, 1], cosine[:, 2, 1] = 1.0, ca, sa
    sine[:, 0, 1], sine[:, 1, 0], sine[:, 2, 0] = -1.0, ca, sa
    constant[:, 0, 3], constant[:, 1, 2], constant[:, 2, 2] = arm.dh_a_m, -sa, ca
    constant[:, 1, 3], constant[:, 2, 3] = -sa * arm.dh_d_m, ca * arm.dh_d_m
    constant[:, 3, 3] = 1.0
    return _Chain(cosine, sine, constant, np.asarray(arm.T_flange_tcp, np.float64))


def _frames(chain: _Chain, q: F64) -> F64:
    """Transforms (..., n + 1, 4, 4) of all joint frames and, last, of the tcp, in base."""
    angle = q[..., None, None]
    links = np.cos(angle) * chain.cosine
    links += np.sin(angle) * chain.sine
    links += chain.constant
    n = q.shape[-1]
    frames = np.empty((*q.shape[:-1], n + 1, 4, 4))
    frames[..., 0, :, :] = links[..., 0, :, :]
    if q.ndim == 1:  # np.dot takes a third of matmul's time, but knows no batch
        for i in range(1, n):
            np.dot(frames[i - 1], links[i], out=frames[i])
        np.dot(frames[n - 1], chain.T_flange_tcp, out=frames[n])
        return frames
    for i in range(1, n):
        np.matmul(frames[..., i - 1, :, :], links[..., i, :, :], out=frames[..., i, :, :])
    np.matmul(frames[..., n - 1, :, :], chain.T_flange_tcp, out=frames[..., n, :, :])
    return frames


def _jacobian(frames: F64) -> F64:
    """Geometric Jacobian (..., 6, n) from the frames: every joint turns about its own z."""
    n = frames.shape[-3] - 1
    axis = frames[..., :n, :3, 2]  # (..., n, 3)
    arm = frames[..., n:, :3, 3] - frames[..., :n, :3, 3]
    ax, ay, az = axis[..., 0], axis[..., 1], axis[..., 2]
    rx, ry, rz = arm[..., 0], arm[..., 1], arm[..., 2]
    out = np.empty((*frames.shape[:-3], 6, n))
    np.subtract(ay * rz, az * ry, out=out[..., 0, :])
    np.subtract(az * rx, ax * rz, out=out[..., 1, :])
    np.subtract(ax * ry, ay * rx, out=out[..., 2, :])
    out[..., 3:, :] = axis.swapaxes(-1, -2)
    return out


def _pose_error(frames: F64, target: F64) -> F64:
    """Twist (..., 6) [m, rad] in base that takes the tcp to its target in unit time."""
    T = frames[..., -1, :, :]
    error = np.empty((*T.shape[:-2], 6))
    np.subtract(target[..., :3, 3], T[..., :3, 3], out=error[..., :3])
    R = target[..., :3, :3] @ T[..., :3, :3].swapaxes(-1, -2)
    error[..., 3:] = rotvec_from_matrix(R)
    return error


@lru_cache(maxsize=64)
def _frames_once(arm: ArmSpec, q: bytes) -> F64:
    """The frames of one arm; read-only, since all callers share them."""
    frames = _frames(_chain(arm), np.frombuffer(q))
    frames.flags.writeable = False
    return frames


def _frames_of(arm: ArmSpec, q: F64) -> F64:
    """As `_frames`; do not write into them.

    Decode, IK, safety, encode and features ask for the frames of few positions again and again.
    """
    return _frames_once(arm, q.tobytes()) if q.ndim == 1 else _frames(_chain(arm), q)


def forward(arm: ArmSpec, q: F64) -> F64:
    """Tool pose of joint positions.

    Args:
        arm: The arm.
        q: (..., n) [rad].

    Returns:
        T_base_tcp, (..., 4, 4) [m].
    """
    frames = _frames_of(arm, np.asarray(q, np.float64))
    return frames[-1].copy() if frames.ndim == 3 else frames[..., -1, :, :]


def jacobian(arm: ArmSpec, q: F64) -> F64:
    """Tool velocity in base over joint velocity.

    Args:
        arm: The arm.
        q: (..., n) [rad].

    Returns:
        (..., 6, n): rows are linear [m/rad], then angular [rad/rad].
    """
    return _jacobian(_frames_of(arm, np.asarray(q, np.float64)))


def _damped_step(J: F64, error: F64, pull: F64, free: F64 | None) -> F64:
    """Joint step (..., n) that reduces `error` by least squares and `pull`s where that is free.

    Args:
        J: (..., 6, n).
        error: (..., 6) [m, rad].
        pull: (..., n) [rad], wished joint motion; only its null-space part is taken.
        free: (..., n) of 0 and 1, or None; joints at 0 stay where they are.
    """
    if free is not None:
        J = J * free[..., None, :]
        pull = pull * free
    Jt = J.swapaxes(-1, -2)
    gram = J @ Jt
    damping = _DAMPING_FLOOR + _DAMPING_GAIN * np.vecdot(error, error)
    gram.reshape(*gram.shape[:-2], 36)[..., ::7] += damping[..., None]
    rest = error[..., None] - J @ pull[..., None]
    return pull + (Jt @ np.linalg.solve(gram, rest))[..., 0]


def solve_ik(
    arm: ArmSpec,
    T_base_tcp: F64,
    q_start: F64,
    *,
    iterations: int = 3,
    position_tolerance_m: float = 1e-4,
    rotation_tolerance_rad: float = 1e-3,
    home_gain: float = 0.005,
) -> tuple[F64, NDArray[np.bool_]]:
    """Joint positions near `q_start` that reach a tool pose, by damped least squares.

    It stops early once errors are a twentieth of the tolerances, so that a chain of small
    motions does not drift. A target equal to the start returns the start, bit for bit.

    Args:
        arm: The arm; its joint limits are never passed.
        T_base_tcp: (..., 4, 4) [m], wished tool poses in base.
        q_start: (..., n) [rad], where to start: the previous command. Clipped to the limits.
        iterations: Newton steps; 2 to 3 track motions of some mm, about 20 reach anywhere near.
        position_tolerance_m: Largest position error that still counts as reached.
        rotation_tolerance_rad: Largest rotation error that still counts as reached.
        home_gain: Share of the way to `arm.home_rad` taken within the null space,
            in each iteration of the first half.

    Returns:
        (q, ok): (..., n) [rad] and bool (...,). Where `ok` is False, `q` is the nearest found.
    """
    target = np.asarray(T_base_tcp, np.float64)
    lower, upper = arm.joint_lower_rad, arm.joint_upper_rad
    q = np.minimum(np.maximum(q_start, lower), upper)
    if q.shape[:-1] != target.shape[:-2]:
        shape = np.broadcast_shapes(target.shape[:-2], q.shape[:-1])
        q = np.broadcast_to(q, (*shape, arm.dof))
    tolerance = np.array([position_tolerance_m] * 3 + [rotation_tolerance_rad] * 3)
    drift = 0.05 * tolerance
    frames = _frames_of(arm, q)
    error = _pose_error(frames, target)
    for i in range(iterations):
        active = (np.abs(error) > drift).any(-1)
        if not active.any():
            break
        J = _jacobian(frames)
        # The pull costs accuracy of second order, which the later iterations win back.
        pull = (home_gain if i < iterations // 2 else 0.0) * (arm.home_rad - q)
        step = _damped_step(J, error, pull, None)
        moved = q + step
        inside = (moved >= lower) & (moved <= upper)
        if not inside.all():
            # A joint at its limit stops; solving again lets the others take its share.
            step = _damped_step(J, error, pull, inside.astype(np.float64))
        longest = np.abs(step).max(-1)
        step *= (active * np.minimum(1.0, _STEP_LIMIT_RAD / np.maximum(longest, 1e-9)))[..., None]
        q = np.minimum(np.maximum(q + step, lower), upper)
        frames = _frames_of(arm, q)
        error = _pose_error(frames, target)
    return q, np.asarray((np.abs(error) <= tolerance).all(-1))
