"""A chunked policy that plans again before its chunk is used up: more feedback, less commitment.

command:   camera, arm → observe → **policy: plan a chunk, keep its first actions** → decode → …
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.policy.base import Observation
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.saved import Arrays, under
from robot_rl.types import F32

__all__ = ["Replanned"]


class Replanned:
    """An ensemble's mean plan, cut to its first `every` actions."""

    kind: ClassVar[str] = "replanned"

    def __init__(self, ensemble: ChunkEnsemble, every: int) -> None:
        if every < 1:
            raise ConfigError(f"replanned: every is {every}, but must be at least 1.")
        self.ensemble = ensemble
        self._every = min(every, ensemble.chunk)

    @property
    def chunk(self) -> int:
        """Actions executed before the next plan."""
        return self._every

    def reset(self) -> None:
        """Forget the last episode."""
        self.ensemble.reset()

    def act(self, obs: Observation) -> F32:
        """The first `every` actions (every, a) of the mean plan; raises what the ensemble does."""
        return self.ensemble.act(obs)[: self._every]

    def act_batch(self, states: F32) -> F32:
        """The same (B, every, a) for many states (B, d)."""
        return self.ensemble.act_batch(states)[:, : self._every]

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able."""
        return {"ensemble": self.ensemble.config(), "every": self._every}

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the policy by name."""
        return {f"ensemble.{k}": v for k, v in self.ensemble.arrays().items()}

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Arrays) -> "Replanned":
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        return cls(
            ChunkEnsemble.restore(config["ensemble"], under("ensemble.", arrays)), config["every"]
        )
