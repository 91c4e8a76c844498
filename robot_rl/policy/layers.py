"""Where the weights and biases of N equal networks lie in one flat tensor, and their first values.

learning:  transition → episode store → progress model → replay → **residual agent** → weights
"""

import itertools

import torch
from torch import Tensor

__all__ = ["Layer", "count_parameters", "draw_", "layer_views"]

Layer = tuple[Tensor, Tensor]
"""Weight (N, in, out), or (N, out, in) in the last layer; bias (N, 1, out)."""


def count_parameters(num: int, sizes: tuple[int, ...]) -> int:
    """Weights and biases of `num` networks with these widths."""
    return sum(num * (i + 1) * o for i, o in itertools.pairwise(sizes))


def layer_views(flat: Tensor, num: int, sizes: tuple[int, ...]) -> list[Layer]:
    """The layers inside a flat tensor (P,), as views."""
    layers: list[Layer] = []
    start = 0
    for k, (i, o) in enumerate(itertools.pairwise(sizes)):
        middle, end = start + num * i * o, start + num * (i + 1) * o
        # A narrow output layer is transposed, because its products are faster so.
        shape = (num, o, i) if k == len(sizes) - 2 else (num, i, o)
        layers.append((flat[start:middle].view(shape), flat[middle:end].view(num, 1, o)))
        start = end
    return layers


def draw_(layers: list[Layer], sizes: tuple[int, ...], *, seed: int, zero_last: bool) -> None:
    """Fill weights and biases from U(±1/√in), in place; zeros in the last layer if asked."""
    generator = torch.Generator().manual_seed(seed)
    for (weight, bias), width in zip(layers, sizes[:-1], strict=True):
        weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)
        bias.uniform_(-(width**-0.5), width**-0.5, generator=generator)
    if zero_last:
        for tensor in layers[-1]:
            tensor.zero_()
