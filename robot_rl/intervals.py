"""Intervals around rates and statistics of few samples; what judging and learning share.

Rates are in [0, 1]. Intervals are 95 % unless said. Pure functions of numpy arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import DataError
from robot_rl.types import F64

__all__ = ["Interval", "bootstrap", "wilson"]

Z_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the interval around it."""

    mean: float
    low: float
    high: float


def wilson(successes: int, trials: int, z: float = Z_95) -> Interval:
    """Wilson's score interval of a success rate (Wilson 1927, eq. 1); (0, 1) without trials.

    Raises:
        DataError: More successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise DataError(f"{successes} successes in {trials} trials: must be 0 <= s <= n.")
    if trials == 0:
        return Interval(mean=float("nan"), low=0.0, high=1.0)
    p, z2n = successes / trials, z * z / trials
    center = (p + z2n / 2) / (1 + z2n)
    half = z * np.sqrt(p * (1 - p) / trials + z2n / (4 * trials)) / (1 + z2n)
    # Rounding must not push the interval off its own estimate.
    return Interval(
        mean=p, low=float(min(max(center - half, 0), p)), high=float(max(min(center + half, 1), p))
    )


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[F64], float] = lambda v: float(np.mean(v)),
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a statistic over seeds; deterministic for a given `seed`."""
    sample = np.asarray(values, np.float64).ravel()
    if len(sample) == 0:
        raise DataError("a bootstrap needs at least one value.")
    rng = np.random.default_rng(seed)
    drawn = sample[rng.integers(0, len(sample), (resamples, len(sample)))]
    means = np.array([statistic(row) for row in drawn])
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(mean=float(statistic(sample)), low=float(low), high=float(high))
