"""Honest figures from few episodes and few seeds: intervals, curves, dips, differences.

Rates are in [0, 1]. Intervals are 95 % unless said. Pure functions of numpy arrays.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import DataError
from robot_rl.intervals import Interval, bootstrap, wilson
from robot_rl.types import F64

__all__ = [
    "Interval",
    "area_under_curve",
    "bootstrap",
    "interquartile_mean",
    "paired_difference",
    "sliding_rate",
    "steps_to_threshold",
    "wilson",
    "worst_dip",
    "worst_window",
]


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of the values (Agarwal et al. 2021); edges count in part."""
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    n = len(ordered)
    if n == 0:
        raise DataError("the interquartile mean of no values does not exist.")
    edges = np.arange(n + 1) / n
    weight = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return float(ordered @ weight / weight.sum())


def paired_difference(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Interval:
    """Mean of `second - first` over pairs (the same seeds), with its bootstrap interval.

    Raises:
        DataError: Not as many values in both.
    """
    a, b = np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()
    if a.shape != b.shape:
        raise DataError(f"{len(a)} and {len(b)} values cannot be paired: give the same seeds.")
    return bootstrap(b - a, seed=seed)


def steps_to_threshold(
    steps: Sequence[int], rates: Sequence[float], threshold: float
) -> int | None:
    """The first step at which the curve is at or above `threshold`; None if it never is."""
    return next((s for s, r in zip(steps, rates, strict=True) if r >= threshold), None)


def area_under_curve(steps: Sequence[int], rates: Sequence[float]) -> float:
    """Mean height of the curve over its span (trapezoids): 1 is perfect from the first step."""
    x, y = np.asarray(steps, np.float64), np.asarray(rates, np.float64)
    if len(x) == 0:
        raise DataError("the area under a curve of no points does not exist.")
    if x[-1] == x[0]:
        return float(y.mean())
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def worst_dip(base: float, rates: Sequence[float]) -> float:
    """How far the curve ever falls below the base's rate; 0 if it never does."""
    return max(0.0, base - min(rates, default=base))


def sliding_rate(successes: ArrayLike, window: int = 50) -> F64:
    """Rate of the last `window` outcomes, once there are as many: (n - window + 1,)."""
    outcomes = np.asarray(successes, np.float64).ravel()
    if window < 1:
        raise DataError(f"a window of {window} episodes: must be at least 1.")
    if len(outcomes) < window:
        return np.zeros(0)
    total = np.concatenate([[0.0], np.cumsum(outcomes)])
    return (total[window:] - total[:-window]) / window


def worst_window(successes: ArrayLike, window: int = 50) -> Interval | None:
    """The lowest rate of any `window` executed episodes in a row, with its Wilson interval.

    The lowest of many windows lies low by chance alone: a policy of 50 % shows windows of 36 %.
    So say its interval, and call it a dip only where that excludes the base.

    Returns:
        None if there are fewer episodes than the window: nothing can be said.
    """
    rates = sliding_rate(successes, window)
    return wilson(round(float(rates.min()) * window), window) if len(rates) else None
