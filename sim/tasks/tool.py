"""The tool of an arm as tasks see it: from measured joints alone, so that a real robot has it too.

All functions take states with leading dimensions.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_rl.control.kinematics import forward, jacobian, solve_ik
from robot_rl.types import F32, F64, ArmSpec, RobotState

__all__ = ["Tool", "grip", "joints_at", "pose", "stack", "tool", "toward"]

DOWN = np.diag([1.0, -1.0, -1.0])
"""Rotation of a tool that points down, its x axis along the base's."""


class Tool(NamedTuple):
    """Tool centre point in world."""

    position: F64  # (..., 3) [m]
    rotation: F64  # (..., 3, 3)
    velocity: F64  # (..., 3) [m/s]


@lru_cache(maxsize=8)
def tool(arm: ArmSpec, state: RobotState, first_joint: int = 0) -> Tool:
    """The tool of `arm`, whose joints start at `first_joint` in the state.

    Cached by identity, since features, success and expert ask for the same state; do not write
    into the arrays.
    """
    joints = slice(first_joint, first_joint + arm.dof)
    q, dq = state.q_rad[..., joints], state.dq_rad_s[..., joints]
    T = arm.T_world_base @ forward(arm, q)
    velocity = (jacobian(arm, q)[..., :3, :] @ dq[..., None])[..., 0]
    return Tool(T[..., :3, 3], T[..., :3, :3], velocity @ np.asarray(arm.T_world_base)[:3, :3].T)


def joints_at(arm: ArmSpec, position_m: F64, rotation: F64 = DOWN) -> F64:
    """Joints (n,) [rad] that put the tool at a pose in world: where an episode starts."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation, position_m
    q, _ = solve_ik(arm, np.linalg.inv(arm.T_world_base) @ T, arm.home_rad, iterations=20)
    return q


def pose(position_m: F64 | tuple[float, ...], yaw_rad: float = 0.0) -> F64:
    """(7,) position and quaternion (w, x, y, z) of an upright body in world."""
    half = yaw_rad / 2
    return np.array([*position_m, np.cos(half), 0.0, 0.0, np.sin(half)])


def toward(gap_m: F64, step_m: float, gain: float | F64 = 0.35) -> F64:
    """Share (..., 3) in [-1, 1] of a full step that closes a gap without overshoot.

    Actions add up in the command while the arm lags one or two steps behind: a gain near 1 on
    the measured gap would ring.
    """
    action = gap_m * (np.asarray(gain)[..., None] / step_m)
    longest = np.abs(action).max(-1, keepdims=True)
    return action / np.maximum(longest, 1.0)


def grip(motion: F64, closed: NDArray[np.bool_]) -> F32:
    """An arm's motion (..., k) with the gripper's dimension behind it: -1 closes, 1 opens."""
    width = np.where(closed, -1.0, 1.0)[..., None]
    return np.concatenate((motion, width), -1).astype(np.float32)


def stack(*parts: F64) -> F32:
    """Feature groups (..., k_i) side by side, as the float32 vector of an observation."""
    return np.concatenate(parts, -1).astype(np.float32)
