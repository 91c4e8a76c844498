"""The default base: an ensemble of small chunked networks, each fitted on its own resampling.

command:   camera, arm → observe → **base: M proposals, their mean** → + residual → decode → safety

The mean of the members acts; their spread says how well the demonstrations settle what to do here,
and the single proposals are what a critic can choose among without leaving the demonstrations.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from robot_rl.errors import CheckpointError, NonFiniteError, ShapeError
from robot_rl.policy.base import Observation
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.policy.stacked import StackedMLP
from robot_rl.types import F32

__all__ = ["ChunkEnsemble"]


class ChunkEnsemble:
    """M chunked MLPs on the state; M = 1 is the plain chunked MLP. Cameras are not looked at.

    Attributes:
        net: The M networks, from a z-scored state (d,) to a unit chunk (chunk * a,).
        norm: The scaling that they were fitted under.
    """

    kind: ClassVar[str] = "mlp"

    def __init__(self, net: StackedMLP, norm: Normaliser, chunk: int) -> None:
        sizes = (norm.state_dim, chunk * norm.action_dim)
        if (net.sizes[0], net.sizes[-1]) != sizes:
            raise ShapeError("ensemble: network", (net.sizes[0], net.sizes[-1]), sizes)
        self.net = net
        self.norm = norm
        self._chunk = chunk

    @classmethod
    def fresh(
        cls, norm: Normaliser, *, chunk: int, members: int, hidden: tuple[int, ...], seed: int
    ) -> "ChunkEnsemble":
        """An untrained ensemble with hidden layers of these widths."""
        sizes = (norm.state_dim, *hidden, chunk * norm.action_dim)
        return cls(StackedMLP(members, sizes, layer_norm=False, seed=seed), norm, chunk)

    @property
    def chunk(self) -> int:
        """Actions that one plan holds; all are executed."""
        return self._chunk

    @property
    def members(self) -> int:
        """Number M of networks."""
        return self.net.num

    @property
    def action_dim(self) -> int:
        """Size a of an action."""
        return self.norm.action_dim

    def reset(self) -> None:
        """Nothing is remembered between plans."""

    def propose(self, obs: Observation) -> F32:
        """The plan of each member, (M, chunk, a).

        Raises:
            ShapeError: The observation is not what the ensemble was trained on.
            NonFiniteError: The observation or a plan holds NaN or infinity.
        """
        unit = self.net.act(self.norm.state(state_vector(obs, self.norm.state_dim)))
        return self._plans(unit)

    def propose_batch(self, states: F32) -> F32:
        """The plans of all members for many states (B, d), as (M, B, chunk, a).

        Raises:
            ShapeError: The states are not what the ensemble was trained on.
            NonFiniteError: A state or a plan holds NaN or infinity.
        """
        if states.ndim != 2 or states.shape[1] != self.norm.state_dim:
            raise ShapeError("observations: state", states.shape, (-1, self.norm.state_dim))
        scaled = torch.from_numpy(np.ascontiguousarray(self.norm.state(states), np.float32))
        return self._plans(self.net.forward(scaled).numpy())

    def act(self, obs: Observation) -> F32:
        """The mean plan (chunk, a); see `propose` for what it raises."""
        return self.propose(obs).mean(0)

    def act_batch(self, states: F32) -> F32:
        """The mean plans (B, chunk, a) for many states (B, d); see `propose_batch`."""
        return self.propose_batch(states).mean(0)

    def _plans(self, unit: F32) -> F32:
        """Unit outputs (..., chunk * a) as plans (..., chunk, a) in the env's units."""
        plans = self.norm.from_unit(
            unit.reshape(*unit.shape[:-1], self._chunk, self.norm.action_dim)
        )
        if not np.isfinite(plans).all():
            raise NonFiniteError("ensemble: plan", "NaN or inf", "Train the policy again.")
        return plans

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able."""
        return {
            "chunk": self._chunk,
            "members": self.net.num,
            "hidden": list(self.net.sizes[1:-1]),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the policy by name."""
        return {"flat": self.net.flat.numpy().copy(), **self.norm.arrays()}

    @classmethod
    def restore(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "ChunkEnsemble":
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        policy = cls.fresh(
            Normaliser.from_arrays(arrays),
            chunk=config["chunk"],
            members=config["members"],
            hidden=tuple(config["hidden"]),
            seed=0,
        )
        flat = torch.from_numpy(np.array(arrays["flat"]))
        if flat.shape != policy.net.flat.shape:
            raise CheckpointError(
                f"ensemble: {flat.numel()} weights, but members {config['members']} of hidden "
                f"{config['hidden']} have {policy.net.flat.numel()}. Save the policy again."
            )
        policy.net.flat.copy_(flat)
        return policy
