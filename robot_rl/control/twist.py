"""From an operator's tool velocity to a joint target that moves with it.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

The target is integrated on itself, not on the measured state, and slides along the faces of the
workspace instead of sticking to them.
"""

import numpy as np

from robot_rl.control.kinematics import forward, solve_ik
from robot_rl.geometry import matrix_from_rotvec
from robot_rl.types import F64, ArmSpec

__all__ = ["follow_twist", "shorten"]


def shorten(vector: F64, length: float) -> F64:
    """The vector (n,), or the one of `length` in its direction if it is longer."""
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)


def follow_twist(arm: ArmSpec, q_rad: F64, twist: F64, dt: float) -> F64:
    """Joints (n,) [rad] after moving the tool for `dt` [s], or the nearest that can be had.

    Args:
        arm: The arm.
        q_rad: (n,), where the joints are.
        twist: (6,) [m/s, rad/s] of the tool, in base.
        dt: Time [s].
    """
    T = forward(arm, q_rad)
    stood = T[:3, 3].copy()
    lower = np.minimum(arm.workspace_lower_m, stood)
    upper = np.maximum(arm.workspace_upper_m, stood)
    T[:3, 3] = np.minimum(np.maximum(stood + twist[:3] * dt, lower), upper)
    T[:3, :3] = matrix_from_rotvec(twist[3:] * dt) @ T[:3, :3]
    return solve_ik(arm, T, q_rad)[0]
