"""Figures that say how good a judge of progress is; pure functions of numpy arrays.

Order, level and success are three different things: a model with perfect order may call every
third failure a success (measured in LOG.md). So no figure stands alone.
"""

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.types import F64

__all__ = [
    "calibration_bins",
    "expected_calibration_error",
    "kendall_tau_a",
    "pearson",
    "roc_auc",
    "spearman",
]


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Linear correlation of two arrays (n,); NaN where one of them does not vary."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-12 else float("nan")


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation, equal values sharing the mean rank; NaN where one does not vary."""
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: ArrayLike) -> F64:
    values = np.asarray(values, np.float64)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]


def kendall_tau_a(score: ArrayLike, grade: ArrayLike) -> float:
    """Share of pairs of different grade in the right order, minus those in the wrong one.

    Pairs of equal grade are left out, pairs of equal score count for neither. NaN without a pair.
    """
    s, g = np.asarray(score, np.float64), np.asarray(grade, np.float64)
    up = np.sign(g[:, None] - g[None])
    pairs = np.abs(up).sum()
    return float((up * np.sign(s[:, None] - s[None])).sum() / pairs) if pairs else float("nan")


def roc_auc(score: ArrayLike, label: ArrayLike) -> float:
    """Chance that a success (label 1) has a higher score than a failure; ties count half."""
    label = np.asarray(label, bool)
    wins, losses = int(label.sum()), int((~label).sum())
    if not wins or not losses:
        return float("nan")
    above = _ranks(score)[label].sum() - wins * (wins + 1) / 2
    return float(above / (wins * losses))


def calibration_bins(
    probability: ArrayLike, label: ArrayLike, count: int = 10
) -> list[tuple[float, float, int]]:
    """Mean probability, share of successes and number of frames of each bin that has some."""
    p, y = np.asarray(probability, np.float64), np.asarray(label, np.float64)
    place = np.minimum((p * count).astype(int), count - 1)
    found = ((place == k) for k in range(count))
    return [
        (float(p[rows].mean()), float(y[rows].mean()), int(rows.sum()))
        for rows in found
        if rows.any()
    ]


def expected_calibration_error(probability: ArrayLike, label: ArrayLike, count: int = 10) -> float:
    """Mean distance of probability and truth over bins, weighted by frames; NaN without any."""
    bins = calibration_bins(probability, label, count)
    total = sum(frames for _, _, frames in bins)
    if not total:
        return float("nan")
    return sum(abs(p - y) * frames for p, y, frames in bins) / total
