"""One sequence of actions in many believed twins at once: what each of them would have shown.

explore:   **believed twins** → motion → measurement → fit → posterior → task policy
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robot_rl.env.task import Task
from robot_rl.types import F32, F64, RobotState
from sim.batch import BatchedTwin
from sim.explore.channels import Channel, measure, noise
from sim.identify.parameters import ParameterSet
from sim.randomize import RandomizedTwin, Uniform
from sim.twin import Start, Twin

__all__ = ["Rehearsal", "Uninterrupted"]

_ROWS = 128  # simulations at once


class Uninterrupted(RandomizedTwin):
    """A task that neither success nor time ends: a motion is played to its last action."""

    @property
    def task(self) -> Task:
        """The task, with an end that never comes."""
        return replace(super().task, achieved=_never, horizon=1_000_000)


class Rehearsal:
    """Twins of one task that differ in some parameters, and what is measured of them.

    Args:
        twin: The task.
        parameters: What differs.
        channels: What is measured.
        rows: Simulations at once.
    """

    def __init__(
        self,
        twin: Twin,
        parameters: ParameterSet,
        channels: Sequence[Channel],
        *,
        rows: int = _ROWS,
    ) -> None:
        self.twin, self.parameters, self.channels = twin, parameters, tuple(channels)
        self.std = noise(channels, twin.robot.dof)
        """(m,) deviation of each measured number."""
        self._batch = BatchedTwin(Uninterrupted(twin, Uniform(parameters=parameters)), rows)
        self.rollouts = 0
        """Motions simulated so far."""

    def roll(self, start: Start, actions: F32, values: F64) -> F64:
        """Play actions (n, steps, a) in twins with values (n, p), all from one start.

        Returns:
            (n, steps, m): what is measured after each action, without noise.
        """
        rows = self._batch.num_envs
        parts = [
            self._roll(start, actions[first : first + rows], values[first : first + rows])
            for first in range(0, len(values), rows)
        ]
        self.rollouts += len(values)
        return np.concatenate(parts)

    def _roll(self, start: Start, actions: F32, values: F64) -> F64:
        batch, n = self._batch, len(values)
        batch.active[:] = False
        batch.place([replace(start, values=row) for row in values])
        padded = np.zeros((batch.num_envs, actions.shape[-1]), np.float32)
        out = np.empty((n, actions.shape[1], len(self.std)))
        for step in range(actions.shape[1]):
            padded[:n] = actions[:, step]
            batch.step(padded)
            out[:, step] = measure(self.channels, batch.state)[:n]
        return out


def _never(state: RobotState) -> bool:
    """Success of a motion that has none."""
    return np.zeros(np.shape(state.q_rad)[:-1], bool)  # type: ignore[return-value]
