"""Heads that read progress, success and preference from hidden states, and their losses.

learning:  transition → episode store → **progress model** → replay → residual agent → weights
"""

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from robot_rl.errors import CheckpointError

__all__ = [
    "RobometerHeads",
    "balanced_bce",
    "load_heads",
    "progress_loss",
    "save_heads",
    "two_bins",
]

BINS = 10
"""RoboMETER's number of progress bins."""


def two_bins(target: torch.Tensor, bins: int) -> torch.Tensor:
    """Targets (...) in [0, 1] as distributions (..., bins) over evenly spaced levels 0..1.

    A value between two levels is shared between them so that the mean is the value itself (C51's
    projection, arXiv 1707.06887, algorithm 1).
    """
    at = target.clamp(0.0, 1.0) * (bins - 1)
    low = at.floor().clamp(max=bins - 2)
    share = (at - low)[..., None]
    index = low.long()
    left = functional.one_hot(index, bins) * (1.0 - share)
    return left + functional.one_hot(index + 1, bins) * share


class RobometerHeads(nn.Module):
    """Three small perceptrons on hidden states (..., width)."""

    def __init__(self, width: int, bins: int = BINS) -> None:
        super().__init__()

        def head(outputs: int) -> nn.Sequential:
            half = max(1, width // 2)
            return nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, half), nn.GELU(), nn.Linear(half, outputs)
            )

        self.width, self.bins = width, bins
        self.progress, self.success, self.preference = head(bins), head(1), head(1)
        self.register_buffer("levels", torch.linspace(0.0, 1.0, bins), persistent=False)

    def judge(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean and spread of progress, and the probability of success, (T,) each."""
        share = self.progress(states.float()).softmax(dim=-1)
        levels: torch.Tensor = self.levels  # type: ignore[assignment]
        mean = (share * levels).sum(dim=-1)
        sigma = (share * (levels - mean[..., None]) ** 2).sum(dim=-1).sqrt()
        return mean, sigma, self.success(states.float())[..., 0].sigmoid()

    def prefers_second(self, states: torch.Tensor) -> torch.Tensor:
        """Logit that the second of two attempts is better, from states (..., T, width) of both.

        Both stand in one text: scores of attempts judged apart (Bradley-Terry) rank far worse.
        """
        return self.preference(states[..., -1, :].float())[..., 0]


def progress_loss(
    heads: RobometerHeads, states: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy between the bins of `states` (n, width) and targets (n,) in [0, 1]."""
    logp = heads.progress(states.float()).log_softmax(dim=-1)
    return -(two_bins(target, heads.bins) * logp).sum(dim=-1).mean()


def balanced_bce(logit: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy (n,) in which successes and failures weigh the same together."""
    each = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    kinds = [each[label > 0.5], each[label <= 0.5]]
    return torch.stack([kind.mean() for kind in kinds if len(kind)]).mean()


def save_heads(heads: RobometerHeads, folder: Path) -> None:
    """Write sizes and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in heads.state_dict().items()
    }
    safetensors.torch.save_file(state, folder / "heads.safetensors")
    row = {"width": heads.width, "bins": heads.bins}
    (folder / "heads.json").write_text(json.dumps(row) + "\n")


def load_heads(folder: Path) -> RobometerHeads:
    """Heads that `save_heads` wrote.

    Raises:
        CheckpointError: They are missing or damaged.
    """
    try:
        row = json.loads((folder / "heads.json").read_text())
        heads = RobometerHeads(int(row["width"]), int(row["bins"]))
        heads.load_state_dict(safetensors.torch.load_file(folder / "heads.safetensors"))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        raise CheckpointError(f"{folder} holds no heads of ours: {error!r}") from error
    return heads
