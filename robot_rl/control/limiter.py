"""The motion of the command: every tick within all limits, and always able to brake within them.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

A step is taken only if braking as hard as allowed right after it stops the arm inside the joint
limits and the workspace. So braking is safe at every tick: the rest of a path that was checked.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_rl.control.interpolate import step_towards
from robot_rl.control.kinematics import forward
from robot_rl.control.safety import WORKSPACE_SLACK_M
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.types import F64, ArmSpec, RobotSpec

__all__ = ["MotionLimiter"]

_JOINT_SLACK_RAD = 1e-9  # floats round
_BISECTIONS = 5  # leaves 1/32 of the possible change of speed unused at a limit


class _Bounds(NamedTuple):
    """Where an arm may be: its limits, widened to where it stood when it was last started."""

    q_lower: F64  # (n,) [rad]
    q_upper: F64
    tool_lower: F64  # (3,) [m] in base
    tool_upper: F64


@dataclass(eq=False)
class _Arm:
    """One arm's share of the vectors, and its bounds."""

    spec: ArmSpec
    joints: slice
    brake: F64  # (n,) [rad/s], loss of speed in one tick
    bounds: _Bounds


class MotionLimiter:
    """The command of all arms of a robot, moved one tick of `period_s` at a time."""

    def __init__(self, spec: RobotSpec, *, period_s: float) -> None:
        if not (np.isfinite(period_s) and period_s > 0):
            raise ConfigError(f"limiter: period_s is {period_s}, but must be positive.")
        self._period_s = period_s
        self._arms: list[_Arm] = []
        joint = 0
        for arm in spec.arms:
            for key in ("joint_velocity_limit_rad_s", "joint_acceleration_limit_rad_s2"):
                if not (np.asarray(getattr(arm, key)) > 0).all():
                    raise ConfigError(
                        f"arm '{arm.name}': {key} is {getattr(arm, key)}, but must be positive."
                    )
            brake = np.asarray(arm.joint_acceleration_limit_rad_s2, np.float64) * period_s
            self._arms.append(
                _Arm(arm, slice(joint, joint + arm.dof), brake, _bounds_at(arm, arm.home_rad))
            )
            joint += arm.dof
        grippers = [arm.gripper for arm in spec.arms if arm.gripper is not None]
        self._width_m = np.array([gripper.max_width_m for gripper in grippers])
        self._travel_m = np.array([gripper.max_speed_m_s for gripper in grippers]) * period_s
        self._home_rad = np.concatenate([arm.home_rad for arm in spec.arms]).astype(np.float64)
        self.start(self._home_rad, self._width_m)

    @property
    def q_rad(self) -> F64:
        """The command (dof,), a copy."""
        return self._q.copy()

    @property
    def dq_rad_s(self) -> F64:
        """Its velocity (dof,), a copy."""
        return self._dq.copy()

    @property
    def gripper_m(self) -> F64:
        """The commanded openings (num_grippers,), a copy."""
        return self._gripper.copy()

    @property
    def is_still(self) -> bool:
        """Whether no joint command moves."""
        return not self._dq.any()

    def start(self, q_rad: F64, gripper_m: F64) -> None:
        """Stand still at (dof,) [rad] and (num_grippers,) [m].

        Outside a limit, the arm may then move inwards or stay, never further out.

        Raises:
            ShapeError: The arrays are of another robot.
            NonFiniteError: A number is NaN or infinite.
        """
        for name, value, like in (
            ("joints", q_rad, self._home_rad),
            ("grippers", gripper_m, self._width_m),
        ):
            if value.shape != like.shape:
                raise ShapeError(f"limiter: start of {name}", value.shape, like.shape)
            if not np.isfinite(value).all():
                raise NonFiniteError(f"limiter: start of {name}", value, "Measure it again.")
        self._q = np.array(q_rad, np.float64)
        self._dq = np.zeros_like(self._q)
        self._gripper = np.minimum(np.maximum(gripper_m, 0.0), self._width_m)
        for arm in self._arms:
            arm.bounds = _bounds_at(arm.spec, self._q[arm.joints])

    def step(self, q_rad: F64, gripper_m: F64, *, speed_share: F64 | float = 1.0) -> bool:
        """One tick towards a finite target (dof,) [rad] and (num_grippers,) [m].

        Args:
            q_rad: Joint target; it may lie outside every limit.
            gripper_m: Opening to move to.
            speed_share: Share of the joints' velocity limits to use, (dof,) or one for all.

        Returns:
            Whether a limit of joints or workspace kept an arm from going there.
        """
        share = np.broadcast_to(np.asarray(speed_share, np.float64), self._q.shape)
        cut = False
        for arm in self._arms:
            cut |= self._step_arm(arm, q_rad[arm.joints], share[arm.joints])
        gap = np.minimum(np.maximum(gripper_m, 0.0), self._width_m) - self._gripper
        self._gripper = self._gripper + np.minimum(
            np.maximum(gap, -self._travel_m), self._travel_m
        )
        return cut

    def brake(self) -> None:
        """One tick of braking as hard as each joint may; the grippers keep their openings."""
        for arm in self._arms:
            j = arm.joints
            self._dq[j] = _slower(self._dq[j], arm.brake)
            self._q[j] = self._q[j] + self._dq[j] * self._period_s

    def stopping_point(self) -> F64:
        """Where the joints (dof,) [rad] would stand if they braked from now on."""
        out = self._q.copy()
        for arm in self._arms:
            path = self._stop_path(arm, self._q[arm.joints], self._dq[arm.joints])
            out[arm.joints] = path[-1]
        return out

    def _step_arm(self, arm: _Arm, target: F64, share: F64) -> bool:
        """Move one arm's command; whether a limit cut the motion."""
        j = arm.joints
        q, dq = self._q[j], self._dq[j]
        inside = np.minimum(np.maximum(target, arm.bounds.q_lower), arm.bounds.q_upper)
        cut = bool((inside != target).any())
        _, wished = step_towards(
            q,
            dq,
            inside,
            velocity_limit=arm.spec.joint_velocity_limit_rad_s * share,
            acceleration_limit=arm.spec.joint_acceleration_limit_rad_s2,
            dt=self._period_s,
        )
        bounds = self._accept(arm, q, wished)
        if bounds is None:
            cut = True
            wished, bounds = self._slow_down(arm, q, dq, wished)
        self._dq[j] = wished
        self._q[j] = q + wished * self._period_s
        arm.bounds = bounds or arm.bounds
        return cut

    def _slow_down(self, arm: _Arm, q: F64, dq: F64, wished: F64) -> tuple[F64, _Bounds | None]:
        """The speed (n,) nearest to the wished one, on the way from braking, that is accepted."""
        braked = _slower(dq, arm.brake)
        found, found_bounds = braked, None  # braking needs no check: it was checked before
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            speed = braked + middle * (wished - braked)
            bounds = self._accept(arm, q, speed)
            if bounds is None:
                high = middle
            else:
                low, found, found_bounds = middle, speed, bounds
        return found, found_bounds

    def _accept(self, arm: _Arm, q: F64, dq: F64) -> _Bounds | None:
        """The bounds after a tick at speed `dq`, if it and braking after it stay within them."""
        moved = q + dq * self._period_s
        path = np.vstack([moved, self._stop_path(arm, moved, dq)])
        bounds, end = arm.bounds, path[-1]  # each joint turns one way only while it brakes
        if (end < bounds.q_lower - _JOINT_SLACK_RAD).any():
            return None
        if (end > bounds.q_upper + _JOINT_SLACK_RAD).any():
            return None
        tool = forward(arm.spec, path)[:, :3, 3]
        if (tool < bounds.tool_lower).any() or (tool > bounds.tool_upper).any():
            return None
        tight = _bounds_around(arm.spec, path, tool)
        return _Bounds(  # they only ever shrink, so that rounding cannot widen them
            np.maximum(bounds.q_lower, tight.q_lower),
            np.minimum(bounds.q_upper, tight.q_upper),
            np.maximum(bounds.tool_lower, tight.tool_lower),
            np.minimum(bounds.tool_upper, tight.tool_upper),
        )

    def _stop_path(self, arm: _Arm, q: F64, dq: F64) -> F64:
        """Joints (ticks, n) [rad] at the end of each tick of braking from `q` at speed `dq`."""
        ticks = max(1, int(np.ceil((np.abs(dq) / arm.brake).max())))
        loss = arm.brake * np.arange(1, ticks + 1)[:, None]
        speed = np.copysign(np.maximum(np.abs(dq) - loss, 0.0), dq)
        return q + np.cumsum(speed, axis=0) * self._period_s


def _slower(dq: F64, brake: F64) -> F64:
    """Velocities (n,) after one tick of braking."""
    return np.copysign(np.maximum(np.abs(dq) - brake, 0.0), dq)


def _bounds_at(arm: ArmSpec, q: F64) -> _Bounds:
    """The bounds of an arm that stands at (n,) [rad]."""
    return _bounds_around(arm, q[None], forward(arm, q)[None, :3, 3])


def _bounds_around(arm: ArmSpec, path: F64, tool: F64) -> _Bounds:
    """The limits of an arm, widened to a path (ticks, n) [rad] with its tool (ticks, 3) [m].

    Within the limits this is the limits. For an arm that started outside they shrink as it comes
    in, and what is yet to be braked through stays within them.
    """
    return _Bounds(
        np.minimum(arm.joint_lower_rad, path.min(0)),
        np.maximum(arm.joint_upper_rad, path.max(0)),
        np.minimum(arm.workspace_lower_m - WORKSPACE_SLACK_M, tool.min(0)),
        np.maximum(arm.workspace_upper_m + WORKSPACE_SLACK_M, tool.max(0)),
    )
