"""What TD3 and SAC share: an ensemble of critics that score the executed sum, and its targets.

learning:  replay → **residual agent: critic ensemble** → actor → weights → policy

The ensemble and random-subset targets of REDQ (Chen et al. 2021, arXiv 2101.05982), with LayerNorm
critics as in RLPD (Ball et al. 2023, arXiv 2302.02948). How the actor explores, what a target is
and how the actor climbs is the algorithm's own: `td3.py`, `sac.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import ConfigError
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.residual import ActorForm, ResidualActor
from robot_rl.policy.stacked import StackedMLP
from robot_rl.replay.buffer import Batch
from robot_rl.types import F32

__all__ = ["ActorCritic", "ActorCriticCfg", "Conservatism", "Learned"]


@dataclass(frozen=True, kw_only=True)
class ActorCriticCfg(ActorForm):
    """What the residual agent sees, its critics, and how fast it learns."""

    subset: int = 2
    """Random critics whose minimum makes a target."""
    critic_lr: float = 3e-4
    """Learning rate of the critics."""
    actor_lr: float = 1e-4
    """Learning rate of the actor."""
    actor_every: int = 4
    """Critic updates for each actor update."""
    tau: float = 0.005
    """Share by which the target networks follow at each update."""
    max_grad_norm: float = 1.0
    """Longest gradient of critics, and of the actor."""
    zero_init: bool = True
    """Start with a residual of exactly zero."""

    def __post_init__(self) -> None:
        """Refuse an ensemble that has no subset, and rates that are not positive."""
        if not 1 <= self.subset <= self.critics:
            raise ConfigError(f"agent: subset is {self.subset}, but must be in 1..{self.critics}.")
        if min(self.critic_lr, self.actor_lr, self.tau, self.max_grad_norm) <= 0:
            raise ConfigError(
                "agent: critic_lr, actor_lr, tau and max_grad_norm must be positive."
            )


class Learned(Protocol):
    """Something with tensors that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all tensors, by name."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue bit for bit from what `state_dict` returned."""
        ...


class Conservatism(Protocol):
    """A term beside the squared error that keeps the critics humble off the data."""

    def gather(self, agent: "ActorCritic[Any]", batch: Batch) -> Mapping[str, float]:
        """Add the term's gradient to that of the agent's critics; returns metrics."""
        ...


Cfg = TypeVar("Cfg", bound=ActorCriticCfg)


