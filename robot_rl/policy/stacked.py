"""N networks of one shape trained as one: the engine under critics, actors and BC ensembles.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

Forward and backward are written by hand on stacked weights (N, in, out), and all of them are views
of one flat parameter, so that an update is a handful of large kernels: no loop over networks, no
autograd graph, one optimiser call, one `lerp_` for a target network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import CheckpointError, ConfigError, ShapeError
from robot_rl.policy import dense
from robot_rl.policy.optimiser import FlatAdam
from robot_rl.types import F32

__all__ = ["Precision", "StackedMLP"]

Precision = Literal["fp32", "bf16"]

Layer = tuple[
    Tensor, Tensor
]  # weight (N, in, out), or (N, out, in) for the last; bias (N, 1, out)


@dataclass(eq=False)
class _Kept:
    """What backward needs of one forward: buffers for one batch size, written over and over."""

    x: Tensor  # (N, B, in)
    pre: list[Tensor]  # (N, B, width) each hidden layer before its normalisation
    out: list[Tensor]  # (N, B, width) each hidden layer after its ReLU
    stats: list[tuple[Tensor, Tensor]]  # mean and reciprocal deviation (N, B, 1)
    shared: bool  # one x for all networks


class StackedMLP:
    """N independent MLPs: hidden layers Linear → LayerNorm (without gain) → ReLU, then Linear.

    Attributes:
        num: Number of networks N.
        sizes: Width of the input, of each hidden layer and of the output.
        precision: "fp32", or "bf16" for bfloat16 products over a float32 parameter.
        flat: (P,) float32, every weight and bias of every network.
        grad: (P,) float32, what `backward` has gathered since the last `step`.
    """

    def __init__(
        self,
        num: int,
        sizes: tuple[int, ...],
        *,
        layer_norm: bool,
        seed: int,
        zero_last: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        """Draw weights and biases from U(±1/√in), like `nn.Linear`, each network for itself.

        Args:
            num: Number of networks.
            sizes: Widths from input to output; at least one hidden layer.
            layer_norm: Normalise each hidden layer before its ReLU.
            seed: Of the initial weights.
            zero_last: Start with an output of exactly zero.
            precision: Arithmetic of the products.

        Raises:
            ConfigError: A size is not positive or there is no hidden layer.
        """
        if num < 1 or len(sizes) < 3 or min(sizes) < 1:
            raise ConfigError(
                f"network of num={num}, sizes={sizes}: give num >= 1 and at least three positive "
                "sizes (input, hidden, output)."
            )
        self.num = num
        self.sizes = tuple(sizes)
        self.layer_norm = layer_norm
        self.precision: Precision = precision
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        total = sum(num * (i + 1) * o for i, o in pairwise(sizes))
        self.flat = torch.zeros(total)
        self.grad = torch.zeros(total)
        self.adam = FlatAdam(self.flat)
        self._is_fresh = True  # grad holds nothing yet: the next backward writes, not adds
        self._layers = self._views(self.flat)
        self._grads = self._views(self.grad)
        self._numpy = [(w.numpy(), b.numpy()[:, 0]) for w, b in self._layers]
        self._buffers: dict[tuple[object, ...], list[Tensor]] = {}
        self._kept: _Kept | None = None
        self._draw(seed, zero_last)

    def _draw(self, seed: int, zero_last: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        for k, (weight, bias) in enumerate(self._layers):
            bound = self.sizes[k] ** -0.5
            if not (zero_last and k == len(self._layers) - 1):
                weight.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bound, bound, generator=generator)

    def _views(self, flat: Tensor) -> list[Layer]:
        """The layers inside a flat (P,) tensor."""
        layers, start, last = [], 0, len(self.sizes) - 2
        for k, (i, o) in enumerate(pairwise(self.sizes)):
            shape = (self.num, o, i) if k == last else (self.num, i, o)
            weight = flat[start : start + self.num * i * o].view(shape)
            start += self.num * i * o
            layers.append((weight, flat[start : start + self.num * o].view(self.num, 1, o)))
            start += self.num * o
        return layers

    def _scratch(self, kind: str, n: int, batch: int) -> list[Tensor]:
        """One buffer (n, batch, width) a hidden layer, made once for each kind and size."""
        key = (kind, n, batch)
        if key not in self._buffers:
            self._buffers[key] = [
                torch.empty(n, batch, width, dtype=self._dtype) for width in self.sizes[1:-1]
            ]
        return self._buffers[key]

    @torch.no_grad()
    def forward(
        self, x: Tensor, *, keep: bool = False, members: Sequence[int] | None = None
    ) -> Tensor:
        """Outputs (N, B, out) float32 for inputs (B, in) shared by all, or (N, B, in).

        Args:
            x: float32 inputs.
            keep: Remember what `backward` needs; the next kept forward forgets it.
            members: Evaluate only these networks, in this order; cannot be kept.

        Raises:
            ShapeError: `x` has another width, or another number of networks.
            ConfigError: `keep` together with `members`.
        """
        layers = self._layers
        n = self.num
        if members is not None:
            if keep:
                raise ConfigError("forward: keep=True needs all networks; drop `members`.")
            index = torch.as_tensor(members)
            layers = [(w[index], b[index]) for w, b in layers]
            n = len(members)
        allowed = (n, x.shape[-2], self.sizes[0]) if x.ndim > 1 else (n, 1, self.sizes[0])
        if tuple(x.shape) not in (allowed, allowed[1:]):
            raise ShapeError("network input", tuple(x.shape), allowed)
        batch = x.shape[-2]
        h = x.expand(n, batch, -1)
        kept = _Kept(h, self._scratch("pre", n, batch), [], [], x.ndim == 2) if keep else None
        buffers = kept.pre if kept else self._scratch("free", n, batch)
        for (weight, bias), pre in zip(layers[:-1], buffers, strict=True):
            torch.baddbmm(bias, h, weight, out=pre)
            h = pre
            if self.layer_norm:
                h, mean, rstd = dense.norm_forward(pre, None)
                if kept:
                    kept.stats.append((mean, rstd))
            dense.relu_(h)
            if kept:
                kept.out.append(h)
        if kept:
            self._kept = kept
        return dense.head_forward(h, *layers[-1])

    @torch.no_grad()
    def backward(
        self, grad_out: Tensor, *, params: bool = True, inputs: bool | slice = False
    ) -> Tensor | None:
        """Carry d loss / d output (N, B, out) back through the last kept forward.

        Args:
            grad_out: float32 gradient of the loss with respect to the output.
            params: Add to `grad`.
            inputs: Return the gradient with respect to the input, or to these columns of it.

        Returns:
            (N, B, columns), or (B, columns) summed over networks if they shared the input;
            None unless `inputs`.

        Raises:
            ConfigError: No forward was kept.
            ShapeError: `grad_out` has another shape than that forward's output.
        """
        kept = self._kept
        if kept is None:
            raise ConfigError("backward needs a forward with keep=True before it.")
        batch = kept.x.shape[1]
        if grad_out.shape != (self.num, batch, self.sizes[-1]):
            raise ShapeError(
                "output gradient", tuple(grad_out.shape), (self.num, batch, self.sizes[-1])
            )
        add = not self._is_fresh
        scratch = self._scratch("grad", self.num, batch)
        masks = scratch
        g = grad_out
        for k in range(len(self._layers) - 1, -1, -1):
            below = kept.out[k - 1] if k else kept.x
            if params:
                self._gather(k, g, below, add=add)
            if k == 0:
                break
            weight = self._layers[k][0]
            if k == len(self._layers) - 1:
                g = dense.head_backward_input(g, weight, scratch[k - 1])
            else:
                g = torch.bmm(g, weight.transpose(1, 2), out=scratch[k - 1])
            dense.relu_backward_(g, below, masks[k - 1])
            if self.layer_norm:
                g = dense.norm_backward(g, kept.pre[k - 1], *kept.stats[k - 1], None)
        if params:
            self._is_fresh = False
        if inputs is False:
            return None
        weight = self._layers[0][0]
        if isinstance(inputs, slice):
            weight = weight[:, inputs]
        out = torch.bmm(g, weight.transpose(1, 2))
        return out.sum(0) if kept.shared else out

    def _gather(self, k: int, g: Tensor, below: Tensor, *, add: bool) -> None:
        """Write or add the gradient of layer `k` from that of its output `g` (N, B, out)."""
        weight, bias = self._grads[k]
        if k == len(self._layers) - 1:
            dense.head_backward_weight(g, below, weight, add=add)
        elif add:
            weight.baddbmm_(below.transpose(1, 2), g)
        else:
            torch.bmm(below.transpose(1, 2), g, out=weight)
        if add:
            bias += g.sum(1, keepdim=True)
        else:
            torch.sum(g, 1, keepdim=True, out=bias)

    def step(
        self, lr: float, *, weight_decay: float = 0.0, max_norm: float | None = None
    ) -> float:
        """One AdamW step on all networks; `grad` starts anew. Returns the gradient's length.

        Args:
            lr: Learning rate.
            weight_decay: Decoupled weight decay.
            max_norm: Clip the length of the whole gradient (all networks together).

        Raises:
            ConfigError: No gradient was gathered since the last step.
        """
        if self._is_fresh:
            raise ConfigError("step needs a backward with params=True since the last step.")
        self._is_fresh = True
        return self.adam.step(self.grad, lr, weight_decay=weight_decay, max_norm=max_norm)

    @torch.no_grad()
    def follow(self, online: "StackedMLP", tau: float) -> None:
        """Move this (target) network a share `tau` of the way to `online`; its Adam stays.

        Raises:
            ShapeError: `online` has another shape.
        """
        if online.flat.shape != self.flat.shape:
            raise ShapeError(
                "online network", (online.num, *online.sizes), (self.num, *self.sizes)
            )
        self.flat.lerp_(online.flat, tau)

    def clone(self) -> "StackedMLP":
        """An equal network, with its own memory."""
        twin = StackedMLP(
            self.num,
            self.sizes,
            layer_norm=self.layer_norm,
            seed=0,
            precision=self.precision,
        )
        twin.load_state_dict(self.state_dict())
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the parameter, the optimiser's moments and its step count."""
        return {
            "shape": torch.tensor([self.num, int(self.layer_norm), *self.sizes]),
            "flat": self.flat.clone(),
            **self.adam.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue bit for bit from what `state_dict` returned.

        Raises:
            CheckpointError: The state is of another shape, or a tensor is missing.
        """
        mine = [self.num, int(self.layer_norm), *self.sizes]
        found = state["shape"].tolist() if "shape" in state else "nothing"
        if found != mine or "flat" not in state or state["flat"].shape != self.flat.shape:
            raise CheckpointError(
                f"network state has (num, layer_norm, *sizes) {found}, but this network has "
                f"{mine}. Build the network with the sizes of the checkpoint."
            )
        self.adam.load_state_dict(state)
        self.flat.copy_(state["flat"])
        self._is_fresh = True
        self._kept = None

    def act(self, x: F32) -> F32:
        """Outputs (N, out) for one input (in,), in float32 numpy: the control step's short way.

        Raises:
            ShapeError: `x` has another width.
        """
        if x.shape != (self.sizes[0],):
            raise ShapeError("network input", x.shape, (self.sizes[0],))
        out = np.empty((self.num, self.sizes[-1]), np.float32)
        for n in range(self.num):
            h = x
            for weight, bias in self._numpy[:-1]:
                h = h @ weight[n]
                h += bias[n]
                if self.layer_norm:
                    h -= h.sum() / h.size
                    h *= 1.0 / np.sqrt(h @ h / h.size + 1e-5)
                np.maximum(h, 0.0, out=h)
            weight, bias = self._numpy[-1]
            np.add(weight[n] @ h, bias[n], out=out[n])
        return out
