"""One member of the embedded progress model: a few frames, start and goal in, two opinions out.

learning:  transition → episode store → **progress model (network)** → replay → residual agent

Each frame, the episode's first frame and the goal go through the same encoder. A GRU reads the
last frames as [z, z₀, z_g, z_g - z] and is told no time: a network that can count steps predicts
progress without looking.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_rl.reward.text import TEXT_DIM

__all__ = ["BINS", "IMAGE_PX", "Glimpse", "ProgressNet", "expected", "median", "two_hot"]

IMAGE_PX = 64
BINS = 21
_TEXT_WIDTH = 16
_IMAGE_WIDTH = 96


@dataclass(frozen=True, kw_only=True, eq=False)
class Glimpse:
    """n frames as the encoder takes them.

    Attributes:
        vector: float32 (n, d) z-scored state; d may be 0.
        images: Per camera uint8 (n, 64, 64, 3).
    """

    vector: Tensor
    images: Mapping[str, Tensor]

    def __getitem__(self, rows: Tensor) -> "Glimpse":
        """These frames."""
        return Glimpse(
            vector=self.vector[rows], images={k: v[rows] for k, v in self.images.items()}
        )


class ProgressNet(nn.Module):
    """From windows of frames to logits of progress (BINS) and of success (1).

    Args:
        vector_dim: Length of the state vector; 0 without one.
        cameras: Names of the cameras.
        width: Size of a frame's code and of the GRU.
    """

    def __init__(self, vector_dim: int, cameras: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.cameras = cameras
        self.eyes = nn.ModuleDict({name: _eye() for name in cameras})
        self.body = nn.Sequential(nn.Linear(vector_dim, width), nn.ReLU()) if vector_dim else None
        inside = width * bool(vector_dim) + _IMAGE_WIDTH * len(cameras)
        self.join = nn.Sequential(nn.Linear(inside, width), nn.LayerNorm(width), nn.Tanh())
        self.read = nn.Linear(TEXT_DIM, _TEXT_WIDTH)
        self.gru = nn.GRU(4 * width + _TEXT_WIDTH, width, batch_first=True)
        self.progress = _head(width, BINS)
        self.success = _head(width, 1)

    def embed(self, seen: Glimpse) -> Tensor:
        """Codes (n, width) of n frames."""
        parts = [] if self.body is None else [self.body(seen.vector)]
        for name in self.cameras:
            pixels = seen.images[name].permute(0, 3, 1, 2).float() / 255 - 0.5
            parts.append(self.eyes[name](pixels))
        return self.join(torch.cat(parts, 1))

    def forward(self, codes: Tensor, start: Tensor, goal: Tensor, text: Tensor) -> Tensor:
        """Logits (n, BINS + 1), the last of them of success.

        Args:
            codes: (n, K, width) of the last K frames, oldest first.
            start: (n, width) of the episode's first frame.
            goal: (n, width).
            text: (n, TEXT_DIM).
        """
        count, frames = codes.shape[:2]
        start, goal = (z[:, None].expand(count, frames, -1) for z in (start, goal))
        words = self.read(text)[:, None].expand(count, frames, -1)
        _, last = self.gru(torch.cat([codes, start, goal, goal - codes, words], 2))
        return torch.cat([self.progress(last[0]), self.success(last[0])], 1)


def _eye() -> nn.Sequential:
    """Three convolutions from 64 × 64 pixels to 8 × 8 fields, and what they say together."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (IMAGE_PX // 8) ** 2, _IMAGE_WIDTH),
        nn.ReLU(),
    )


def _head(width: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outside))


def two_hot(progress: Tensor) -> Tensor:
    """Targets (n, BINS): each value in [0, 1] shared between its two nearest bins (C51)."""
    place = progress.clamp(0, 1) * (BINS - 1)
    low = place.floor().long().clamp(max=BINS - 2)
    share = (place - low)[:, None]
    return functional.one_hot(low, BINS) * (1 - share) + functional.one_hot(low + 1, BINS) * share


def expected(logits: Tensor) -> Tensor:
    """Mean progress (n,) of logits (n, BINS)."""
    return logits.softmax(1) @ torch.linspace(0, 1, BINS)


def median(shares: Tensor) -> Tensor:
    """Median progress (n,) of distributions (n, BINS): of all guesses the least far off.

    A frame that could be at the start or half-way is not a quarter done.
    """
    above = shares.cumsum(1)
    low = (above < 0.5).sum(1, keepdim=True).clamp(max=BINS - 1)  # the bin that crosses one half
    share = shares.gather(1, low)
    before = above.gather(1, low) - share
    inside = ((0.5 - before) / share.clamp(min=1e-6)).clamp(0, 1)
    return ((low + inside - 0.5) / (BINS - 1)).clamp(0, 1)[:, 0]
