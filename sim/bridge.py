"""The arm bridge inside the twin: from targets at the policy's rate to drive commands at 100 Hz.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

The joint limiter is `robot_rl.control.interpolate`, the one that drives the real arm. All arrays
may carry leading dimensions: one bridge moves a whole batch of twins.
"""

from types import EllipsisType

import numpy as np

from robot_rl.control.interpolate import step_towards
from robot_rl.types import F64, I64, ArmSpec

__all__ = ["BRIDGE_PERIOD_S", "Bridge"]

BRIDGE_PERIOD_S = 0.01


class Bridge:
    """Command state of all arms of a robot, or of a batch of such robots."""

    def __init__(self, arms: tuple[ArmSpec, ...]) -> None:
        self._lower = np.concatenate([arm.joint_lower_rad for arm in arms])
        self._upper = np.concatenate([arm.joint_upper_rad for arm in arms])
        self._velocity = np.concatenate([arm.joint_velocity_limit_rad_s for arm in arms])
        self._acceleration = np.concatenate([arm.joint_acceleration_limit_rad_s2 for arm in arms])
        grippers = [arm.gripper for arm in arms if arm.gripper is not None]
        self._width = np.array([g.max_width_m for g in grippers])
        self._travel = np.array([g.max_speed_m_s for g in grippers]) * BRIDGE_PERIOD_S
        self.start(np.concatenate([arm.home_rad for arm in arms]), self._width)

    def start(self, q_rad: F64, gripper_m: F64) -> None:
        """Stand still at (..., dof) [rad] and (..., num_grippers) [m]."""
        self._q, self._dq = q_rad.copy(), np.zeros_like(q_rad)
        self._gripper = gripper_m.copy()
        self.hold()

    def restart(self, row: int, q_rad: F64, gripper_m: F64) -> None:
        """Stand one robot of a batch still at (dof,) [rad] and (num_grippers,) [m]."""
        self._q[row], self._dq[row], self._gripper[row] = q_rad, 0.0, gripper_m

    def clip(self, q_rad: F64, gripper_m: F64) -> tuple[F64, F64]:
        """The target within the limits of joints and grippers."""
        q_rad = np.minimum(np.maximum(q_rad, self._lower), self._upper)
        return q_rad, np.minimum(np.maximum(gripper_m, 0.0), self._width)

    def aim(self, q_rad: F64, gripper_m: F64) -> None:
        """Take a new target, clipped before."""
        self._q_target, self._gripper_target = q_rad, gripper_m

    def hold(self) -> None:
        """Make the present command the target."""
        self.aim(self._q.copy(), self._gripper.copy())

    def step(self, rows: I64 | EllipsisType = ...) -> tuple[F64, F64]:
        """One tick, of some robots of a batch or of all.

        Returns:
            The joint command [rad] and gripper opening [m] to drive to.
        """
        self._q[rows], self._dq[rows] = step_towards(
            self._q[rows],
            self._dq[rows],
            self._q_target[rows],
            velocity_limit=self._velocity,
            acceleration_limit=self._acceleration,
            dt=BRIDGE_PERIOD_S,
        )
        if self._gripper.shape[-1]:
            gap = self._gripper_target[rows] - self._gripper[rows]
            self._gripper[rows] += np.minimum(np.maximum(gap, -self._travel), self._travel)
        return self._q[rows], self._gripper[rows]
