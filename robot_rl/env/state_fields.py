"""What each number of the state vector means: name, unit, frame, and a word for people.

command:   camera, arm → **observe** → policy (base + residual) → decode → safety → send

A policy needs none of this. Who reads or writes a rule about the state does: a person, or a
language model that is asked for a reward. Policies see numbers of about 1; a field says how they
become SI again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_rl.control.observe import ObserveCfg
from robot_rl.errors import ConfigError
from robot_rl.types import F64, RobotSpec

__all__ = [
    "DescribedTask",
    "StateField",
    "check_fields",
    "observed_fields",
    "proprioception_fields",
    "variable_name",
]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True)
class StateField:
    """`size` numbers of the state vector that belong together.

    Attributes:
        name: As in `gap_m`; the suffix is the unit.
        size: How many numbers.
        unit: Of the value; "-" for none.
        frame: In which frame it is given; "-" for none.
        meaning: In words.
        scale, offset: value = number * scale + offset; offset is one number or `size` of them.
    """

    name: str
    size: int
    unit: str
    frame: str
    meaning: str
    scale: float = 1.0
    offset: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a variable, and sizes that contradict each other."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"state field '{self.name}' must be called by a-z 0-9 _, starting with a letter."
            )
        offsets = len(self.offset) if isinstance(self.offset, tuple) else self.size
        if self.size < 1 or offsets != self.size:
            raise ConfigError(
                f"state field '{self.name}': size is {self.size} and must be at least 1; offset "
                f"{self.offset} must be one number or as many."
            )

    def values(self, numbers: np.ndarray) -> F64:
        """Numbers (..., size) of the state vector in the field's unit."""
        return np.asarray(numbers, np.float64) * self.scale + np.asarray(self.offset, np.float64)


def variable_name(name: str) -> str:
    """A name from elsewhere (a pose, an arm) as the beginning of a field's name."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"x_{plain}"


class DescribedTask(Protocol):
    """The part of a `Task` that this module reads."""

    @property
    def fields(self) -> tuple[StateField, ...]:
        """What `features` are, or nothing if nobody has said."""
        ...

    @property
    def feature_dim(self) -> int:
        """Length of `features`."""
        ...


def check_fields(where: str, fields: Sequence[StateField], size: int) -> None:
    """Refuse fields that name a thing twice, or are of another length than the vector.

    Raises:
        ConfigError: They do not fit.
    """
    names = [field.name for field in fields]
    total = sum(field.size for field in fields)
    if len(set(names)) != len(names) or total != size:
        raise ConfigError(
            f"{where}: state fields {', '.join(names)} describe {total} numbers, but must "
            f"describe {size}, each under a name of its own."
        )


def proprioception_fields(spec: RobotSpec) -> tuple[StateField, ...]:
    """The parts of `control.observe.proprioception`, in its order."""
    fields = [
        StateField("joints_rad", spec.dof, "rad", "-", "joint angles, arm after arm"),
        StateField("joint_speeds_rad_s", spec.dof, "rad/s", "-", "their velocities"),
    ]
    if spec.num_grippers:
        words = "opening of each gripper"
        fields.append(StateField("openings_m", spec.num_grippers, "m", "-", words))
    for arm in spec.arms:
        name = "tool" if len(spec.arms) == 1 else f"{variable_name(arm.name)}_tool"
        fields += [
            StateField(f"{name}_position_m", 3, "m", "base", f"tool centre point of {arm.name}"),
            StateField(f"{name}_x_axis", 3, "-", "base", "the tool's x axis"),
            StateField(f"{name}_y_axis", 3, "-", "base", "the tool's y axis"),
        ]
    return tuple(fields)


def observed_fields(
    spec: RobotSpec, task: DescribedTask, cfg: ObserveCfg
) -> tuple[StateField, ...]:
    """The whole state vector as `ObservationBuilder` builds it.

    Of stacked frames the last one keeps the plain names; earlier ones say how many steps ago.
    Features that the task does not describe are one field without a meaning.
    """
    frame: list[StateField] = []
    if cfg.pixels or cfg.use_proprioception:
        frame += proprioception_fields(spec)
    if not cfg.pixels and task.feature_dim:
        unknown = StateField("features", task.feature_dim, "?", "?", "not described by the task")
        frame += task.fields or (unknown,)
    stacked = [_earlier(field, ago) for ago in range(cfg.frames - 1, -1, -1) for field in frame]
    if cfg.use_time:
        stacked.append(StateField("time_left", 1, "-", "-", "share of the horizon that is left"))
    return tuple(stacked)


def _earlier(field: StateField, ago: int) -> StateField:
    """The field as it was `ago` steps before."""
    if ago == 0:
        return field
    return StateField(
        f"{field.name}_{ago}_ago",
        field.size,
        field.unit,
        field.frame,
        f"{field.meaning}; {ago} steps before",
        field.scale,
        field.offset,
    )
