"""The residual agent: a TD3 actor whose action is added to the base's, and its critic ensemble.

learning:  replay → **residual agent: critic ensemble, actor** → weights → policy

Twin delayed DDPG (Fujimoto et al. 2018, arXiv 1802.09477) with the ensemble and random-subset
targets of REDQ (Chen et al. 2021, arXiv 2101.05982), LayerNorm critics and half of each batch from
demonstrations as in RLPD (Ball et al. 2023, arXiv 2302.02948), on top of a frozen base as in
residual RL (Johannink et al. 2019, arXiv 1812.03201). The critic scores the *executed sum* of base
and residual; the actor sees the state, the base's action and where in the base's chunk it is.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import ConfigError
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.residual import ActorForm, ResidualActor
from robot_rl.policy.stacked import StackedMLP
from robot_rl.replay.buffer import Batch
from robot_rl.types import F32

__all__ = ["TD3", "TD3Cfg"]


@dataclass(frozen=True, kw_only=True)
class TD3Cfg(ActorForm):
    """The residual actor and its critics."""

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
    noise: float = 0.25
    """Exploration noise, in shares of the residual's scale."""
    target_noise: float = 0.25
    """Noise on target actions, in shares of the residual's scale; clipped at twice that."""
    zero_init: bool = True
    """Start with a residual of exactly zero."""

    def __post_init__(self) -> None:
        """Refuse an ensemble that has no subset, and rates that are not positive."""
        if not 1 <= self.subset <= self.critics:
            raise ConfigError(f"td3: subset is {self.subset}, but must be in 1..{self.critics}.")
        if min(self.critic_lr, self.actor_lr, self.tau, self.max_grad_norm) <= 0:
            raise ConfigError("td3: critic_lr, actor_lr, tau and max_grad_norm must be positive.")


class TD3(ResidualActor):
    """Actor, critics and their targets. Actions are in the env's units, within [-1, 1].

    Attributes:
        scale: Largest residual, in units of half the demonstrated action range.
    """

    def __init__(self, cfg: TD3Cfg, norm: Normaliser, *, scale: float, seed: int) -> None:
        super().__init__(cfg, norm, scale=scale, seed=seed, zero_init=cfg.zero_init)
        self.cfg = cfg
        self.target_actor, self.target_critic = self.actor.clone(), self.critic.clone()
        self.rng = np.random.default_rng((seed, 3))
        self._updates = 0

    def act(self, state: F32, base: F32, phase: float, *, explore: bool) -> F32:
        """The action (a,) to request for one state (d,), base action (a,) and phase."""
        noise = None
        if explore:
            noise = self.cfg.noise * self.rng.standard_normal(base.shape)
        return self.request(state, base, phase, noise)

    # Learning ---------------------------------------------------------------------------------

    def update(self, batch: Batch) -> dict[str, float]:
        """One critic update, and an actor update every `actor_every`-th time; returns metrics."""
        metrics = self.update_critic(batch)
        self._updates += 1
        if self._updates % self.cfg.actor_every == 0:
            metrics |= self.update_actor(batch)
        self.target_critic.follow(self.critic, self.cfg.tau)
        return metrics

    def update_critic(self, batch: Batch) -> dict[str, float]:
        """Regress every critic on y = R + γ^k min over a subset of Q'(s', clip(a_b + π' + ε))."""
        target = self._target(batch)
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        q = self.critic.forward(self._with(seen, batch.executed), keep=True)
        error = q - torch.from_numpy(target)[None, :, None]
        self.critic.backward(error * (2.0 / len(target)))
        norm = self.critic.step(self.cfg.critic_lr, max_norm=self.cfg.max_grad_norm)
        return {
            "td_error": float(error.square().mean()),
            "q": float(q.mean()),
            "q_spread": float(q.std(0).mean()),
            "target": float(target.mean()),
            "critic_grad": norm,
        }

    def _target(self, batch: Batch) -> F32:
        cfg = self.cfg
        seen = self._see(batch.next_state, batch.next_base, batch.next_phase)
        unit = np.tanh(self.target_actor.forward(torch.from_numpy(seen))[0].numpy())
        noise = cfg.target_noise * self.rng.standard_normal(unit.shape)
        unit = np.clip(unit + np.clip(noise, -2 * cfg.target_noise, 2 * cfg.target_noise), -1, 1)
        action = self._sum(batch.next_base, unit.astype(np.float32))
        value = self._subset_value(seen, action)
        if cfg.choose:
            value = np.maximum(value, self._subset_value(seen, batch.next_base))
        # A reward of 1 at the end bounds every value: nothing above is ever right.
        return np.clip(batch.reward + batch.discount * value, *self.bounds).astype(np.float32)

    bounds: tuple[float, float] = (-np.inf, np.inf)
    """Smallest and largest value that the reward allows; (0, 1) for a sparse success."""

    def _subset_value(self, seen: F32, action: F32) -> F32:
        members = self.rng.choice(self.cfg.critics, self.cfg.subset, replace=False)
        x = self._with(torch.from_numpy(seen), action)
        return self.target_critic.forward(x, members=members.tolist()).amin(0)[:, 0].numpy()

    def update_actor(self, batch: Batch) -> dict[str, float]:
        """Climb the mean of all critics at clip(a_b + scale · tanh π)."""
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        unit = self.actor.forward(seen, keep=True)[0].tanh()
        action = self._sum(batch.base, unit.numpy())
        q = self.critic.forward(self._with(seen, action), keep=True)
        count = q.numel()
        ascent = torch.full_like(q, -1.0 / count)
        a = self.norm.action_dim
        slope = self.critic.backward(ascent, params=False, inputs=slice(-a, None))
        assert slope is not None  # inputs were asked for
        # d unit action / d actor output; a clipped sum does not move.
        moves = torch.from_numpy(np.abs(action) < 1.0)
        through = (1 - unit.square()) * self.scale * moves
        self.actor.backward((slope * through)[None])
        norm = self.actor.step(self.cfg.actor_lr, max_norm=self.cfg.max_grad_norm)
        self.target_actor.follow(self.actor, self.cfg.tau * self.cfg.actor_every)
        return {
            "actor_q": float(q.mean()),
            "actor_grad": norm,
            "residual_size": float(unit.abs().mean()),
            "residual_saturation": float((unit.abs() > 0.95).float().mean()),
        }

    # Saving -----------------------------------------------------------------------------------

    def _networks(self) -> dict[str, StackedMLP]:
        return {
            "actor": self.actor,
            "critic": self.critic,
            "target_actor": self.target_actor,
            "target_critic": self.target_critic,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors, by network."""
        return {
            f"{name}.{key}": value
            for name, network in self._networks().items()
            for key, value in network.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            CheckpointError: The tensors are of other networks.
        """
        for name, network in self._networks().items():
            prefix = f"{name}."
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )

    @property
    def updates(self) -> int:
        """Critic updates so far."""
        return self._updates

    @updates.setter
    def updates(self, value: int) -> None:
        self._updates = value
