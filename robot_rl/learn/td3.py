"""The residual agent: a TD3 actor whose action is added to the base's, and its critic ensemble.

learning:  replay → **residual agent: critic ensemble, actor** → weights → policy

Twin delayed DDPG (Fujimoto et al. 2018, arXiv 1802.09477) on an ensemble of critics, and half of
each batch from demonstrations as in RLPD (Ball et al. 2023, arXiv 2302.02948), on top of a frozen
base as in residual RL (Johannink et al. 2019, arXiv 1812.03201). The critic scores the *executed
sum* of base and residual; the actor sees the state, the base's action and where in the base's
chunk it is.
"""

from dataclasses import dataclass

import numpy as np
import torch

from robot_rl.learn.actor_critic import ActorCritic, ActorCriticCfg
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.stacked import StackedMLP
from robot_rl.replay.buffer import Batch
from robot_rl.types import F32

__all__ = ["TD3", "TD3Cfg"]


@dataclass(frozen=True, kw_only=True)
class TD3Cfg(ActorCriticCfg):
    """The residual actor and its critics."""

    noise: float = 0.25
    """Exploration noise, in shares of the residual's scale."""
    pull: float = 0.0
    """Weight of the pull of the residual to zero, against values between 0 and 1; evidence may
    loosen it (`trust.py`)."""
    target_noise: float = 0.25
    """Noise on target actions, in shares of the residual's scale; clipped at twice that."""


class TD3(ActorCritic[TD3Cfg]):
    """A deterministic actor, explored by noise that is in proportion to the residual's scale."""

    def __init__(self, cfg: TD3Cfg, norm: Normaliser, *, scale: float, seed: int) -> None:
        super().__init__(cfg, norm, scale=scale, seed=seed)
        self.target_actor = self.actor.clone()
        self.pull = cfg.pull

    def act(self, state: F32, base: F32, phase: float, *, explore: bool) -> F32:
        """The action (a,) to request for one state (d,), base action (a,) and phase."""
        noise = None
        if explore:
            noise = self.cfg.noise * self.rng.standard_normal(base.shape)
        return self.request(state, base, phase, noise)

    def _target(self, batch: Batch) -> F32:
        """Targets R + γ^k min over a subset of Q'(s', clip(a_b + π' + ε)) (B,)."""
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

    def update_actor(self, batch: Batch) -> dict[str, float]:
        """Climb mean Q(clip(a_b + scale · u)) − pull · ‖u‖² / a with u = tanh π, over all critics.

        The pull keeps a residual at zero where the critics see no difference worth it: their
        slopes are noise there, and a sum of noise would push to the bound.
        """
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        unit = self.actor.forward(seen, keep=True)[0].tanh()
        q, slope = self._climb(seen, batch.base, unit)
        slope += (2 * self.pull / unit.numel()) * unit
        self.actor.backward((slope * (1 - unit.square()))[None])
        norm = self.actor.step(self.cfg.actor_lr, max_norm=self.cfg.max_grad_norm)
        self.target_actor.follow(self.actor, self.cfg.tau * self.cfg.actor_every)
        return {
            "actor_q": q,
            "actor_grad": norm,
            "residual_size": float(unit.abs().mean()),
            "residual_saturation": float((unit.abs() > 0.95).float().mean()),
        }

    def sample(self, batch: Batch) -> tuple[F32, F32]:
        """The actor's answer with exploration noise; the density is that of the noise."""
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        drawn = self.rng.standard_normal((len(seen), self.norm.action_dim), np.float32)
        unit = np.tanh(self.actor.forward(seen)[0].numpy()) + self.cfg.noise * drawn
        gauss = -0.5 * np.square(drawn) - np.log(self.cfg.noise * np.sqrt(2 * np.pi))
        return np.clip(unit, -1, 1).astype(np.float32), gauss.sum(-1).astype(np.float32)

    def networks(self) -> dict[str, StackedMLP]:
        """All that is learned, by name."""
        return {
            "actor": self.actor,
            "critic": self.critic,
            "target_actor": self.target_actor,
            "target_critic": self.target_critic,
        }
