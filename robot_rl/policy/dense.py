"""Forward and backward of one stacked layer, in the forms that are fastest on a CPU.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

Every function takes N networks at once: activations (N, B, width), weights (N, in, out). Small
networks are bound by memory traffic and call overhead, so each form here was chosen by measuring
the alternatives; the comments name the loser.
"""

import numpy as np
import torch
from torch import Tensor

from robot_rl.types import F32

__all__ = [
    "act_one",
    "head_backward_input",
    "head_forward",
    "norm_backward",
    "norm_forward",
    "relu_",
    "relu_backward_",
]

_EPS = 1e-5  # of nn.LayerNorm


def relu_(x: Tensor) -> Tensor:
    """Clamp `x` below at zero, in place."""
    if x.dtype == torch.bfloat16:
        # The sign bit of a bfloat16 is the sign bit of the same bits as int16: 6x relu_.
        x.view(torch.int16).clamp_min_(0)
        return x
    return x.relu_()


def relu_backward_(grad: Tensor, out: Tensor, mask: Tensor) -> Tensor:
    """Zero `grad` where the ReLU's output `out` is zero, in place; `mask` is scratch like it."""
    if grad.dtype == torch.bfloat16:
        # out >= 0, so -out as int16 has its sign set just where out > 0: 2x threshold_backward.
        bits = torch.neg(out.view(torch.int16), out=mask.view(torch.int16))
        torch.bitwise_right_shift(bits, 15, out=bits)
        grad.view(torch.int16).bitwise_and_(bits)
        return grad
    return torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)


def norm_forward(x: Tensor, ones: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Layer normalisation without gain and offset: (normed, mean, reciprocal deviation).

    `ones` (width,) float32 keeps the statistics of a bfloat16 `x` in float32; None otherwise.
    """
    if ones is not None:
        return torch.native_layer_norm(x, x.shape[-1:], ones, None, _EPS)
    # Call by call: native_layer_norm takes twice the time for rows this short.
    mean = x.mean(-1, keepdim=True)
    normed = x - mean
    length = torch.linalg.vector_norm(normed, dim=-1, keepdim=True)
    rstd = length.square_().mul_(1.0 / x.shape[-1]).add_(_EPS).rsqrt_()
    return normed.mul_(rstd), mean, rstd


def norm_backward(
    grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, ones: Tensor | None
) -> Tensor:
    """Gradient (N, B, width) of `norm_forward` with respect to its input `x`."""
    return torch.ops.aten.native_layer_norm_backward(
        grad, x, x.shape[-1:], mean, rstd, ones, None, [True, False, False]
    )[0]


def head_forward(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Output layer: float32 (N, B, out) from `h` (N, B, in), `weight` (N, out, in).

    Always float32: a value rounded to bfloat16 has three digits, and the critic's differences
    drown. As its transpose, since `h @ weight.T` takes up to three times as long where the output
    is this narrow, and one product a network up to four times. The result is a transposed view.
    """
    return torch.baddbmm(bias.mT, weight, h.float().mT).mT


def head_backward_input(grad: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """Write into `out` (N, B, in) the gradient with respect to the output layer's input."""
    if weight.shape[1] == 1 and grad.dtype == torch.float32:
        return torch.mul(grad, weight, out=out)  # 15x bmm
    return torch.bmm(grad, weight, out=out)


def act_one(layers: list[tuple[F32, F32]], x: F32, *, layer_norm: bool) -> F32:
    """Outputs (N, out) of the networks for one input (in,): numpy calls cost a third of torch's.

    `layers` are (weight, bias) as in `precision.layer_views`, with biases (N, out).
    """
    last_weight, last_bias = layers[-1]
    out = np.empty(last_bias.shape, np.float32)
    for n in range(len(out)):
        h = x
        for weight, bias in layers[:-1]:
            h = h @ weight[n]
            h += bias[n]
            if layer_norm:
                h -= h.sum() / h.size
                h *= 1.0 / np.sqrt(h @ h / h.size + _EPS)
            np.maximum(h, 0.0, out=h)
        np.add(last_weight[n] @ h, last_bias[n], out=out[n])
    return out
