"""How a torch module, ACT or flow, takes one step of behavior cloning.

learning:  windows → **pupil: update, error, keep** → bc → base policy
"""

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import ConfigError, NonFiniteError
from robot_rl.learn.bc_cfg import BCCfg
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.learn.device import device_of
from robot_rl.learn.pupil import WindowSampler, fit_normaliser
from robot_rl.policy.act import ACTCfg, ACTPolicy
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.encoders import random_shift
from robot_rl.policy.flow import FlowCfg, FlowPolicy
from robot_rl.policy.module_arrays import load_module
from robot_rl.policy.normalise import Normaliser

__all__ = ["ModulePupil"]

_CHECK_ROWS = 256  # windows at once: bounds the memory that images take


class ModulePupil:
    """A policy with a torch module `net` and a `loss`: ACT or flow."""

    def __init__(
        self,
        cfg: BCCfg,
        train: ChunkWindows,
        *,
        seed: int,
        init: BasePolicy | None,
    ) -> None:
        self._cfg = cfg
        self._seed = seed
        norm = (
            init.norm if isinstance(init, ACTPolicy | FlowPolicy) else fit_normaliser(cfg, train)
        )
        self._device = device_of(cfg.device)
        self._policy = _module_policy(cfg, train, norm, seed)
        if init is not None:
            _copy_weights(init, self._policy)
        self._policy.net.to(self._device)
        self._generator = torch.Generator().manual_seed(seed)
        self._sampler = WindowSampler(
            train.weight[None].astype(np.float64), np.random.default_rng((seed, 0))
        )
        self._train = train
        self._optimiser = torch.optim.AdamW(
            self._policy.net.parameters(), weight_decay=cfg.weight_decay
        )
        self._best = self._policy.arrays()

    @property
    def policy(self) -> ACTPolicy | FlowPolicy:
        """The policy as it is now, on the CPU."""
        if self._device.type == "cpu":
            return self._policy
        return self._policy.restore(self._policy.config(), self._policy.arrays())

    def _loss(self, windows: ChunkWindows, generator: torch.Generator, noise: float) -> Tensor:
        policy, norm = self._policy, self._policy.norm
        state = torch.from_numpy(norm.state(windows.state))
        images = {name: torch.from_numpy(rows) for name, rows in windows.images.items()}
        if noise:
            state = state + noise * torch.randn(state.shape, generator=generator)
        if policy.net.training:
            images = {
                name: random_shift(rows, self._cfg.image_shift_px, generator)
                for name, rows in images.items()
            }
        unit, mask = torch.from_numpy(norm.to_unit(windows.chunk)), torch.from_numpy(windows.mask)
        state, unit, mask = (each.to(self._device) for each in (state, unit, mask))
        images = {name: rows.to(self._device) for name, rows in images.items()}
        return policy.loss(state, images, unit, mask, generator)

    def update(self, lr: float) -> float:
        """See `Pupil.update`."""
        net = self._policy.net.train()
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

    def error(self, windows: ChunkWindows) -> float:
        """The mean loss, with the same noise at every check."""
        generator = torch.Generator().manual_seed(self._seed)
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(windows), _CHECK_ROWS):
                part = windows.rows(np.arange(start, min(start + _CHECK_ROWS, len(windows))))
                total += float(self._loss(part, generator, 0.0)) * len(part)
        return total / len(windows)

    def keep(self) -> None:
        """See `Pupil.keep`."""
        self._best = self._policy.arrays()

    def best(self) -> ACTPolicy | FlowPolicy:
        """See `Pupil.best`."""
        return self._policy.restore(self._policy.config(), self._best)


def _module_policy(
    cfg: BCCfg, windows: ChunkWindows, norm: Normaliser, seed: int
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
