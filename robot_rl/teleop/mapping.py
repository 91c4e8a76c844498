"""From what a hand does to an action of the environment, and who drives: hand or policy.

command:   person → device → **mapping** → decode → safety → send

Nothing here can jump: a twist is relative by nature, a leader's joints are followed at a bounded
speed, and hand and policy take over from each other by a ramp.
"""

from dataclasses import dataclass, replace

import numpy as np

from robot_rl.control.decode import ActionDecoder
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, ShapeError
from robot_rl.teleop.devices.device import Sample
from robot_rl.types import F32, F64, Command, RobotSpec

__all__ = ["MappingCfg", "Takeover", "TeleopMapper"]

_HALF_OPEN = 0.5


@dataclass(frozen=True, kw_only=True)
class MappingCfg:
    """How a hand's motion becomes the robot's."""

    speed: float = 1.0
    """Share of a full action that a full deflection asks for."""
    follow_rad_s: float = 0.8
    """Fastest joint motion towards a leader arm; where actions move the tool, `speed` holds."""
    blend_s: float = 0.3
    """How long hand and policy take to take over from each other."""

    def __post_init__(self) -> None:
        """Refuse what would not move, or would jump."""
        if not 0.0 < self.speed <= 1.0:
            raise ConfigError(f"teleop: speed is {self.speed}, but must be in (0, 1].")
        if not (self.follow_rad_s > 0 and self.blend_s > 0):
            raise ConfigError(
                f"teleop: follow_rad_s is {self.follow_rad_s} and blend_s {self.blend_s}, but "
                "both must be positive: nothing may jump."
            )


class TeleopMapper:
    """Samples of a device to actions of one robot and task."""

    def __init__(self, spec: RobotSpec, task: Task, cfg: MappingCfg | None = None) -> None:
        self._spec, self._cfg = spec, cfg or MappingCfg()
        self._decoder = ActionDecoder(spec, task)
        # A hand moves the tool, also where the policy's actions are joints.
        by_tool = replace(task, action_mode="ee_delta", use_rotation=True)
        self._by_tool = ActionDecoder(spec, by_tool)
        self._period_s = 1.0 / task.control_hz
        self._joint_step_rad = task.joint_step_rad
        self._is_ee, self._use_rotation = task.action_mode == "ee_delta", task.use_rotation
        self._max_width_m = np.array(
            [arm.gripper.max_width_m for arm in spec.arms if arm.gripper is not None]
        )
        self._is_width = _widths(self._decoder)
        self._opening = np.ones(spec.num_grippers)

    @property
    def is_width(self) -> np.ndarray:
        """Which numbers of an action (a,) are gripper widths, bool: those are never blended."""
        return self._is_width

    def reset(self, command: Command) -> None:
        """Begin an episode: grippers stay as `command` has them until asked otherwise."""
        self._opening = command.gripper_m / np.maximum(self._max_width_m, 1e-9)

    def hold(self) -> F32:
        """The action (a,) that moves nothing and leaves the grippers as they are."""
        action = np.zeros(self._decoder.action_dim, np.float32)
        action[self._is_width] = 2.0 * self._openings() - 1.0
        return action

    def action(self, sample: Sample, command: Command) -> F32:
        """The action (a,) in [-1, 1] that a sample asks for, from the last `command`.

        Raises:
            ShapeError: The sample is of another robot or task.
        """
        self._grip(sample)
        if sample.action is not None:
            _check("action", sample.action, self._decoder.action_dim)
            return np.clip(sample.action, -1.0, 1.0).astype(np.float32)
        if sample.joints_rad is not None:
            _check("joints", sample.joints_rad, self._spec.dof)
            if self._is_ee:
                towards = self._encoded(command, sample.joints_rad)
                motion = np.clip(towards, -self._cfg.speed, self._cfg.speed)
                return np.where(self._is_width, towards, motion)
            longest_rad = min(self._cfg.follow_rad_s * self._period_s, self._joint_step_rad)
            return self._encoded(
                command, _on_the_way(command.q_rad, sample.joints_rad, longest_rad)
            )
        if self._is_ee:
            return self._moved(sample)
        twist = np.zeros(self._by_tool.action_dim, np.float32)
        twist[_motion_of(self._by_tool, self._spec, sample.arm)] = sample.twist * self._cfg.speed
        wished = self._by_tool.decode_batch(twist, command.q_rad, command.gripper_m)
        return self._encoded(
            command, _on_the_way(command.q_rad, wished.q_rad, self._joint_step_rad)
        )

    def _moved(self, sample: Sample) -> F32:
        """A twist where actions are twists too."""
        action = self.hold()
        share = sample.twist if self._use_rotation else sample.twist[:3]
        action[_motion_of(self._decoder, self._spec, sample.arm)] = share * self._cfg.speed
        return action

    def _encoded(self, command: Command, q_rad: F64) -> F32:
        """The action from a command to joints, with the grippers as wished."""
        action = self._decoder.encode_batch(
            command.q_rad, command.gripper_m, q_rad, command.gripper_m
        )
        action[self._is_width] = 2.0 * self._openings() - 1.0
        return action

    def _grip(self, sample: Sample) -> None:
        """Take a gripper wish up."""
        arms = self._spec.arms
        if not 0 <= sample.arm < len(arms):
            raise ShapeError("device: arm", (sample.arm,), (len(arms),))
        if arms[sample.arm].gripper is None:
            return
        k = sum(arm.gripper is not None for arm in arms[: sample.arm])
        if sample.gripper is not None:
            self._opening[k] = sample.gripper
        if sample.toggles_gripper:
            self._opening[k] = float(self._opening[k] < _HALF_OPEN)

    def _openings(self) -> F64:
        """Wished openings of the grippers that an action sets, in its order."""
        return self._opening[: int(self._is_width.sum())]


