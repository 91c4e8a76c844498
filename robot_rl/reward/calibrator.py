"""Makes a model's success scores mean what they say: 0.9 is right nine times of ten.

learning:  transition → episode store → **progress model → calibrated** → replay → residual agent
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.types import F32, F64

__all__ = ["Calibrator", "logit"]

_EDGE = 1e-6
_STEPS = 50


def logit(probability: ArrayLike) -> F64:
    """log(p / (1 - p)), finite for 0 and 1; NaN stays NaN."""
    p = np.clip(np.asarray(probability, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Maps a score p to sigmoid(scale · logit(p) + shift); scale 1 and shift 0 leave it alone."""

    scale: float = 1.0
    """Above 1 sharpens, below 1 takes away false confidence."""
    shift: float = 0.0
    """Below 0 makes success rarer."""

    def __post_init__(self) -> None:
        """Refuse a map that would turn the order of scores around."""
        if not (self.scale > 0 and np.isfinite([self.scale, self.shift]).all()):
            raise ConfigError(
                f"calibrator: scale {self.scale} must be positive, shift {self.shift} finite."
            )

    def __call__(self, score: ArrayLike) -> F32:
        """Probabilities for scores of any shape; NaN stays NaN."""
        return _sigmoid(self.scale * logit(score) + self.shift).astype(np.float32)

    @classmethod
    def fit(cls, score: ArrayLike, label: ArrayLike) -> "Calibrator":
        """Fit on scores (n,) of held-out frames and whether each was a success (n,).

        Logistic regression by Newton's method on the smoothed targets of Platt (1999), with a
        weak pull to the identity, so that few or perfectly parted frames do not run away. Frames
        of one kind only say nothing, and give the identity.

        Raises:
            ShapeError: Not as many scores as labels.
        """
        x, y = logit(score).ravel(), np.asarray(label, np.float64).ravel()
        if x.shape != y.shape:
            raise ShapeError("calibrator: labels", y.shape, x.shape)
        wins, losses = y.sum(), (1 - y).sum()
        if wins == 0 or losses == 0:
            return cls()
        target = np.where(y > 0, (wins + 1) / (wins + 2), 1 / (losses + 2))
        design = np.stack([x, np.ones_like(x)], 1)
        pull = np.array([1.0, 0.1])
        theta = np.array([1.0, 0.0])
        for _ in range(_STEPS):
            p = _sigmoid(design @ theta)
            slope = design.T @ (p - target) + pull * (theta - (1.0, 0.0))
            bend = (design.T * (p * (1 - p))) @ design + np.diag(pull)
            step = np.linalg.solve(bend, slope)
            step *= min(1.0, 1.0 / np.abs(step).max(initial=1e-12))  # far steps overshoot
            theta = theta - step
        return cls(scale=float(max(theta[0], 0.05)), shift=float(theta[1]))


def _sigmoid(x: F64) -> F64:
    return 0.5 * (1 + np.tanh(0.5 * x))
