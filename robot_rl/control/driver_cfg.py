"""How an arm's driver is spoken to: topics, kinds of command, and what a gripper's numbers mean.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from robot_rl.errors import ConfigError

__all__ = ["CommandCfg", "DriverCfg", "GripperDriverCfg"]


@dataclass(frozen=True, kw_only=True)
class CommandCfg:
    """Where joint commands go."""

    kind: Literal["forward_position", "joint_trajectory", "target_joint", "target_pose"]
    """forward_position: Float64MultiArray of the joints; arms with one topic share one message,
    in the order of the file. joint_trajectory: one point for a JointTrajectoryController, also
    UR's scaled one. target_joint, target_pose: JointState and PoseStamped of crisp_controllers."""
    topic: str
    """Relative to the robot's namespace."""
    lead_s: float | None = None
    """joint_trajectory only: how far ahead of now its point lies; two to five periods."""
    frame_id: str | None = None
    """target_pose only: frame of the arm's base."""

    def __post_init__(self) -> None:
        """Refuse an option that its kind does not read, and one missing that it does."""
        for name, kind in (("lead_s", "joint_trajectory"), ("frame_id", "target_pose")):
            value = getattr(self, name)
            if (value is not None) != (self.kind == kind):
                raise ConfigError(
                    f"driver.command: {name} is {value} for kind '{self.kind}', but must be "
                    f"given for '{kind}', and only there."
                )
        if self.lead_s is not None and not 0 < self.lead_s <= 1:
            raise ConfigError(
                f"driver.command: lead_s is {self.lead_s}, but must be above 0 and at most 1."
            )


@dataclass(frozen=True, kw_only=True)
class GripperDriverCfg:
    """Where gripper commands go, and how its joints give the opening between the fingers."""

    kind: Literal["position", "joint_state", "joint_trajectory", "trigger", "gripper_command"]
    """position: Float64MultiArray, arms with one topic share one message. joint_state,
    joint_trajectory: those messages. trigger: two std_srvs/Trigger services. gripper_command:
    control_msgs/GripperCommand action."""
    state_topic: str
    """JointState with the gripper's joints."""
    state_joints: tuple[str, ...]
    """Its joints there; their openings add up."""
    state_closed: float
    """Position of each joint, in the driver's unit, when closed."""
    state_m_per_unit: float
    """Opening for one unit of one joint away from closed; negative if it closes upwards."""
    topic: str | None = None
    """Of position, joint_state and joint_trajectory; for gripper_command the action."""
    open_service: str | None = None
    """trigger only."""
    close_service: str | None = None
    """trigger only."""
    command_joints: tuple[str, ...] = ()
    """joint_state and joint_trajectory only: the joints to command, each its share."""
    command_closed: float = 0.0
    """Commanded position when closed, in the driver's unit."""
    command_m_per_unit: float = 1.0
    """Opening for one unit of command."""
    lead_s: float | None = None
    """joint_trajectory only: how far ahead of now its point lies."""
    max_effort_n: float | None = None
    """gripper_command only."""
    change_m: float = 0.0005
    """Smaller changes are not sent."""

    def __post_init__(self) -> None:
        """Refuse what a kind does not read, and what is missing that it does."""
        named = {"joint_state", "joint_trajectory"}
        for name, kinds in (
            ("topic", {"position", "gripper_command"} | named),
            ("open_service", {"trigger"}),
            ("close_service", {"trigger"}),
            ("command_joints", named),
            ("lead_s", {"joint_trajectory"}),
            ("max_effort_n", {"gripper_command"}),
        ):
            value = getattr(self, name)
            if bool(value) != (self.kind in kinds):
                raise ConfigError(
                    f"driver.gripper: {name} is {value!r} for kind '{self.kind}', but must be "
                    f"given for {', '.join(sorted(kinds))}, and only there."
                )
        if not self.state_joints:
            raise ConfigError("driver.gripper: state_joints is empty. Name one joint at least.")
        if self.state_m_per_unit == 0 or self.command_m_per_unit == 0 or self.change_m < 0:
            raise ConfigError(
                "driver.gripper: state_m_per_unit and command_m_per_unit must not be 0, and "
                "change_m not negative."
            )

    def width_m(self, positions: Sequence[float]) -> float:
        """Opening [m] from the positions of `state_joints` in the driver's unit."""
        return sum((p - self.state_closed) * self.state_m_per_unit for p in positions)

    def command_value(self, width_m: float) -> float:
        """What the driver is told for an opening [m], in its own unit."""
        return self.command_closed + width_m / self.command_m_per_unit


@dataclass(frozen=True, kw_only=True)
class DriverCfg:
    """The topics of one arm and its gripper."""

    joint_states: str
    """JointState topic with the arm's joints, by the names of `joint_names`."""
    command: CommandCfg
    gripper: GripperDriverCfg | None