class ActorCritic(ResidualActor, ABC, Generic[Cfg]):
    """Actor, critics and their targets. Actions are in the env's units, within [-1, 1].

    Attributes:
        scale: Largest residual, in units of half the demonstrated action range.
        bounds: Smallest and largest return that the reward allows; (0, 1) for a sparse success.
        conservatism: What is added to the critics' loss, if anything; see `calql.py`.
        updates: Critic updates so far.
        pull: Weight of the pull of the residual to zero; 0 where the algorithm has none.
    """

    pull: float = 0.0

    def __init__(
        self, cfg: Cfg, norm: Normaliser, *, scale: float, seed: int, gaussian: bool = False
    ) -> None:
        super().__init__(
            cfg, norm, scale=scale, seed=seed, zero_init=cfg.zero_init, gaussian=gaussian
        )
        self.cfg = cfg
        self.target_critic = self.critic.clone()
        self.rng = np.random.default_rng((seed, 3))
        self.bounds: tuple[float, float] = (-np.inf, np.inf)
        self.conservatism: Conservatism | None = None
        self.updates = 0

    @abstractmethod
    def act(self, state: F32, base: F32, phase: float, *, explore: bool) -> F32:
        """The action (a,) to request for one state (d,), base action (a,) and phase."""

    def update(self, batch: Batch) -> dict[str, float]:
        """One critic update, and an actor update every `actor_every`-th time; returns metrics."""
        metrics = self.update_critic(batch)
        self.updates += 1
        if self.updates % self.cfg.actor_every == 0:
            metrics |= self.update_actor(batch)
        self.target_critic.follow(self.critic, self.cfg.tau)
        return metrics

    def update_critic(self, batch: Batch) -> dict[str, float]:
        """Regress every critic, each for itself, on the same targets."""
        target = self._target(batch)
        q = self.critic.forward(self.at_executed(batch), keep=True)
        error = q - torch.from_numpy(target)[None, :, None]
        self.critic.backward(error * (2.0 / len(target)))
        metrics = {
            "td_error": float(error.square().mean()),
            "q": float(q.mean()),
            "q_spread": float(q.std(0).mean()),
            "target": float(target.mean()),
        }
        if self.conservatism is not None:
            metrics |= self.conservatism.gather(self, batch)
        norm = self.critic.step(self.cfg.critic_lr, max_norm=self.cfg.max_grad_norm)
        return metrics | {"critic_grad": norm}

    @abstractmethod
    def _target(self, batch: Batch) -> F32:
        """What the critics should say (B,)."""

    @abstractmethod
    def update_actor(self, batch: Batch) -> dict[str, float]:
        """One step of the actor; returns metrics."""

    @abstractmethod
    def sample(self, batch: Batch) -> tuple[F32, F32]:
        """A unit residual (B, a) at each row as it would be explored, and its log density (B,)."""

    def at(self, batch: Batch, units: F32) -> Tensor:
        """What the critics read (n * B, s + a) for n unit residuals (n, B, a) at each row."""
        count = len(units)
        seen = self._see(batch.state, batch.base, batch.phase)
        actions = self._sum(batch.base, units).reshape(-1, units.shape[-1])
        return self._with(torch.from_numpy(np.tile(seen, (count, 1))), actions)

    def at_executed(self, batch: Batch) -> Tensor:
        """What the critics read (B, s + a) for the actions that were executed."""
        seen = self._see(batch.state, batch.base, batch.phase)
        return self._with(torch.from_numpy(seen), batch.executed)

    def _subset_value(self, seen: F32, action: F32) -> F32:
        """The least (B,) of a random subset of the target critics."""
        members = self.rng.choice(self.cfg.critics, self.cfg.subset, replace=False)
        x = self._with(torch.from_numpy(seen), action)
        return self.target_critic.forward(x, members=members.tolist()).amin(0)[:, 0].numpy()

    def _climb(self, seen: Tensor, base: F32, unit: Tensor) -> tuple[float, Tensor]:
        """The mean of all critics at base + scale · unit, and d (minus it) / d unit (B, a)."""
        action = self._sum(base, unit.numpy())
        q = self.critic.forward(self._with(seen, action), keep=True)
        descent = torch.full_like(q, -1.0 / q.numel())
        slope = self.critic.backward(
            descent, params=False, inputs=slice(-self.norm.action_dim, None)
        )
        assert slope is not None  # inputs were asked for
        moves = torch.from_numpy(np.abs(action) < 1.0)  # a clipped sum does not
        return float(q.mean()), slope * self.scale * moves

    def grow(self, scale: float) -> None:
        """Give the residual more room, and leave what it does now as it is where it is small.

        The actor's last layer shrinks by what the scale grows: without that, a wider bound would
        widen every residual at once, and a policy that worked would have to be learned again.
        """
        for name, network in self.networks().items():
            if name.endswith("actor") and isinstance(network, StackedMLP):
                # Of a Gaussian the mean: its deviation is in shares of the scale, like all noise.
                network.scale_output(self.scale / scale, slice(self.norm.action_dim))
        self.scale = scale

    # Saving -----------------------------------------------------------------------------------

    @abstractmethod
    def networks(self) -> Mapping[str, Learned]:
        """All that is learned, by name."""

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors, by network."""
        return {
            f"{name}.{key}": value
            for name, network in self.networks().items()
            for key, value in network.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            CheckpointError: The tensors are of other networks.
        """
        for name, network in self.networks().items():
            prefix = f"{name}."
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
