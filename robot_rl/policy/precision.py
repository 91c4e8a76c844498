"""In which arithmetic the products of a stacked network run, and where they read and write.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

A CPU with bfloat16 instructions multiplies twice as fast in bfloat16 as in float32; one without
them is several times slower. So the choice is measured, and whatever it is, the parameter and the
optimiser stay in float32.
"""

import functools
import itertools
import math
import time
from typing import Literal

import torch
from torch import Tensor

from robot_rl.policy.layers import Layer, layer_views

__all__ = ["Precision", "Products", "faster_precision"]

Precision = Literal["fp32", "bf16"]

_WORTH_IT = 1.25  # bf16 costs digits and casts: without a clear gain the choice is fp32


class Products:
    """The layers as the products read them, and the gradients as the products write them.

    In float32 both are views of the parameter and its gradient. In bfloat16 they are copies:
    `layers` follows the parameter when it has changed, `flush` brings the gradient over.
    """

    def __init__(
        self,
        flat: Tensor,
        grad: Tensor,
        *,
        num: int,
        sizes: tuple[int, ...],
        precision: Precision,
    ) -> None:
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.is_copy = precision == "bf16"
        self._flat, self._grad = flat, grad
        with torch.inference_mode(False):
            self._low_flat, self._low_grad = flat.to(self.dtype), grad.to(self.dtype)
        self._version = flat._version
        self._layers = layer_views(self._low_flat, num, sizes)
        self.grads = layer_views(self._low_grad, num, sizes)

    def layers(self) -> list[Layer]:
        """The layers, equal to the parameter now."""
        # torch counts in-place changes of a tensor and of its views: no flag to forget.
        if self.is_copy and self._version != self._flat._version:
            self._low_flat.copy_(self._flat)
            self._version = self._flat._version
        return self._layers

    def flush(self, *, add: bool) -> None:
        """Write or add the gathered gradient into the float32 gradient."""
        if self.is_copy and add:
            self._grad.add_(self._low_grad)
        elif self.is_copy:
            self._grad.copy_(self._low_grad)


def faster_precision(num: int, sizes: tuple[int, ...], batch: int = 256) -> Precision:
    """Measure the largest product of such a network both ways (a few ms, once per shape).

    bfloat16 must win by a quarter, so that a busy moment rarely changes the choice; record it
    with the run all the same.
    """
    i, o = max(itertools.pairwise(sizes), key=math.prod)
    return _measure(min(num, 2), i, o, batch)


@functools.cache
def _measure(num: int, i: int, o: int, batch: int) -> Precision:
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(3):
        for dtype in best:
            x, weight = torch.ones(num, batch, i, dtype=dtype), torch.ones(num, i, o, dtype=dtype)
            out = torch.bmm(x, weight)
            for _ in range(3):
                start = time.perf_counter()
                torch.bmm(x, weight, out=out)
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return "bf16" if best[torch.float32] > _WORTH_IT * best[torch.bfloat16] else "fp32"
