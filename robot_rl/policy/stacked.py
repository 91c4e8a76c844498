"""N networks of one shape trained as one: the engine under critics, actors and BC ensembles.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

Forward and backward are written by hand on stacked weights (N, in, out), and all of them are views
of one flat parameter, so that an update is a handful of large kernels: no loop over networks, no
autograd graph, one optimiser call, one `lerp_` for a target network.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from robot_rl.errors import CheckpointError, ConfigError, ShapeError
from robot_rl.policy import dense
from robot_rl.policy.layers import Layer, count_parameters, draw_, layer_views
from robot_rl.policy.optimiser import FlatAdam
from robot_rl.policy.precision import Precision, Products, fastest
from robot_rl.policy.product import product, product_added
from robot_rl.policy.workspace import Kept, Workspace
from robot_rl.types import F32

__all__ = ["StackedMLP"]


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
        precision: Precision | Literal["auto"] = "fp32",
    ) -> None:
        """Draw weights and biases from U(±1/√in), like `nn.Linear`, each network for itself.

        Args:
            num: Number of networks.
            sizes: Widths from input to output; at least one hidden layer.
            layer_norm: Normalise each hidden layer before its ReLU.
            seed: Of the initial weights.
            zero_last: Start with an output of exactly zero.
            precision: Arithmetic of the products; "auto" measures which is faster.

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
        self.precision: Precision = (
            _faster(num, self.sizes, layer_norm) if precision == "auto" else precision
        )
        with torch.inference_mode(False):  # else a caller's inference mode freezes them for good
            self.flat = torch.zeros(count_parameters(num, self.sizes))
            self.grad = torch.zeros_like(self.flat)
            self.adam = FlatAdam(self.flat)
        self._layers = layer_views(self.flat, num, self.sizes)
        draw_(self._layers, self.sizes, seed=seed, zero_last=zero_last)
        self._products = Products(
            self.flat, self.grad, num=num, sizes=self.sizes, precision=self.precision
        )
        # Keeps the statistics of a bfloat16 layer normalisation in float32.
        self._ones = [torch.ones(w) if self._products.is_copy else None for w in sizes[1:-1]]
        self._is_fresh = True  # grad holds nothing yet: the next backward writes, not adds
        self._numpy = [(w.numpy(), b.numpy()[:, 0]) for w, b in self._layers]
        self._workspace = Workspace(self.sizes[1:-1], self._products.dtype)
        self._kept: Kept | None = None

    def _hidden(self, members: Tensor | None) -> list[Layer]:
        """The hidden layers of all networks or of these, as the products read them."""
        if members is None:
            return self._products.layers()[:-1]
        dtype = self._products.dtype
        return [(w[members].to(dtype), b[members].to(dtype)) for w, b in self._layers[:-1]]

    def forward(
        self, x: Tensor, *, keep: bool = False, members: Sequence[int] | None = None
    ) -> Tensor:
        """Outputs (N, B, out) float32 for inputs (B, in) shared by all, or (N, B, in).

        Args:
            x: float32 inputs; leave them unchanged until `backward`.
            keep: Remember what `backward` needs; the next kept forward forgets it.
            members: Evaluate only these networks, in this order; cannot be kept.

        Raises:
            ShapeError: `x` has another width, or another number of networks.
            ConfigError: `keep` together with `members`.
        """
        if keep and members is not None:
            raise ConfigError("forward: keep=True needs all networks; drop `members`.")
        index = None if members is None else torch.as_tensor(members)
        n = self.num if members is None else len(members)
        allowed = (n, x.shape[-2], self.sizes[0]) if x.ndim > 1 else (n, 1, self.sizes[0])
        if tuple(x.shape) not in (allowed, allowed[1:]):
            raise ShapeError("network input", tuple(x.shape), allowed)
        batch = x.shape[-2]
        # Nothing here requires a gradient, so a detached input spares a no_grad a call.
        h = x.detach().to(self._products.dtype).expand(n, batch, -1)
        kept = Kept(h, self._workspace.get("pre", n, batch), [], [], x.ndim == 2) if keep else None
        buffers = self._workspace.get("pre" if keep else "free", n, batch)
        for (weight, bias), pre, ones in zip(
            self._hidden(index), buffers, self._ones, strict=True
        ):
            h = product_added(bias, h, weight, out=pre)
            if self.layer_norm:
                h, mean, rstd = dense.norm_forward(pre, ones)
                if kept:
                    kept.stats.append((mean, rstd))
            dense.relu_(h)
            if kept:
                kept.out.append(h)
        if kept:
            self._kept = kept
        weight, bias = self._layers[-1]
        if index is not None:
            weight, bias = weight[index], bias[index]
        return dense.head_forward(h, weight, bias)

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
        layers = self._products.layers()
        grads = self._workspace.get("grad", self.num, batch)
        masks = self._workspace.get("mask", self.num, batch)
        g = grad_out.detach().to(self._products.dtype)
        for k in range(len(layers) - 1, 0, -1):
            if params:
                self._gather(k, g, kept.out[k - 1])
            weight = layers[k][0]
            if k == len(layers) - 1:
                g = dense.head_backward_input(g, weight, grads[k - 1])
            else:
                g = product(g, weight.mT, out=grads[k - 1])
            dense.relu_backward_(g, kept.out[k - 1], masks[k - 1])
            if self.layer_norm:
                g = dense.norm_backward(g, kept.pre[k - 1], *kept.stats[k - 1], self._ones[k - 1])
        if params:
            self._gather(0, g, kept.x)
            self._products.flush(add=not self._is_fresh)
            self._is_fresh = False
        if inputs is False:
            return None
        weight = layers[0][0] if inputs is True else layers[0][0][:, inputs]
        out = torch.bmm(g, weight.mT).float()
        return out.sum(0) if kept.shared else out

    def _gather(self, k: int, g: Tensor, below: Tensor) -> None:
        """Write or add the gradient of layer `k` from that of its output `g` (N, B, out)."""
        weight, bias = self._products.grads[k]
        a, b = (g, below) if k == len(self._layers) - 1 else (below, g)
        if self._is_fresh or self._products.is_copy:
            product(a.mT, b, out=weight)
            torch.sum(g, 1, keepdim=True, out=bias)
        else:
            product_added(weight, a.mT, b, out=weight)
            bias += g.sum(1, keepdim=True)

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
            NonFiniteError: The gradient holds NaN or infinity; no weight was changed.
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
        mine, other = (self.num, *self.sizes), (online.num, *online.sizes)
        if other != mine:
            raise ShapeError("online network", other, mine)
        self.flat.lerp_(online.flat, tau)

    @torch.no_grad()
    def scale_output(self, factor: float, columns: slice = slice(None)) -> None:
        """Multiply what every network puts out in these columns by `factor`; its Adam stays."""
        weight, bias = self._layers[-1]
        weight[:, columns].mul_(factor)
        bias[..., columns].mul_(factor)

    def clone(self) -> "StackedMLP":
        """An equal network, with its own memory."""
        twin = StackedMLP(
            self.num, self.sizes, layer_norm=self.layer_norm, seed=0, precision=self.precision
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
        return dense.act_one(self._numpy, x, layer_norm=self.layer_norm)


@functools.cache
def _faster(num: int, sizes: tuple[int, ...], layer_norm: bool) -> Precision:
    """The precision in which such networks update faster on this machine, at a batch of 256."""

    def update_of(precision: Precision) -> Callable[[], object]:
        net = StackedMLP(num, sizes, layer_norm=layer_norm, seed=0, precision=precision)
        x = torch.zeros(256, sizes[0])

        def update() -> None:
            net.backward(net.forward(x, keep=True))
            net.step(0.0)

        return update

    return fastest({precision: update_of(precision) for precision in ("fp32", "bf16")})