class Takeover:
    """Who drives, by a ramp from 0 (policy) to 1 (hand), so that neither way is a jump."""

    def __init__(self, cfg: MappingCfg, *, period_s: float, is_width: np.ndarray) -> None:
        """Ramp once a step of `period_s`; `is_width` (a,) marks what must not be mixed."""
        self._step = period_s / cfg.blend_s
        self._is_width = is_width
        self.share = 0.0

    def reset(self) -> None:
        """The policy drives."""
        self.share = 0.0

    def blend(self, policy: F32, hand: F32 | None, hold: F32) -> tuple[F32, str]:
        """The action (a,) and its control source: policy, blend or human.

        Args:
            policy: (a,) of the policy.
            hand: (a,) of the person, or None while nobody's hand is on the clutch.
            hold: (a,) that moves nothing: stands for the hand while the ramp goes back.
        """
        wished = self.share + (self._step if hand is not None else -self._step)
        self.share = min(max(wished, 0.0), 1.0)
        other = hold if hand is None else hand
        mixed = (1.0 - self.share) * policy + self.share * other
        whole = other if self.share >= _HALF_OPEN else policy
        action = np.where(self._is_width, whole, mixed).astype(np.float32)
        source = "policy" if self.share == 0.0 else "human" if self.share == 1.0 else "blend"
        return action, source


def _widths(decoder: ActionDecoder) -> np.ndarray:
    return np.array([name.endswith(".gripper") for name in decoder.action_names])


def _on_the_way(q_rad: F64, goal_rad: F64, longest_rad: float) -> F64:
    """Joints towards a goal, none further than `longest_rad`; all slow down alike."""
    way = goal_rad - q_rad
    return q_rad + way * min(1.0, longest_rad / max(float(np.abs(way).max()), 1e-9))


def _motion_of(decoder: ActionDecoder, spec: RobotSpec, arm: int) -> np.ndarray:
    """Where one arm's motion stands in an action."""
    prefix = spec.arms[arm].name + "."
    of_arm = np.array([name.startswith(prefix) for name in decoder.action_names])
    return np.flatnonzero(of_arm & ~_widths(decoder))


def _check(name: str, value: F64 | F32, width: int) -> None:
    if value.shape != (width,):
        raise ShapeError(f"device: {name}", value.shape, (width,))
