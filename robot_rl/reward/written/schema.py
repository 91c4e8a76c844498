"""What a written function may read: the state vector as named columns with units.

learning:  episode store → **named columns** → written function → progress model → replay

The schema is shown to the language model, is what its function's arguments must be named after,
and turns recorded numbers into SI. It is saved with the function: a model that is loaded needs
neither the task nor its simulator.
"""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from robot_rl.config import from_plain
from robot_rl.control.observe import ObserveCfg
from robot_rl.env.state_fields import StateField, check_fields, observed_fields
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.types import F64, RobotSpec

__all__ = ["StateSchema", "schema_of"]


@dataclass(frozen=True, kw_only=True)
class StateSchema:
    """A task as a language model is told of it."""

    instruction: str
    """What a person would say."""
    fields: tuple[StateField, ...]
    """The numbers of the state vector, in order."""
    success: str = ""
    """When the task counts as done, in words; "" if nobody has said."""

    def __post_init__(self) -> None:
        """Refuse a state that is nothing, and names that stand twice."""
        if not self.fields:
            raise ConfigError("schema: no fields. Describe the state vector number by number.")
        check_fields("schema", self.fields, self.size)

    @property
    def size(self) -> int:
        """Length of the state vector."""
        return sum(field.size for field in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """What the arguments of a function may be called."""
        return tuple(field.name for field in self.fields)

    def columns(self, vectors: np.ndarray) -> dict[str, F64]:
        """State vectors (n, size) as one array (n, k) a field, in its unit.

        Raises:
            ShapeError: The vectors are of another robot.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise ShapeError("state vectors", vectors.shape, (len(vectors), self.size))
        ends = np.cumsum([field.size for field in self.fields])[:-1]
        parts = np.split(vectors, ends, axis=1)
        return {f.name: f.values(part) for f, part in zip(self.fields, parts, strict=True)}

    def describe(self, begun: np.ndarray, done: np.ndarray) -> str:
        """One line a field, for people and language models.

        Args:
            begun: State vectors (n, size) with which successes began.
            done: Those with which they ended; medians of both say what a success changes.
        """
        before, after, lines = self.columns(begun), self.columns(done), []
        for field in self.fields:
            line = f"{field.name}: float64 (N, {field.size}) [{field.unit}]"
            if field.frame not in ("-", "?"):
                line += f" in {field.frame}"
            line += f", {field.meaning}"
            start, end = (np.median(part[field.name], axis=0) for part in (before, after))
            lines.append(f"{line}; successes begin at {_row(start)} and end at {_row(end)}")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, object]:
        """As JSON knows it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, object]) -> "StateSchema":
        """What `to_plain` gave.

        Raises:
            ConfigError: A field is missing, unknown or of another type.
        """
        return from_plain(cls, data, "schema")


def schema_of(spec: RobotSpec, task: Task, observe: ObserveCfg, size: int) -> StateSchema:
    """What the state vectors of this task on this robot say.

    Args:
        spec: The robot.
        task: What it shall do; the docstring of its `achieved` says when it is done.
        observe: What of the state is recorded.
        size: Length of the vectors that were recorded.

    Raises:
        DataError: The recorded vectors are of another length: of another task, or seen otherwise.
    """
    fields = observed_fields(spec, task, observe)
    total = sum(field.size for field in fields)
    if total != size:
        raise DataError(
            f"the episodes hold state vectors of {size} numbers, but '{task.name}' on "
            f"'{spec.name}' has {total}. Name the task that was recorded, or describe its numbers "
            "in a file of your own."
        )
    words = inspect.cleandoc(getattr(task.achieved, "__doc__", None) or "")
    return StateSchema(instruction=task.instruction, fields=fields, success=words)


def _row(values: F64) -> str:
    """`(0.1, -0.25)`."""
    return f"({', '.join(f'{value:.3g}' for value in values)})"
