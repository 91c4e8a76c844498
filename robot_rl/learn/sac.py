"""The other residual agent: soft actor-critic, which explores by the entropy of its actor.

learning:  replay → **residual agent: critic ensemble, actor, temperature** → weights → policy

SAC (Haarnoja et al. 2018, arXiv 1812.05905) with automatic temperature, on the same critics,
batches and base as `td3.py`; without a base and with demonstrations it is RLPD as published (Ball
et al. 2023, arXiv 2302.02948). The actor's gradient, through the reparametrised sample and through
its log density, is written out by hand. Entropy is that of the unit residual in [-1, 1]^a.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from robot_rl.errors import ConfigError
from robot_rl.learn.actor_critic import ActorCritic, ActorCriticCfg, Learned
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.optimiser import FlatAdam
from robot_rl.replay.buffer import Batch
from robot_rl.types import F32, F64

__all__ = ["SAC", "SACCfg", "Temperature"]

LOG_STD_RANGE = (-5.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class SACCfg(ActorCriticCfg):
    """The stochastic actor, its temperature and its critics."""

    actor_lr: float = 3e-4
    """Learning rate of the actor."""
    temperature: float = 0.1
    """Weight of the entropy at the start."""
    temperature_lr: float = 3e-4
    """Learning rate of the logarithm of the temperature."""
    target_entropy: float = -0.5
    """Entropy that the temperature aims at, for each dimension of the action."""
    backup_entropy: bool = True
    """Count future entropy as value; values are then not bounded by what the reward allows."""

    def __post_init__(self) -> None:
        """Refuse a temperature that has no logarithm, beside what all agents refuse."""
        super().__post_init__()
        if min(self.temperature, self.temperature_lr) <= 0:
            raise ConfigError("sac: temperature and temperature_lr must be positive.")


class SAC(ActorCritic[SACCfg]):
    """An actor that answers with mean and log deviation, squashed by tanh; acts by its mean.

    Attributes:
        temperature: The weight of the entropy.
    """

    def __init__(self, cfg: SACCfg, norm: Normaliser, *, scale: float, seed: int) -> None:
        super().__init__(cfg, norm, scale=scale, seed=seed, gaussian=True)
        self.temperature = Temperature(cfg.temperature)

    def act(self, state: F32, base: F32, phase: float, *, explore: bool) -> F32:
        """The action (a,) to request for one state (d,), base action (a,) and phase."""
        noise = self.rng.standard_normal(base.shape) if explore else None
        return self.request(state, base, phase, noise)

    def _unit(self, answer: F32, noise: F32 | F64 | None) -> F32 | F64:
        """The unit residual (a,): a sample for standard normal noise, else the mean."""
        if noise is None:
            return super()._unit(answer, None)
        mean, log_std = np.split(answer, 2)
        return np.tanh(mean + np.exp(np.clip(log_std, *LOG_STD_RANGE)) * noise)

    def _noise(self, count: int) -> Tensor:
        drawn = self.rng.standard_normal((count, self.norm.action_dim), np.float32)
        return torch.from_numpy(drawn)

    def _target(self, batch: Batch) -> F32:
        """Targets R + γ^k (min over a subset of Q'(s', clip(a_b + u')) - α log π(u')) (B,).

        Entropy may lift or lower a value beyond any return, so that only targets without it are
        clipped to the bounds of the reward.
        """
        seen = self._see(batch.next_state, batch.next_base, batch.next_phase)
        unit, log_prob, _, _ = squash(
            self.actor.forward(torch.from_numpy(seen))[0], self._noise(len(seen))
        )
        value = self._subset_value(seen, self._sum(batch.next_base, unit.numpy()))
        if self.cfg.choose:
            value = np.maximum(value, self._subset_value(seen, batch.next_base))
        if self.cfg.backup_entropy:
            value = value - self.temperature.value * log_prob.numpy()
            return (batch.reward + batch.discount * value).astype(np.float32)
        return np.clip(batch.reward + batch.discount * value, *self.bounds).astype(np.float32)

    def update_actor(self, batch: Batch) -> dict[str, float]:
        """Climb the mean of all critics plus the weighted entropy, then set its weight anew.

        With z = μ + σ ε and u = tanh z: the loss is α log π(u) - Q(u) over the batch, and
        d log π / dz = 2 u, d log π / d log σ = -1 beside what goes through z.
        """
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        answer = self.actor.forward(seen, keep=True)[0]
        unit, log_prob, spread, is_free = squash(answer, self._noise(len(seen)))
        q, slope = self._climb(seen, batch.base, unit)
        weight = self.temperature.value / len(seen)
        through_z = slope * (1 - unit.square()) + weight * 2 * unit
        of_log_std = (through_z * spread - weight) * is_free
        self.actor.backward(torch.cat((through_z, of_log_std), 1)[None])
        norm = self.actor.step(self.cfg.actor_lr, max_norm=self.cfg.max_grad_norm)
        entropy = -float(log_prob.mean())
        aim = self.cfg.target_entropy * self.norm.action_dim
        self.temperature.step(entropy - aim, self.cfg.temperature_lr)
        return {
            "actor_q": q,
            "actor_grad": norm,
            "entropy": entropy,
            "temperature": self.temperature.value,
            "residual_size": float(unit.abs().mean()),
            "residual_saturation": float((unit.abs() > 0.95).float().mean()),
        }

    def sample(self, batch: Batch) -> tuple[F32, F32]:
        """A sample of the policy, and its log density."""
        seen = torch.from_numpy(self._see(batch.state, batch.base, batch.phase))
        unit, log_prob, _, _ = squash(self.actor.forward(seen)[0], self._noise(len(seen)))
        return unit.numpy(), log_prob.numpy()

    def networks(self) -> dict[str, Learned]:
        """All that is learned, by name; the actor has no target."""
        return {
            "actor": self.actor,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "temperature": self.temperature,
        }


def squash(answer: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A sample of the squashed Gaussian and what its gradient needs.

    Args:
        answer: (B, 2a), means and log deviations before the tanh.
        noise: (B, a), standard normal.

    Returns:
        Unit residuals (B, a) in [-1, 1], their log densities (B,), d z / d log σ = σ ε (B, a),
        and 1 where the log deviation is within its range, else 0 (B, a).
    """
    mean, raw = answer.chunk(2, 1)
    log_std = raw.clamp(*LOG_STD_RANGE)
    spread = log_std.exp() * noise
    z = mean + spread
    gauss = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh² z) in a form that is exact for large z.
    log_prob = (gauss - 2 * (math.log(2) - z - softplus(-2 * z))).sum(1)
    return z.tanh(), log_prob, spread, (raw == log_std).float()


class Temperature:
    """A positive number that Adam moves by its logarithm."""

    def __init__(self, start: float) -> None:
        self._log = torch.tensor([math.log(start)], dtype=torch.float32)
        self._adam = FlatAdam(self._log)

    @property
    def value(self) -> float:
        """The weight of the entropy."""
        return float(self._log.exp())

    def step(self, surplus: float, lr: float) -> None:
        """Fall while there is more entropy than wanted (`surplus` > 0), rise while less."""
        self._adam.step(torch.tensor([surplus], dtype=torch.float32), lr)

    def state_dict(self) -> dict[str, Tensor]:
        """The logarithm (1,) and its optimiser."""
        return {"log": self._log.clone(), **self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue bit for bit from what `state_dict` returned.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        self._adam.load_state_dict(state)
        self._log.copy_(state["log"])
