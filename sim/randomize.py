"""Twins drawn from what is believed of the robot: a prior, a posterior, or random forces.

motion → measurement → parameters → fit → posterior → **twins drawn from it**

A `RandomizedTwin` is a task like any other, for `SimPort` and `BatchedTwin` alike; what it draws
comes from the seed of the episode, after whatever the task itself draws.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import mujoco
import numpy as np

from robot_rl.env.task import Task
from robot_rl.errors import ConfigError
from robot_rl.types import F32, F64, RobotSpec, RobotState
from sim.identify.parameters import ParameterSet
from sim.twin import FORCE_TICKS, Start, Twin

__all__ = ["Belief", "Exactly", "RandomForces", "RandomizedTwin", "Uniform", "parameters_of"]

_TICKS_A_SECOND = 100


class Belief(Protocol):
    """A distribution over parameters: `Uniform`, `Exactly` or a `Posterior` of a fit."""

    @property
    def parameters(self) -> ParameterSet:
        """What it is a distribution of."""
        ...

    def sample(self, n: int, rng: np.random.Generator) -> F64:
        """(n, p) values [SI]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Uniform:
    """Between the bounds, uniform in coordinates: what is believed before measuring."""

    parameters: ParameterSet

    def sample(self, n: int, rng: np.random.Generator) -> F64:
        """See `Belief.sample`."""
        return self.parameters.sample_prior(n, rng)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exactly:
    """One twin, believed without doubt."""

    parameters: ParameterSet
    values: F64  # (p,)

    def sample(self, n: int, rng: np.random.Generator) -> F64:
        """See `Belief.sample`."""
        return np.tile(self.values, (n, 1))


@dataclass(frozen=True, kw_only=True)
class RandomForces:
    """Pushes from anywhere, anew ten times a second: a baseline that needs no parameters.

    Ref: Valassakis et al. 2020, "Crossing the gap", random force injection.
    """

    force_n: Mapping[str, float]
    """Greatest force along each axis, by the name of the body."""
    duration_s: float = 5.0
    """How long; the last force acts on."""

    def __post_init__(self) -> None:
        """Refuse forces that pull the wrong way or never begin."""
        wrong = {name: force for name, force in self.force_n.items() if not force >= 0}
        if wrong or not self.duration_s > 0:
            raise ConfigError(
                f"random forces are {dict(self.force_n)} N for {self.duration_s} s, "
                "but must be >= 0 N and > 0 s."
            )

    def draw(self, rng: np.random.Generator) -> dict[str, F64]:
        """(k, 3) [N] a body, level: a force upwards would lift what lies on a table."""
        rows = max(1, round(self.duration_s * _TICKS_A_SECOND / FORCE_TICKS))
        level = np.array([1.0, 1.0, 0.0])
        return {
            name: force * level * rng.uniform(-1, 1, (rows, 3))
            for name, force in self.force_n.items()
        }


class RandomizedTwin:
    """A task whose twin is drawn anew from a belief in every episode.

    Args:
        twin: The task.
        belief: What its parameters are drawn from; their nominal values are in place before.
        forces: Random forces to inject as well.
    """

    def __init__(self, twin: Twin, belief: Belief, *, forces: RandomForces | None = None) -> None:
        self.twin, self.belief, self.forces = twin, belief, forces
        self.parameters = belief.parameters

    @property
    def robot(self) -> RobotSpec:
        """See `Twin.robot`."""
        return self.twin.robot

    @property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.twin.task

    @property
    def expert(self) -> Callable[[RobotState], F32]:
        """See `Twin.expert`."""
        return self.twin.expert

    def build(self) -> mujoco.MjSpec:
        """The scene, ready to have its parameters varied."""
        spec = self.twin.build()
        self.parameters.prepare(spec)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """The task's own start, with parameters and forces."""
        start = self.twin.draw(rng)
        values = self.belief.sample(1, rng)[0]
        forces = self.forces.draw(rng) if self.forces else {}
        return replace(start, values=values, forces_n=forces)


def parameters_of(twin: Twin) -> ParameterSet | None:
    """The parameters that starts of this twin carry values of; None if it has none."""
    return twin.parameters if isinstance(twin, RandomizedTwin) else None
