"""The base policy as the learner sees it: a black box that answers an observation with a chunk.

command:   camera, arm → observe → **policy (base + residual)** → decode → safety → send

Ours, any callable, a checkpoint of another library, or a server elsewhere: the learner never calls
a base while it updates, because the base action is stored with each transition.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from robot_rl.types import F32, U8

__all__ = ["BasePolicy", "Observation", "ZeroBase"]

Observation = F32 | Mapping[str, F32 | U8]
"""A flat float32 (d,) vector, or a dict with "state" float32 (d,) and cameras uint8 (h, w, 3)."""


@runtime_checkable
class BasePolicy(Protocol):
    """A frozen policy that plans `chunk` actions from one observation."""

    @property
    def chunk(self) -> int:
        """Number of actions that are executed open loop before the next call of `act`."""
        ...

    def reset(self) -> None:
        """Forget the last episode. Called at the start of each, terminated or truncated before."""
        ...

    def act(self, obs: Observation) -> F32:
        """Actions (chunk, action_dim) in the env's own units.

        Raises:
            NonFiniteError: The policy produced NaN or infinity.
        """
        ...


class ZeroBase:
    """No base at all: zero actions, for learning from scratch."""

    def __init__(self, action_dim: int) -> None:
        self._plan = np.zeros((1, action_dim), np.float32)

    @property
    def chunk(self) -> int:
        """One action at a time."""
        return 1

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation) -> F32:
        """A plan (1, a) of zeros."""
        return self._plan
