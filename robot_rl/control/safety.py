"""The last word before a command leaves: a pure filter, in the env and again in the arm bridge.

command:   camera, arm → observe → policy (base + residual) → decode → **safety** → send

It only ever shortens a motion, towards the previous command, and says which limit acted. It has
no switch: every limit comes from the `ArmSpec`, which cannot be built without them.
"""

from typing import NamedTuple

import numpy as np

from robot_rl.control.kinematics import forward
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.types import F64, ArmSpec, Command, RobotSpec

__all__ = ["WORKSPACE_SLACK_M", "SafetyFilter", "SafetyFlags"]

_ROUNDING = 1e-9  # share by which a limit may seem passed only because floats round
WORKSPACE_SLACK_M = 1e-3  # IK lands within a tenth of this of the box's face
_BISECTIONS = 12  # leaves the tool within 1/4096 of the motion from the box's face


class SafetyFlags(NamedTuple):
    """Which limits acted; each bool, or an array of bool (...,) in a batch."""

    joint_limit: np.ndarray | bool
    velocity_limit: np.ndarray | bool
    workspace: np.ndarray | bool
    gripper_limit: np.ndarray | bool


class SafetyFilter:
    """Limits of one robot for commands sent every `period_s`.

    Filtering twice changes nothing more. A robot that already stands outside a limit may move
    inwards or stay, never further out.
    """

    def __init__(self, spec: RobotSpec, *, period_s: float) -> None:
        if not (np.isfinite(period_s) and period_s > 0):
            raise ConfigError(f"safety: period_s is {period_s}, but must be positive.")
        self._dof, self._num_grippers = spec.dof, spec.num_grippers
        self._arms: list[tuple[slice, ArmSpec, F64]] = []
        joint = 0
        for arm in spec.arms:
            step = np.asarray(arm.joint_velocity_limit_rad_s, np.float64) * period_s
            if not (step > 0).all():
                raise ConfigError(
                    f"arm '{arm.name}': joint_velocity_limit_rad_s is "
                    f"{arm.joint_velocity_limit_rad_s}, but must be positive."
                )
            self._arms.append((slice(joint, joint + arm.dof), arm, step))
            joint += arm.dof
        widths = [arm.gripper.max_width_m for arm in spec.arms if arm.gripper is not None]
        self._max_width_m = np.array(widths)

    def filter(self, command: Command, previous: Command) -> tuple[Command, SafetyFlags]:
        """The command nearest to `command` on the way from `previous` that keeps all limits.

        Raises:
            NonFiniteError: A number is NaN or infinite: there is no nearest safe command.
            ShapeError: The command is of another robot.
        """
        q, gripper, flags = self.filter_batch(
            command.q_rad, command.gripper_m, previous.q_rad, previous.gripper_m
        )
        done = SafetyFlags(*(bool(flag) for flag in flags))
        return Command(q_rad=q, gripper_m=gripper, stamp_s=command.stamp_s), done

    def filter_batch(
        self, q_rad: F64, gripper_m: F64, q_previous: F64, gripper_previous: F64
    ) -> tuple[F64, F64, SafetyFlags]:
        """As `filter`, for joints (..., dof) and grippers (..., num_grippers), new arrays.

        Raises:
            NonFiniteError: A number is NaN or infinite.
            ShapeError: The arrays are of another robot.
        """
        for name, value, width in (
            ("joint target", q_rad, self._dof),
            ("gripper target", gripper_m, self._num_grippers),
            ("previous joint target", q_previous, self._dof),
            ("previous gripper target", gripper_previous, self._num_grippers),
        ):
            if value.shape[-1:] != (width,):
                raise ShapeError(f"safety: {name}", value.shape, (*value.shape[:-1], width))
            if not np.isfinite(value).all():
                raise NonFiniteError(f"safety: {name}", value, "Stop, and hold the arm.")
        out = np.array(q_rad, np.float64)
        limited = too_fast = outside = np.zeros(out.shape[:-1], bool)
        for joints, arm, step in self._arms:
            before = q_previous[..., joints]
            out[..., joints], acted = _filter_arm(arm, step, out[..., joints], before)
            limited, too_fast, outside = (
                limited | acted[0],
                too_fast | acted[1],
                outside | acted[2],
            )
        width = np.minimum(np.maximum(gripper_m, 0.0), self._max_width_m)
        return out, width, SafetyFlags(limited, too_fast, outside, (width != gripper_m).any(-1))


def _filter_arm(
    arm: ArmSpec, step: F64, q: F64, previous: F64
) -> tuple[F64, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Joint target (..., n) of one arm within all limits, and which of the three acted (...,)."""
    lower = np.minimum(arm.joint_lower_rad, previous)
    upper = np.maximum(arm.joint_upper_rad, previous)
    inside = np.minimum(np.maximum(q, lower), upper)
    limited = (inside != q).any(-1)

    # All joints slow down alike, so that the tool keeps its path.
    motion = inside - previous
    excess = (np.abs(motion) / step).max(-1)
    too_fast = excess > 1.0 + _ROUNDING
    if too_fast.any():
        motion = motion / np.where(too_fast, excess, 1.0)[..., None]
        slowed = previous + motion
        inside = np.where(too_fast[..., None], slowed, inside)

    outside = ~_is_in_workspace(arm, inside, previous)
    if outside.any():
        share = np.where(outside, _share_inside(arm, previous, motion), 1.0)[..., None]
        inside = np.where(outside[..., None], previous + share * motion, inside)
    return inside, (limited, too_fast, outside)


def _is_in_workspace(arm: ArmSpec, q: F64, previous: F64) -> np.ndarray:
    """Whether the tool (...,) is in the box, or at least no further out than it stood."""
    tool = forward(arm, q)[..., :3, 3]
    lower = arm.workspace_lower_m - WORKSPACE_SLACK_M
    upper = arm.workspace_upper_m + WORKSPACE_SLACK_M
    inside = np.asarray(((tool >= lower) & (tool <= upper)).all(-1))
    if inside.all():
        return inside
    stood = forward(arm, previous)[..., :3, 3]
    lower, upper = np.minimum(lower, stood), np.maximum(upper, stood)
    return np.asarray(((tool >= lower) & (tool <= upper)).all(-1))


def _share_inside(arm: ArmSpec, previous: F64, motion: F64) -> F64:
    """Largest share (...,) of a motion that stays in the box, by bisection from below."""
    low, high = np.zeros(motion.shape[:-1]), np.ones(motion.shape[:-1])
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        good = _is_in_workspace(arm, previous + middle[..., None] * motion, previous)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return low
