"""A real robot's task as one YAML file: what to do, how far an action moves, what success is.

command:   camera, arm → **observe** → policy (base + residual) → **decode** → safety → send

The tasks of the twin are code, since they draw scenes; a task on a robot draws none. Success is a
signal on the graph: an operator's pedal, a detector, or a reward model says it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_rl.config import from_plain
from robot_rl.control.observe import ObserveCfg
from robot_rl.env.state_fields import StateField, variable_name
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, PortError
from robot_rl.types import F32, RobotState

__all__ = ["SuccessCfg", "TaskFile", "load_task"]

_POSE = 7  # position and quaternion


@dataclass(frozen=True, kw_only=True)
class SuccessCfg:
    """When the goal holds."""

    signal: str = "success"
    """Signal that says so, by its first number."""
    above: float = 0.5
    """It holds while that number is larger."""
    hold_s: float = 0.0
    """For how long without a break."""


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """All that a task file says; names and units are those of `Task`."""

    name: str
    """The word for it."""
    instruction: str
    """What a person would say; reward models read it."""
    control_hz: float
    """Rate of policy steps; 10 to 20 on a robot."""
    horizon: int
    """Steps after which an episode is given up."""
    action_mode: str = "ee_delta"
    """ee_delta or joint_delta."""
    translation_step_m: float = 0.02
    """Motion of the tool for an action of 1."""
    rotation_step_rad: float = 0.1
    """Turn of the tool for an action of 1."""
    joint_step_rad: float = 0.05
    """Motion of a joint for an action of 1, with joint_delta."""
    use_rotation: bool = True
    """Whether actions turn the tool."""
    use_gripper: bool = True
    """Whether actions move the gripper."""
    poses: tuple[str, ...] = ()
    """Tracked poses that the policy sees."""
    signals: Mapping[str, int] = field(default_factory=dict)
    """Signals that the policy sees, and their lengths."""
    success: SuccessCfg = field(default_factory=SuccessCfg)
    """When the goal holds."""
    observe: ObserveCfg = field(default_factory=lambda: ObserveCfg(use_proprioception=True))
    """What of the robot a policy sees; pixels for its cameras."""

    def __post_init__(self) -> None:
        """Refuse a policy that would see nothing, and signals without a length."""
        sees = self.poses or self.signals or self.observe.use_proprioception or self.observe.pixels
        if not sees:
            raise ConfigError(
                f"task '{self.name}' shows nothing to a policy. Give poses, signals, or observe: "
                "use_proprioception or pixels."
            )
        if any(length < 1 for length in self.signals.values()):
            raise ConfigError(
                f"task '{self.name}': signals {dict(self.signals)} must have lengths of 1 or more."
            )

    @property
    def all_signals(self) -> dict[str, int]:
        """Signals that the robot must report: what the policy sees, and success."""
        return {self.success.signal: 1, **self.signals}

    def task(self) -> Task:
        """As the environment takes it.

        Raises:
            ConfigError: A value cannot be run.
        """
        return Task(
            name=self.name,
            instruction=self.instruction,
            control_hz=self.control_hz,
            horizon=self.horizon,
            hold_s=self.success.hold_s,
            features=self._features,
            feature_dim=_POSE * len(self.poses) + sum(self.signals.values()),
            achieved=self._is_achieved,
            action_mode=self.action_mode,
            translation_step_m=self.translation_step_m,
            rotation_step_rad=self.rotation_step_rad,
            joint_step_rad=self.joint_step_rad,
            use_rotation=self.use_rotation,
            use_gripper=self.use_gripper,
            fields=self._fields(),
        )

    def _fields(self) -> tuple[StateField, ...]:
        """What `_features` are; of a signal nobody knows the unit."""
        fields: list[StateField] = []
        for name in self.poses:
            var = variable_name(name)
            fields += [
                StateField(f"{var}_position_m", 3, "m", "world", f"position of {name}"),
                StateField(f"{var}_quaternion", 4, "-", "world", f"turn of {name}, (w, x, y, z)"),
            ]
        for name, size in self.signals.items():
            words = f"the robot's signal '{name}'"
            fields.append(StateField(f"{variable_name(name)}_signal", size, "?", "?", words))
        return tuple(fields)

    def _features(self, state: RobotState) -> F32:
        """Poses and signals (feature_dim,), in the order of the file."""
        parts = [_part(state.poses, "pose", name) for name in self.poses]
        parts += [_part(state.signals, "signal", name) for name in self.signals]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float32)

    def _is_achieved(self, state: RobotState) -> bool:
        """Whether the signal of success is up; a signal that nobody has sent yet is not."""
        value = state.signals.get(self.success.signal)
        return value is not None and bool(np.ravel(value)[0] > self.success.above)


def load_task(path: Path | str) -> TaskFile:
    """Read a task file.

    Raises:
        ConfigError: It cannot be read, a key is unknown or missing, or a value cannot be run.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give a task file."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    try:
        found = from_plain(TaskFile, data, "task")
        found.task()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def _part(values: Mapping[str, Any], kind: str, name: str) -> np.ndarray:
    """One part of what the policy sees."""
    if name not in values:
        raise PortError(
            f"the robot reports no {kind} '{name}'. It reports {sorted(values)}: start what "
            "publishes it, or take it out of the task file."
        )
    return np.ravel(values[name])
