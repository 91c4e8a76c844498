"""The choice in action: of an ensemble's proposals, the chunk that a critic likes best.

command:   camera, arm → observe → **policy: the best of its proposals** → decode → safety → send

`ChunkCritic` is the pure acting part of the critic that learns (`learn/chooser.py`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from robot_rl.policy.base import Observation
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.module_arrays import load_flat
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.policy.saved import Arrays, under
from robot_rl.policy.stacked import StackedMLP
from robot_rl.types import F32

__all__ = ["ChosenPolicy", "ChunkCritic", "Proposer"]


class Proposer:
    """Turns the plans of an ensemble's members into proposals: their mean, and means of halves.

    A single member acts clearly worse than the mean of all; the mean of half of them hardly does,
    and halves still differ. Which members make a half never changes.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def propose(self, plans: F32) -> F32:
        """Proposals (count, ...) from the members' plans (M, ...), within [-1, 1]."""
        members = len(plans)
        half = (members + 1) // 2
        rng = np.random.default_rng(members)
        weight = np.zeros((self.count, members), np.float32)
        weight[0] = 1 / members
        for row in weight[1:]:
            row[rng.choice(members, half, replace=False)] = 1 / half
        return np.clip(np.tensordot(weight, plans, 1), -1, 1)


class ChunkCritic:
    """Q(state, chunk) by an ensemble of networks."""

    def __init__(
        self, norm: Normaliser, *, chunk: int, critics: int, width: int, seed: int
    ) -> None:
        self.norm, self.chunk = norm, chunk
        sizes = (norm.state_dim + chunk * norm.action_dim, width, width, 1)
        self.critic = StackedMLP(critics, sizes, layer_norm=True, seed=seed)

    def value(self, states: F32, chunks: F32) -> F32:
        """Mean value (B,) of chunks (B, chunk, a) at states (B, d)."""
        return self.critic.forward(self._input(states, chunks)).mean(0)[:, 0].numpy()

    def _input(self, states: F32, chunks: F32) -> Tensor:
        """Network input for states (B, d) and chunks (B, chunk, a)."""
        z = np.clip(self.norm.state(states), -10, 10)
        unit = self.norm.to_unit(chunks).reshape(len(chunks), -1)
        return torch.from_numpy(np.concatenate([z, unit], -1, dtype=np.float32))


class ChosenPolicy:
    """A base policy that acts by the ensemble's proposal which the critic likes best.

    Args:
        ensemble: Whose members plan.
        critic: Who chooses.
        proposer: What is made of the members' plans to choose among.
        every: Actions of a plan that are executed before the next choice.
        explore: Share of chunks that a random proposal fills.
        rng: Of the exploration.
    """

    kind: ClassVar[str] = "chosen"

    def __init__(
        self,
        ensemble: ChunkEnsemble,
        critic: ChunkCritic,
        proposer: Proposer,
        *,
        every: int,
        explore: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._ensemble, self._critic, self._explore = ensemble, critic, explore
        self._proposer, self._every = proposer, min(every, ensemble.chunk)
        self._rng = rng or np.random.default_rng(0)

    @property
    def chunk(self) -> int:
        """Actions executed before the next choice."""
        return self._every

    def reset(self) -> None:
        """Nothing is remembered between plans."""

    def act(self, obs: Observation) -> F32:
        """The preferred proposal's start (every, a); see `ChunkEnsemble.propose` for errors."""
        plans = self._proposer.propose(self._ensemble.propose(obs))
        if self._explore and self._rng.random() < self._explore:
            return plans[self._rng.integers(len(plans))][: self._every]
        state = state_vector(obs, self._ensemble.norm.state_dim)
        value = self._critic.value(np.repeat(state[None], len(plans), 0), plans)
        return plans[int(value.argmax())][: self._every]

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able."""
        net = self._critic.critic
        return {
            "ensemble": self._ensemble.config(),
            "critics": net.num,
            "width": net.sizes[1],
            "proposals": self._proposer.count,
            "every": self._every,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the policy by name."""
        ensemble = {f"ensemble.{k}": v for k, v in self._ensemble.arrays().items()}
        critic = {f"critic.{k}": v for k, v in self._critic.norm.arrays().items()}
        return {**ensemble, **critic, "critic.flat": self._critic.critic.flat.numpy().copy()}

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Arrays) -> "ChosenPolicy":
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        ensemble = ChunkEnsemble.restore(config["ensemble"], under("ensemble.", arrays))
        critic = ChunkCritic(
            Normaliser.from_arrays(under("critic.", arrays)),
            chunk=ensemble.chunk,
            critics=config["critics"],
            width=config["width"],
            seed=0,
        )
        load_flat(critic.critic, arrays["critic.flat"])
        return cls(ensemble, critic, Proposer(config["proposals"]), every=config["every"])
