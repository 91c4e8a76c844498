"""Memory that a stacked network writes over and over, so that an update allocates next to nothing.

learning:  transition → episode store → progress model → replay → **residual agent** → weights
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Kept", "Workspace"]

_MOST = 32  # callers use a few batch sizes; one that sweeps them must not fill the memory


@dataclass(eq=False)
class Kept:
    """What backward needs of one forward."""

    x: Tensor  # (N, B, in)
    pre: list[Tensor]  # (N, B, width) each hidden layer before its normalisation
    out: list[Tensor]  # (N, B, width) each hidden layer after its ReLU
    stats: list[tuple[Tensor, Tensor]]  # mean and reciprocal deviation (N, B, 1)
    shared: bool  # one x for all networks


class Workspace:
    """Buffers (N, B, width), one a hidden layer, for each purpose and batch size."""

    def __init__(self, widths: tuple[int, ...], dtype: torch.dtype) -> None:
        self._widths, self._dtype = widths, dtype
        self._buffers: dict[tuple[str, int, int], list[Tensor]] = {}

    def __len__(self) -> int:
        return len(self._buffers)

    def get(self, purpose: str, n: int, batch: int) -> list[Tensor]:
        """The buffers for this purpose and size; they hold what was last written there."""
        key = (purpose, n, batch)
        if key not in self._buffers:
            if len(self._buffers) >= _MOST:
                self._buffers.clear()
            with torch.inference_mode(False):  # else only inference mode could write to them
                self._buffers[key] = [
                    torch.empty(n, batch, width, dtype=self._dtype) for width in self._widths
                ]
        return self._buffers[key]
