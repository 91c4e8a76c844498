"""What turns a camera image into tokens or features that a policy or critic can read.

command:   camera → **image encoder** → policy (base + residual) → decode → safety → send

A shallow convolution and one attention block: small enough to be trained from scratch by RL with
few demonstrations, where a deep network would need pre-training.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_rl.errors import ConfigError, ShapeError, UnknownNameError
from robot_rl.policy.base import Observation

__all__ = ["PatchEncoder", "camera_images", "random_shift"]

_STEM_WIDTH = 32
_HEADS = 4


class PatchEncoder(nn.Module):
    """One camera's images (B, h, w, 3) uint8 → tokens (B, patches, width).

    Convolution 8×8 / 4, ReLU, convolution 3×3 / 2, a learned place for each patch, one transformer
    block (ResFiT, arXiv 2509.19301, section on networks): 84 × 84 pixels give 81 patches.
    """

    def __init__(self, height: int, width: int, features: int) -> None:
        super().__init__()
        rows, columns = _patches(height), _patches(width)
        if min(rows, columns) < 1:
            raise ConfigError(
                f"encoder: an image of {height} x {width} pixels has no patch; give at least "
                "20 x 20."
            )
        if features % _HEADS:
            raise ConfigError(f"encoder: width is {features}, but must be a multiple of {_HEADS}.")
        self.size = (height, width)
        self.patches = rows * columns
        self.stem = nn.Conv2d(3, _STEM_WIDTH, 8, stride=4)
        self.patch = nn.Conv2d(_STEM_WIDTH, features, 3, stride=2)
        self.place = nn.Parameter(torch.randn(1, self.patches, features) * 0.02)
        self.block = nn.TransformerEncoderLayer(
            features, _HEADS, 4 * features, dropout=0.0, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(features)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, patches, width) of images (B, h, w, 3), uint8 or float in 0..255."""
        if tuple(images.shape[1:]) != (*self.size, 3):
            raise ShapeError("encoder: images", tuple(images.shape), (-1, *self.size, 3))
        x = images.permute(0, 3, 1, 2).float() / 255 - 0.5
        x = self.patch(functional.relu(self.stem(x)))
        return self.norm(self.block(x.flatten(2).transpose(1, 2) + self.place))


def _patches(pixels: int) -> int:
    """Patches along a side of `pixels`."""
    return ((pixels - 8) // 4 + 1 - 3) // 2 + 1


def random_shift(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Each image (B, h, w, c) shifted by up to `pad` pixels either way, its border repeated.

    The augmentation of DrQ (Yarats et al. 2021, arXiv 2107.09645); whole pixels, dtype kept.
    """
    if pad == 0:
        return images
    count, height, width = images.shape[:3]
    down, right = torch.randint(-pad, pad + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + down).clamp_(0, height - 1)
    columns = (torch.arange(width) + right).clamp_(0, width - 1)
    batch = torch.arange(count)[:, None, None]
    return images[batch, rows[:, :, None], columns[:, None, :]]


def camera_images(obs: Observation, cameras: Sequence[str]) -> dict[str, Tensor]:
    """The images of these cameras as a batch of one each, (1, h, w, 3) uint8.

    Raises:
        UnknownNameError: The observation lacks a camera.
    """
    images = {}
    for name in cameras:
        if not isinstance(obs, Mapping) or name not in obs:
            known = obs.keys() if isinstance(obs, Mapping) else ["state"]
            raise UnknownNameError("camera in the observation", name, known)
        images[name] = torch.tensor(obs[name])[None]
    return images
