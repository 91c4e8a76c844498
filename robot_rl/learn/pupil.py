"""A policy in training as behavior cloning sees it, and how its windows are drawn.

learning:  windows → **pupil: update, error, keep** → bc → base policy
"""

from typing import Protocol

import numpy as np

from robot_rl.learn.bc_cfg import BCCfg
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.types import F64, I64

__all__ = ["Pupil", "WindowSampler", "fit_normaliser"]


class Pupil(Protocol):
    """A policy in training."""

    @property
    def policy(self) -> BasePolicy:
        """The policy as it is now."""
        ...

    def update(self, lr: float) -> float:
        """One gradient step; returns the training loss.

        Raises:
            NonFiniteError: Training diverged.
        """
        ...

    def error(self, windows: ChunkWindows) -> float:
        """Mean error on windows that it was not trained on."""
        ...

    def keep(self) -> None:
        """Remember the policy as it is now as the best so far."""
        ...

    def best(self) -> BasePolicy:
        """The policy last kept."""
        ...


def fit_normaliser(cfg: BCCfg, windows: ChunkWindows) -> Normaliser:
    """Fit on the states and on the first action of each window, which is every executed action."""
    return Normaliser.fit(
        windows.state,
        windows.chunk[:, 0],
        state_std_floor=cfg.state_std_floor,
        action_half_floor=cfg.action_half_floor,
    )


class WindowSampler:
    """Draws window indices in proportion to weights, per network where they resample episodes."""

    def __init__(self, weight: F64, rng: np.random.Generator) -> None:
        """Take the weights (N, n) of n windows for N networks; each row has a positive sum."""
        totals = np.cumsum(weight, axis=1)
        self._cumulative = totals / totals[:, -1:]
        self._rng = rng

    def draw(self, count: int) -> I64:
        """Indices (N, count)."""
        uniform = self._rng.random((len(self._cumulative), count))
        return np.stack(
            [
                np.searchsorted(row, u, side="right")
                for row, u in zip(self._cumulative, uniform, strict=True)
            ]
        )
