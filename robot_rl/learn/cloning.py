"""How one network takes one step of behavior cloning, and how its checkpoints are kept.

learning:  windows → **pupil: update, error, keep** → bc → base policy
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import ConfigError, NonFiniteError
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.policy.act import ACTCfg, ACTPolicy
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.encoders import random_shift
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.flow import FlowCfg, FlowPolicy
from robot_rl.policy.module_arrays import load_module
from robot_rl.policy.normalise import Normaliser
from robot_rl.types import F64, I64

if TYPE_CHECKING:
    from robot_rl.learn.bc import BCCfg

__all__ = ["EnsemblePupil", "ModulePupil", "Pupil", "new_pupil"]


class Pupil(Protocol):
    """A policy in training."""

    @property
    def policy(self) -> BasePolicy:
        """The policy as it is now."""
        ...

    def update(self, lr: float) -> float:
        """One gradient step; returns the training loss.

        Raises:
            NonFiniteError: Training diverged.
        """
        ...

    def error(self) -> float:
        """Error on held-out windows; on the training windows where there are none."""
        ...

    def keep(self) -> None:
        """Remember the policy as it is now as the best so far."""
        ...

    def best(self) -> BasePolicy:
        """The policy last kept."""
        ...


def new_pupil(
    cfg: "BCCfg",
    train: ChunkWindows,
    check: ChunkWindows | None,
    *,
    seed: int,
    init: BasePolicy | None,
) -> Pupil:
    """The pupil for `cfg.kind`, fresh or starting from `init`.

    Raises:
        ConfigError: `init` is of another kind or size.
    """
    kinds = {"mlp": EnsemblePupil, "act": ModulePupil, "flow": ModulePupil}
    return kinds[cfg.kind](cfg, train, check, seed=seed, init=init)


def fit_normaliser(cfg: "BCCfg", windows: ChunkWindows) -> Normaliser:
    """Fit on the states and on the first action of each window, which is every executed action."""
    return Normaliser.fit(
        windows.state,
        windows.chunk[:, 0],
        state_std_floor=cfg.state_std_floor,
        action_half_floor=cfg.action_half_floor,
    )


class WindowSampler:
    """Draws window indices in proportion to weights, per network where they resample episodes."""

    def __init__(self, weight: F64, rng: np.random.Generator) -> None:
        """Take the weights (N, n) of n windows for N networks; each row has a positive sum."""
        totals = np.cumsum(weight, axis=1)
        self._cumulative = totals / totals[:, -1:]
        self._rng = rng

    def draw(self, count: int) -> I64:
        """Indices (N, count)."""
        uniform = self._rng.random((len(self._cumulative), count))
        return np.stack(
            [
                np.searchsorted(row, u, side="right")
                for row, u in zip(self._cumulative, uniform, strict=True)
            ]
        )


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
        cfg: "BCCfg",
        train: ChunkWindows,
        check: ChunkWindows | None,
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
        counts = bootstrap_counts(train, cfg.members, rng) if cfg.bootstrap else None
        self._sampler = WindowSampler(weight if counts is None else weight * counts, rng)
        # Which windows judge which member: those it never saw, all if it saw all.
        unseen = (weight > 0) if counts is None else (weight > 0) & (counts == 0)
        self._judged = [None if check is not None or not row.any() else row for row in unseen]
        self._check = self._tensors(check) if check is not None else None
        self._best = self.policy.arrays()

    @staticmethod
    def _start(
        cfg: "BCCfg", train: ChunkWindows, seed: int, init: BasePolicy | None
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

    def error(self) -> float:
        """Mean over members of the squared error of the windows that a member did not draw."""
        state, unit, mask = self._check or (self._state, self._unit, self._mask)
        off = self.policy.net.forward(state).sub_(unit).square_().mul_(mask)
        errors = []
        for member, judged in zip(off, self._judged, strict=True):
            rows = slice(None) if judged is None else torch.from_numpy(judged)
            errors.append(float(member[rows].sum() / mask[rows].sum().clamp_min(1.0)))
        return float(np.mean(errors))

    def keep(self) -> None:
        """See `Pupil.keep`."""
        self._best = self.policy.arrays()

    def best(self) -> ChunkEnsemble:
        """See `Pupil.best`."""
        return ChunkEnsemble.restore(self.policy.config(), self._best)


class ModulePupil:
    """A policy with a torch module `net` and a `loss`: ACT or flow."""

    def __init__(
        self,
        cfg: "BCCfg",
        train: ChunkWindows,
        check: ChunkWindows | None,
        *,
        seed: int,
        init: BasePolicy | None,
    ) -> None:
        self._cfg = cfg
        self._seed = seed
        norm = (
            init.norm if isinstance(init, ACTPolicy | FlowPolicy) else fit_normaliser(cfg, train)
        )
        self.policy = _module_policy(cfg, train, norm, seed)
        if init is not None:
            _copy_weights(init, self.policy)
        self._generator = torch.Generator().manual_seed(seed)
        self._sampler = WindowSampler(
            train.weight[None].astype(np.float64), np.random.default_rng((seed, 0))
        )
        self._train = train
        self._check = train if check is None else check
        self._optimiser = torch.optim.AdamW(
            self.policy.net.parameters(), weight_decay=cfg.weight_decay
        )
        self._best = self.policy.arrays()

    def _loss(self, windows: ChunkWindows, generator: torch.Generator, noise: float) -> Tensor:
        norm = self.policy.norm
        state = torch.from_numpy(norm.state(windows.state))
        images = {name: torch.from_numpy(rows) for name, rows in windows.images.items()}
        if noise:
            state = state + noise * torch.randn(state.shape, generator=generator)
        if self.policy.net.training:
            images = {
                name: random_shift(rows, self._cfg.image_shift_px, generator)
                for name, rows in images.items()
            }
        unit, mask = torch.from_numpy(norm.to_unit(windows.chunk)), torch.from_numpy(windows.mask)
        return self.policy.loss(state, images, unit, mask, generator)

    def update(self, lr: float) -> float:
        """See `Pupil.update`."""
        net = self.policy.net.train()
        batch = self._train.rows(self._sampler.draw(self._cfg.batch)[0])
        loss = self._loss(batch, self._generator, self._cfg.obs_noise)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NonFiniteError("bc: loss", value, f"Lower lr ({self._cfg.lr}).")
        self._optimiser.param_groups[0]["lr"] = lr
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        self._optimiser.step()
        net.eval()
        return value

    def error(self) -> float:
        """The loss on held-out windows, with the same noise at every check."""
        generator = torch.Generator().manual_seed(self._seed)
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(self._check), 256):
                rows = np.arange(start, min(start + 256, len(self._check)))
                total += float(self._loss(self._check.rows(rows), generator, 0.0)) * len(rows)
        return total / len(self._check)

    def keep(self) -> None:
        """See `Pupil.keep`."""
        self._best = self.policy.arrays()

    def best(self) -> ACTPolicy | FlowPolicy:
        """See `Pupil.best`."""
        return self.policy.restore(self.policy.config(), self._best)


def _module_policy(
    cfg: "BCCfg", windows: ChunkWindows, norm: Normaliser, seed: int
) -> ACTPolicy | FlowPolicy:
    """An untrained ACT or flow policy that looks at all cameras of the windows."""
    cameras = tuple((name, *rows.shape[1:3]) for name, rows in sorted(windows.images.items()))
    if cfg.kind == "act":
        act = ACTCfg(chunk=cfg.chunk, width=cfg.width, encoder_layers=cfg.layers, cameras=cameras)
        return ACTPolicy(act, norm, seed=seed)
    flow = FlowCfg(
        chunk=cfg.chunk,
        width=cfg.width,
        layers=cfg.layers,
        euler_steps=cfg.flow_steps,
        proposals=cfg.members,
        cameras=cameras,
    )
    return FlowPolicy(flow, norm, seed=seed)


def _copy_weights(init: BasePolicy, policy: ACTPolicy | FlowPolicy) -> None:
    """Start `policy` from `init`.

    Raises:
        ConfigError: `init` is of another kind or size.
    """
    if not isinstance(init, ACTPolicy | FlowPolicy) or init.config() != policy.config():
        raise ConfigError(
            f"bc: init is {type(init).__name__} {getattr(init, 'config', dict)()}, but the "
            f"configuration asks for {type(policy).__name__} {policy.config()}. Start without "
            "init, or give the configuration of init."
        )
    load_module(policy.net, init.arrays())
