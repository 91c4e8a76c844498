"""Rotations and poses, batched over any leading dimensions: one convention for the whole stack.

Quaternions are (w, x, y, z) and unit, rotation vectors are axis times angle [rad], a pose vector
is position [m] then quaternion, `T_a_b` maps coordinates in b into a. All functions are pure.
"""

import numpy as np

from robot_rl.types import F64

__all__ = [
    "matrix_from_pose",
    "matrix_from_quat",
    "matrix_from_rotvec",
    "pose_compose",
    "pose_from_matrix",
    "pose_inverse",
    "quat_angle",
    "quat_conjugate",
    "quat_from_matrix",
    "quat_from_rotvec",
    "quat_multiply",
    "quat_rotate",
    "rotvec_from_matrix",
    "rotvec_from_quat",
    "transform_inverse",
]

_TINY = 1e-12  # below this length an axis is noise, and its angle is zero to double precision
_NEAR_HALF_TURN = -1.9  # 2 cos(angle) below which R - R^T loses the axis
_IDENTITY = np.eye(3)
_HAT = np.zeros((3, 9))  # vector to its flattened cross-product matrix
_HAT[[0, 1, 2], [7, 2, 3]] = 1.0
_HAT[[0, 1, 2], [5, 6, 1]] = -1.0
_VEE_TRACE = np.hstack([_HAT.T, _IDENTITY.reshape(9, 1)])  # flattened R to vee(R - R^T), trace


def quat_multiply(a: F64, b: F64) -> F64:
    """Rotation b, then a: (..., 4)."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, np.float64), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def quat_conjugate(q: F64) -> F64:
    """The inverse of a unit quaternion: (..., 4)."""
    return np.asarray(q, np.float64) * np.array([1.0, -1.0, -1.0, -1.0])


def quat_rotate(q: F64, v: F64) -> F64:
    """Rotate vectors v (..., 3) by q (..., 4)."""
    q, v = np.asarray(q, np.float64), np.asarray(v, np.float64)
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * np.cross(u, v)
    return v + w * t + np.cross(u, t)


def quat_from_rotvec(rotvec: F64) -> F64:
    """(..., 3) [rad] to (..., 4)."""
    rotvec = np.asarray(rotvec, np.float64)
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    # sin(a / 2) / a by numpy's sinc, which is exact at zero.
    return np.concatenate(
        [np.cos(0.5 * angle), rotvec * 0.5 * np.sinc(angle / (2.0 * np.pi))], axis=-1
    )


def rotvec_from_quat(q: F64) -> F64:
    """(..., 4) to the shortest rotation vector (..., 3) [rad], of length at most pi."""
    q = np.asarray(q, np.float64)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine > _TINY, angle / np.maximum(sine, _TINY), 2.0)


def quat_angle(a: F64, b: F64) -> F64:
    """Angle (...) [rad] between two orientations (..., 4), in [0, pi]."""
    return np.linalg.norm(rotvec_from_quat(quat_multiply(quat_conjugate(a), b)), axis=-1)


def matrix_from_quat(q: F64) -> F64:
    """(..., 4) to rotation matrices (..., 3, 3)."""
    w, x, y, z = np.moveaxis(np.asarray(q, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_from_matrix(R: F64) -> F64:
    """Rotation matrices (..., 3, 3) to (..., 4) with w >= 0.

    All four candidates of Shepperd (1978) are formed, and the one with the largest divisor kept:
    no branch per element, and no loss of digits near half a turn.
    """
    R = np.asarray(R, np.float64)
    m00, m11, m22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    a, b, c = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    d, e, f = R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]
    candidates = np.stack(
        [
            np.stack([1 + m00 + m11 + m22, a, b, c], axis=-1),
            np.stack([a, 1 + m00 - m11 - m22, d, e], axis=-1),
            np.stack([b, d, 1 - m00 + m11 - m22, f], axis=-1),
            np.stack([c, e, f, 1 - m00 - m11 + m22], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(candidates, axis1=-2, axis2=-1), axis=-1)[..., None, None]
    q = np.take_along_axis(candidates, best, axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def matrix_from_rotvec(rotvec: F64) -> F64:
    """(..., 3) [rad] to rotation matrices (..., 3, 3), by Rodrigues' formula."""
    rotvec = np.asarray(rotvec, np.float64)
    angle = np.maximum(np.sqrt(np.vecdot(rotvec, rotvec)), 1e-30)[..., None, None]
    K = (rotvec @ _HAT).reshape(*rotvec.shape, 3)
    half = np.sin(0.5 * angle) / angle
    return _IDENTITY + (np.sin(angle) / angle) * K + (2.0 * half * half) * (K @ K)


def rotvec_from_matrix(R: F64) -> F64:
    """Rotation matrices (..., 3, 3) to the shortest rotation vector (..., 3) [rad]."""
    R = np.asarray(R, np.float64)
    vee_trace = R.reshape(*R.shape[:-2], 9) @ _VEE_TRACE
    vee = vee_trace[..., :3]  # 2 sin(angle) * axis
    sine = np.sqrt(np.vecdot(vee, vee))
    cosine = vee_trace[..., 3] - 1.0  # 2 cos(angle)
    if cosine.min(initial=2.0) < _NEAR_HALF_TURN:
        return rotvec_from_quat(quat_from_matrix(R))
    return vee * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-30))[..., None]


def matrix_from_pose(pose: F64) -> F64:
    """Pose vectors (..., 7) to transforms (..., 4, 4) [m]."""
    pose = np.asarray(pose, np.float64)
    T = np.zeros((*pose.shape[:-1], 4, 4))
    T[..., :3, :3] = matrix_from_quat(pose[..., 3:])
    T[..., :3, 3] = pose[..., :3]
    T[..., 3, 3] = 1.0
    return T


def pose_from_matrix(T: F64) -> F64:
    """Transforms (..., 4, 4) [m] to pose vectors (..., 7)."""
    T = np.asarray(T, np.float64)
    return np.concatenate([T[..., :3, 3], quat_from_matrix(T[..., :3, :3])], axis=-1)


def pose_compose(a: F64, b: F64) -> F64:
    """Pose of c in x, (..., 7), from b's pose in x and c's pose in b: `T_x_b @ T_b_c`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    position = a[..., :3] + quat_rotate(a[..., 3:], b[..., :3])
    return np.concatenate([position, quat_multiply(a[..., 3:], b[..., 3:])], axis=-1)


def pose_inverse(pose: F64) -> F64:
    """The pose (..., 7) that undoes `pose`."""
    pose = np.asarray(pose, np.float64)
    inverse = quat_conjugate(pose[..., 3:])
    return np.concatenate([-quat_rotate(inverse, pose[..., :3]), inverse], axis=-1)


def transform_inverse(T: F64) -> F64:
    """The inverse (..., 4, 4) of rigid transforms, without solving a system."""
    T = np.asarray(T, np.float64)
    inverse = np.zeros_like(T)
    R_t = T[..., :3, :3].swapaxes(-1, -2)
    inverse[..., :3, :3] = R_t
    inverse[..., :3, 3] = -(R_t @ T[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1.0
    return inverse
