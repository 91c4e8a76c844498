"""What makes a robot's motion a task: horizon, rate, observation, success. Knows no simulator.

Success is computed from `RobotState` alone, so that the same predicate runs in the twin and on a
robot with pose tracking; where there is none, a human label or a reward model takes its place.
"""

from collections.abc import Callable
from dataclasses import dataclass

from robot_rl.env.state_fields import StateField, check_fields
from robot_rl.errors import ConfigError
from robot_rl.types import F32, RobotState

__all__ = ["Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One skill to learn, as frozen data and two pure functions of the robot's state.

    Attributes:
        name: The word a user types, as in `robot-rl train --env peg`.
        instruction: What a person would say; reward models read it.
        control_hz: Rate of policy steps.
        horizon: Steps after which an episode is truncated (time-out, not failure: bootstrapped).
        hold_s: How long `achieved` must hold without a break to count as success.
        action_mode: "ee_delta" (position, rotation vector, gripper an arm) or "joint_delta".
        features: State observation, float32 (k,), of privileged or tracked state.
        feature_dim: k.
        achieved: Whether the goal holds at this instant.
        translation_step_m, rotation_step_rad, joint_step_rad: Motion of an action of 1.
        use_rotation, use_gripper: Whether these action dimensions exist.
        fields: What `features` are, number by number; () if nobody has said.
    """

    name: str
    instruction: str
    control_hz: float
    horizon: int
    hold_s: float
    features: Callable[[RobotState], F32]
    feature_dim: int
    achieved: Callable[[RobotState], bool]
    action_mode: str = "ee_delta"
    translation_step_m: float = 0.02
    rotation_step_rad: float = 0.1
    joint_step_rad: float = 0.05
    use_rotation: bool = True
    use_gripper: bool = True
    fields: tuple[StateField, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a task that cannot be run."""
        if self.action_mode not in ("ee_delta", "joint_delta"):
            raise ConfigError(
                f"task '{self.name}': action_mode is '{self.action_mode}', "
                "but must be 'ee_delta' or 'joint_delta'."
            )
        if self.horizon < 1 or self.control_hz <= 0 or self.hold_s < 0:
            raise ConfigError(
                f"task '{self.name}': horizon {self.horizon} must be >= 1, control_hz "
                f"{self.control_hz} > 0 and hold_s {self.hold_s} >= 0."
            )
        if self.fields:
            check_fields(f"task '{self.name}'", self.fields, self.feature_dim)
