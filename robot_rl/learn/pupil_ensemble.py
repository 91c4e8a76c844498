"""How all members of an ensemble take one step of behavior cloning at once.

learning:  windows → **pupil: update, error, keep** → bc → base policy
"""

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import ConfigError, NonFiniteError
from robot_rl.learn.bc_cfg import BCCfg
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.learn.pupil import WindowSampler, fit_normaliser
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.types import F64

__all__ = ["EnsemblePupil", "bootstrap_counts"]


def bootstrap_counts(windows: ChunkWindows, members: int, rng: np.random.Generator) -> F64:
    """How often each member drew each window's episode, (members, n); never all zero weight."""
    episodes, index = np.unique(windows.episode, return_inverse=True)
    usable = np.array([windows.weight[index == k].max() > 0 for k in range(len(episodes))])
    share = usable / usable.sum()
    counts = rng.multinomial(usable.sum(), share, size=members)
    return counts[:, index].astype(np.float64)


class EnsemblePupil:
    """All members of a `ChunkEnsemble` at once, squared error on unit actions."""

    def __init__(
        self,
        cfg: BCCfg,
        train: ChunkWindows,
        *,
        seed: int,
        init: BasePolicy | None,
    ) -> None:
        self._cfg = cfg
        self.policy = self._start(cfg, train, seed, init)
        rng = np.random.default_rng((seed, 0))
        self._generator = torch.Generator().manual_seed(seed)
        self._state, self._unit, self._mask = self._tensors(train)
        weight = np.repeat(train.weight[None].astype(np.float64), cfg.members, 0)
        if cfg.bootstrap:
            weight *= bootstrap_counts(train, cfg.members, rng)
        self._sampler = WindowSampler(weight, rng)
        self._best = self.policy.arrays()

    @staticmethod
    def _start(
        cfg: BCCfg, train: ChunkWindows, seed: int, init: BasePolicy | None
    ) -> ChunkEnsemble:
        hidden = (cfg.width,) * cfg.layers
        norm = init.norm if isinstance(init, ChunkEnsemble) else fit_normaliser(cfg, train)
        policy = ChunkEnsemble.fresh(
            norm, chunk=cfg.chunk, members=cfg.members, hidden=hidden, seed=seed
        )
        if init is None:
            return policy
        if (
            not isinstance(init, ChunkEnsemble)
            or init.config() != policy.config()
            or init.norm.state_dim != train.state.shape[1]
        ):
            raise ConfigError(
                f"bc: init is {type(init).__name__} {getattr(init, 'config', dict)()}, but the "
                f"configuration asks for ChunkEnsemble {policy.config()} on states of size "
                f"{train.state.shape[1]}. Start without init, or give the configuration of init."
            )
        policy.net.flat.copy_(init.net.flat)
        return policy

    def _tensors(self, windows: ChunkWindows) -> tuple[Tensor, Tensor, Tensor]:
        norm, n = self.policy.norm, len(windows)
        unit = norm.to_unit(windows.chunk).reshape(n, -1)
        mask = np.repeat(windows.mask[:, :, None], norm.action_dim, 2).reshape(n, -1)
        return (
            torch.from_numpy(norm.state(windows.state)),
            torch.from_numpy(unit),
            torch.from_numpy(mask),
        )

    def update(self, lr: float) -> float:
        """See `Pupil.update`."""
        index = torch.from_numpy(self._sampler.draw(self._cfg.batch))
        state, unit, mask = self._state[index], self._unit[index], self._mask[index]
        if self._cfg.obs_noise:
            noise = torch.randn(state.shape, generator=self._generator)
            state = state.add_(noise, alpha=self._cfg.obs_noise)
        net = self.policy.net
        off = (net.forward(state, keep=True) - unit).mul_(mask)
        # A mean over each member's own windows: members do not share a learning rate's scale.
        count = mask.sum((1, 2), keepdim=True).clamp_min_(1.0)
        loss = float((off.square().sum((1, 2), keepdim=True) / count).mean())
        if not np.isfinite(loss):
            raise NonFiniteError("bc: loss", loss, f"Lower lr ({self._cfg.lr}).")
        net.backward(off.mul_(2.0 / count))
        net.step(lr, weight_decay=self._cfg.weight_decay)
        return loss

    def error(self, windows: ChunkWindows) -> float:
        """Mean over members of their squared error."""
        state, unit, mask = self._tensors(windows)
        off = self.policy.net.forward(state).sub_(unit).square_().mul_(mask)
        return float(off.mean(0).sum() / mask.sum())

    def keep(self) -> None:
        """See `Pupil.keep`."""
        self._best = self.policy.arrays()

    def best(self) -> ChunkEnsemble:
        """See `Pupil.best`."""
        return ChunkEnsemble.restore(self.policy.config(), self._best)
