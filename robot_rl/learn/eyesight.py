"""Learns to see from demonstrations: an encoder whose features say what to do, and where one is.

learning:  episode store → **eyesight** → frozen eyes → base and residual on [state, features]

The encoder is trained by cloning the demonstrated chunk through a head that is thrown away, under
random shifts of the images, and by telling the state from the images alone: with few episodes the
first would be content with what the state gives away, and the second keeps the images in use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import ConfigError, NonFiniteError
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.learn.device import device_of
from robot_rl.policy.encoders import random_shift
from robot_rl.policy.eyes import Eyes, EyesCfg
from robot_rl.policy.module_arrays import built_with_seed
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.trajectory import Trajectory

__all__ = ["EyesightCfg", "fit_eyes", "with_features"]


@dataclass(frozen=True, kw_only=True)
class EyesightCfg:
    """How eyes are trained."""

    steps: int = 500
    """Gradient steps."""
    batch: int = 64
    """Observations in a step."""
    lr: float = 1e-3
    """Learning rate at the start; it falls to 0 by a half cosine."""
    chunk: int = 8
    """Actions that are told from one observation."""
    hidden: int = 128
    """Width of the heads that are thrown away."""
    width: int = 32
    """Size of a patch's token."""
    features: int = 32
    """Features of a camera."""
    image_shift_px: int = 4
    """Images are shifted at random by up to this while training."""
    state_weight: float = 0.3
    """Weight of telling the state from the images."""
    device: str = "cpu"
    """Where they are trained: cpu, cuda, cuda:1 ...; they always see on the CPU."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        counts = (self.steps, self.batch, self.chunk, self.hidden, self.width, self.features)
        if min(counts) < 1 or self.lr <= 0 or min(self.image_shift_px, self.state_weight) < 0:
            raise ConfigError(
                "eyes: steps, batch, chunk, hidden, width and features must be at least 1, lr "
                "positive, image_shift_px and state_weight not negative."
            )


class _Heads(nn.Module):
    """What is asked of the features while they are learned."""

    def __init__(self, cfg: EyesightCfg, norm: Normaliser, features: int) -> None:
        super().__init__()
        self.act = _mlp(norm.state_dim + features, cfg.hidden, cfg.chunk * norm.action_dim)
        self.tell = _mlp(features, cfg.hidden, norm.state_dim)


def _mlp(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.ReLU(), nn.Linear(hidden, outside))


def fit_eyes(
    cfg: EyesightCfg,
    demos: Sequence[Trajectory],
    *,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> Eyes:
    """Train eyes on demonstrations; the same arguments give the same eyes.

    Args:
        cfg: How.
        demos: Episodes with images.
        seed: Of the initial weights, the batches and the shifts.
        progress: Called with (gradient steps done, loss) about a hundred times.

    Raises:
        ConfigError: The demonstrations hold no images, or there is no such device.
        DataError: There are no steps, or the episodes do not fit each other.
        NonFiniteError: The data hold NaN, or training diverged.
    """
    device, windows = device_of(cfg.device), ChunkWindows.cut(demos, cfg.chunk)
    if not windows.images:
        raise ConfigError(
            "eyes: the demonstrations hold no images. Record them on the task's pixel form: "
            "robot-rl collect --env peg/pixels, for one."
        )
    norm = Normaliser.fit(windows.state, windows.chunk[:, 0])
    cameras = tuple((name, *rows.shape[1:3]) for name, rows in sorted(windows.images.items()))
    sizes = {"width": cfg.width, "features": cfg.features}
    eyes = Eyes(EyesCfg(state_dim=norm.state_dim, cameras=cameras, **sizes), seed=seed)
    heads = built_with_seed(lambda: _Heads(cfg, norm, eyes.features), seed + 1)
    eyes.net.to(device)
    heads.to(device)
    learned = [*eyes.net.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(learned, weight_decay=1e-4)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    every = max(1, cfg.steps // 100)
    eyes.net.train()
    for step in range(cfg.steps):
        rows = windows.rows(rng.integers(0, len(windows), cfg.batch))
        loss = _loss(cfg, eyes, heads, norm, rows, generator, device)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NonFiniteError("eyes: loss", value, f"Lower lr ({cfg.lr}).")
        optimiser.param_groups[0]["lr"] = cfg.lr * 0.5 * (1 + np.cos(np.pi * step / cfg.steps))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        if progress is not None and ((step + 1) % every == 0 or step + 1 == cfg.steps):
            progress(step + 1, value)
    eyes.net.eval().cpu()
    return eyes


def _loss(
    cfg: EyesightCfg,
    eyes: Eyes,
    heads: _Heads,
    norm: Normaliser,
    rows: ChunkWindows,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Masked error of the chunk, plus that of the state as told from the images alone."""
    images = {
        name: random_shift(torch.from_numpy(pictures), cfg.image_shift_px, generator).to(device)
        for name, pictures in rows.images.items()
    }
    numbers = (norm.state(rows.state), norm.to_unit(rows.chunk), rows.mask)
    state, unit, mask = (torch.from_numpy(array).to(device) for array in numbers)
    features = eyes.net(images)
    off = heads.act(torch.cat([state, features], 1)).view_as(unit) - unit
    acting = (off.square().mean(2) * mask).sum() / mask.sum()
    telling = (heads.tell(features) - state.clamp(-3, 3)).square().mean()
    return acting + cfg.state_weight * telling


def with_features(eyes: Eyes, episodes: Sequence[Trajectory]) -> list[Trajectory]:
    """The episodes as they look through `eyes`: one vector of state and features a step."""
    return [
        replace(
            episode,
            obs={
                "state": eyes.see_all(
                    np.asarray(episode.obs["state"], np.float32),
                    {name: np.asarray(episode.obs[name], np.uint8) for name in eyes.cameras},
                )
            },
        )
        for episode in episodes
    ]
