"""The driver of the arm inside the twin: it follows a stream of commands, as long as it comes.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

Where the command comes from an arm bridge in another process, this stands for the driver of the
real arm, and trusts as little: a command that lies far away is a place to go to within the limits
of the joints, not to jump to; a stream that ends is braked and held.
"""

import numpy as np

from robot_rl.control.interpolate import step_towards
from robot_rl.errors import ConfigError
from robot_rl.types import F64, ArmSpec
from sim.bridge import BRIDGE_PERIOD_S

__all__ = ["ENGAGE_RAD", "Drive"]

ENGAGE_RAD = 0.05
"""After `start`, commands count from the first that lies so near."""
_STREAM_TICKS = 5  # commands no further apart than this, in time and motion, are one stream
_JOIN_RAD = 5e-3  # so near, a setpoint on its way to a stream is part of it
_AT_REST_RAD = 1e-6  # and metres


class Drive:
    """The setpoint of all joints and grippers, moved one tick of 10 ms at a time.

    A stream is followed as it comes, at up to the velocity limits: whoever sends it has planned
    its accelerations, and ticks that come late or in pairs must not be planned again. A stream is
    joined from rest, and braked when it ends, within the limits of acceleration.

    Args:
        arms: The arms, with their limits.
        timeout_s: Silence of the stream after which the drive holds.

    Raises:
        ConfigError: The timeout is shorter than a tick.
    """

    def __init__(self, arms: tuple[ArmSpec, ...], *, timeout_s: float) -> None:
        if not timeout_s >= BRIDGE_PERIOD_S:
            raise ConfigError(
                f"drive: timeout_s is {timeout_s}, but must be at least {BRIDGE_PERIOD_S}."
            )
        self._timeout_ticks = round(timeout_s / BRIDGE_PERIOD_S)
        self._lower = np.concatenate([arm.joint_lower_rad for arm in arms])
        self._upper = np.concatenate([arm.joint_upper_rad for arm in arms])
        self._velocity = np.concatenate([arm.joint_velocity_limit_rad_s for arm in arms])
        self._acceleration = np.concatenate([arm.joint_acceleration_limit_rad_s2 for arm in arms])
        self._travel = self._velocity * BRIDGE_PERIOD_S
        grippers = [arm.gripper for arm in arms if arm.gripper is not None]
        self._width = np.array([gripper.max_width_m for gripper in grippers])
        self._opening = np.array([g.max_speed_m_s for g in grippers]) * BRIDGE_PERIOD_S
        self.start(np.concatenate([arm.home_rad for arm in arms]), self._width)

    @property
    def is_holding(self) -> bool:
        """Whether no command has come for the timeout, or none that counts since the start."""
        return self._silent_ticks > self._timeout_ticks

    @property
    def is_untouched(self) -> bool:
        """Whether, since `start`, no command has asked for any motion."""
        return self._is_untouched

    def start(self, q_rad: F64, gripper_m: F64) -> None:
        """Stand still at (dof,) [rad] and (num_grippers,) [m], and wait for a command nearby."""
        self._q, self._dq, self._target = q_rad.copy(), np.zeros_like(q_rad), q_rad.copy()
        self._stream = np.zeros_like(q_rad)
        self._gripper, self._gripper_target = gripper_m.copy(), gripper_m.copy()
        self._is_engaged, self._is_joined, self._is_untouched = False, False, True
        self._silent_ticks = self._timeout_ticks + 1

    def aim(self, q_rad: F64) -> bool:
        """Take the newest joint command (dof,) [rad]; returns whether it counts."""
        target = np.minimum(np.maximum(q_rad, self._lower), self._upper)
        if not self._is_engaged and np.abs(target - self._q).max() > ENGAGE_RAD:
            return False
        self._is_engaged = True
        ticks = max(1, self._silent_ticks)
        reach = _STREAM_TICKS * self._travel
        self._is_joined &= ticks <= _STREAM_TICKS
        self._is_joined &= bool((np.abs(target - self._q) <= reach).all())
        speed = (target - self._target) / (ticks * BRIDGE_PERIOD_S)
        self._stream = np.minimum(np.maximum(speed, -self._velocity), self._velocity)
        self._target, self._silent_ticks = target, 0
        return True

    def grip(self, gripper_m: F64) -> bool:
        """Take the newest openings (num_grippers,) [m]; returns whether they count."""
        if self._is_engaged:
            self._gripper_target = np.minimum(np.maximum(gripper_m, 0.0), self._width)
        return self._is_engaged

    def step(self) -> tuple[F64, F64]:
        """One tick: the setpoints of joints (dof,) [rad] and grippers (num_grippers,) [m]."""
        if self._silent_ticks == self._timeout_ticks:
            self._target = self._q.copy()  # it brakes, and comes back to here
        self._silent_ticks += 1
        gap = self._gripper_target - self._gripper
        asked = np.abs(np.concatenate((self._target - self._q, gap)))
        self._is_untouched &= bool(asked.max() < _AT_REST_RAD)
        if self._is_joined and self._silent_ticks == 1:
            way = self._target - self._q
            self._q = self._q + np.minimum(np.maximum(way, -self._travel), self._travel)
            self._dq = self._stream
        else:
            q, self._dq = step_towards(
                self._q,
                self._dq,
                self._target,
                velocity_limit=self._velocity,
                acceleration_limit=self._acceleration,
                dt=BRIDGE_PERIOD_S,
            )
            self._q = np.minimum(np.maximum(q, self._lower), self._upper)
            self._is_joined |= bool(np.abs(self._target - self._q).max() < _JOIN_RAD)
        self._gripper = self._gripper + np.minimum(np.maximum(gap, -self._opening), self._opening)
        return self._q, self._gripper
