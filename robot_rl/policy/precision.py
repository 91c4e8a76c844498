"""In which arithmetic the products of a stacked network run, and where they read and write.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

A CPU with bfloat16 instructions multiplies twice as fast in bfloat16 as in float32; one without
them is several times slower. So the choice is measured, and whatever it is, the parameter and the
optimiser stay in float32.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from robot_rl.policy.layers import Layer, layer_views

__all__ = ["Precision", "Products", "fastest"]

Precision = Literal["fp32", "bf16"]

_WORTH_IT = 1.2
_TURNS = 6  # the first of them warms up


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


def fastest(updates: Mapping[Precision, Callable[[], object]]) -> Precision:
    """Time the same update in each precision, in turns, and name the faster one.

    It is the CPU time that counts, and bfloat16 must win by a fifth, so that a busy moment
    rarely changes the choice; record it with the run all the same.
    """
    best: dict[Precision, float] = dict.fromkeys(updates, math.inf)
    for _ in range(_TURNS):
        for precision, update in updates.items():
            start = time.process_time()
            update()
            best[precision] = min(best[precision], time.process_time() - start)
    return "bf16" if best["fp32"] > _WORTH_IT * best["bf16"] else "fp32"
