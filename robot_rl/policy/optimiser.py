"""Adam on one flat parameter: one kernel call a step, whatever the number of layers and networks.

learning:  transition → episode store → progress model → replay → **residual agent** → weights
"""

import math

import torch
from torch import Tensor

from robot_rl.errors import CheckpointError, NonFiniteError

__all__ = ["FlatAdam"]


class FlatAdam:
    """AdamW (Loshchilov & Hutter 2019) with gradient clipping, equal to `torch.optim.AdamW`."""

    def __init__(
        self,
        param: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """Keep zero moments for `param` (P,), which `step` changes in place."""
        self.param = param
        self.betas = betas
        self.eps = eps
        self.mean = torch.zeros_like(param)
        self.square = torch.zeros_like(param)
        self.count = torch.zeros((), dtype=torch.float32)  # the fused kernel wants a float32
        self._scale = torch.ones((), dtype=torch.float32)

    @torch.no_grad()
    def step(
        self, grad: Tensor, lr: float, *, weight_decay: float = 0.0, max_norm: float | None = None
    ) -> float:
        """Move the parameter against `grad` (P,); scales `grad` in place when it is clipped.

        Args:
            grad: (P,) gradient of the loss.
            lr: Learning rate.
            weight_decay: Decoupled weight decay.
            max_norm: The gradient is scaled down to this length if it is longer; None never clips.

        Returns:
            The length of the gradient before clipping.

        Raises:
            NonFiniteError: The gradient holds NaN or infinity; no weight was changed.
        """
        norm = float(torch.linalg.vector_norm(grad))
        if not math.isfinite(norm):
            raise NonFiniteError("gradient length", norm, "Look at the batch and the losses.")
        scale = None
        if max_norm is not None and norm > max_norm:
            # The kernel divides by the scale while it reads: clipping costs no pass of its own.
            scale = self._scale.fill_((norm + 1e-6) / max_norm)
        self.count += 1
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
            [self.param],
            [grad],
            [self.mean],
            [self.square],
            [],
            [self.count],
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,
        )
        # The fused kernel does not count as an in-place change by itself.
        torch.autograd.graph.increment_version(self.param)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the moments (P,) and of the number of steps ()."""
        return {
            "adam_mean": self.mean.clone(),
            "adam_square": self.square.clone(),
            "adam_count": self.count.clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        own = {"adam_mean": self.mean, "adam_square": self.square, "adam_count": self.count}
        for key, tensor in own.items():
            if key not in state or state[key].shape != tensor.shape:
                found = tuple(state[key].shape) if key in state else "nothing"
                raise CheckpointError(
                    f"optimiser state '{key}' is {found}, but must have shape "
                    f"{tuple(tensor.shape)}. Load a checkpoint of a network of the same size."
                )
        for key, tensor in own.items():
            tensor.copy_(state[key])
