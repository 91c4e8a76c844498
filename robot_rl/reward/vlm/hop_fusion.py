"""From relative hops to progress and back: labels, three reconstructions, and their fusion.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

A hop is what a general reward model (Robo-Dopamine, arXiv 2512.23703) says about two moments: the
share of the remaining way that was gone (positive), or of the way so far that was lost (negative).
An episode's progress is rebuilt from hops in three ways that err differently: step by step, from
the start, and back from the goal. Where the last two disagree, the fused value barely moves.
"""

from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.types import F64

__all__ = ["FusedProgress", "advance", "fuse", "hop_label"]

_EPS = 0.05
"""Keeps the relative disagreement finite near the start, where progress itself is near 0."""


def hop_label(before: int, after: int, count: int) -> float:
    """The true hop between keyframes `before` and `after` of a success with keyframes 1..count.

    With Φ(i) = (i − 1)/(count − 1), `advance(Φ(before), hop)` is Φ(after) exactly.

    Raises:
        ConfigError: An index is outside 1..count.
    """
    if not (1 <= before <= count and 1 <= after <= count):
        raise ConfigError(f"keyframes are {before} and {after}, but must be within 1 and {count}.")
    if after > before:
        return (after - before) / (count - before)
    return (after - before) / (before - 1) if after < before else 0.0


def advance(progress: float, hop: float) -> float:
    """Progress after a hop; both stay within [0, 1] and [-1, 1]."""
    return progress + ((1.0 - progress) if hop >= 0 else progress) * hop


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedProgress:
    """What three reconstructions agree on.

    Attributes:
        progress: float64 (T,) in [0, 1]; NaN where it is not valid.
        sigma: float64 (T,), root mean square distance of the reconstructions from it.
        weight: float64 (T,) in (0, 1], how far the value was allowed to follow their mean.
        valid: bool (T,), whether every hop it needs was given.
    """

    progress: F64
    sigma: F64
    weight: F64
    valid: np.ndarray


def fuse(step: F64, forward: F64, backward: F64 | None, alpha: float) -> FusedProgress:
    """Fuse the three reconstructions of an episode's progress.

    Args:
        step: (T,) hop from the frame before; the first one is not read. NaN: no answer.
        forward: (T,) hop from the episode's start. NaN: no answer.
        backward: (T,) hop from the goal image, or None if there is no goal.
        alpha: How strongly disagreement of forward and backward holds the value back; 0: not.

    Raises:
        ShapeError: The hops differ in length.
        ConfigError: alpha is negative.
    """
    for name, hops in (("step", step), ("backward", forward if backward is None else backward)):
        if hops.shape != forward.shape:
            raise ShapeError(f"{name} hops", hops.shape, forward.shape)
    if not alpha >= 0:
        raise ConfigError(f"alpha is {alpha}, but must be >= 0.")
    from_start = np.clip(forward, 0.0, 1.0)
    from_goal = None if backward is None else np.clip(1.0 + backward, 0.0, 1.0)
    chain = _chain(step, from_start)
    views = np.stack([chain, from_start, *(() if from_goal is None else (from_goal,))])
    valid = np.asarray(np.isfinite(views).all(axis=0), bool)
    mean = np.where(valid, views.mean(axis=0), np.nan)
    weight = np.ones(len(mean))
    if from_goal is not None:
        gap = np.abs(from_goal - from_start) / (mean + _EPS)
        weight = np.where(valid, np.exp(-alpha * gap**2), 1.0)
    progress, last = mean.copy(), None
    for t in np.flatnonzero(valid):
        if last is not None:
            progress[t] = last + weight[t] * (mean[t] - last)
        last = progress[t]
    sigma = np.sqrt(((views - progress) ** 2).mean(axis=0))
    return FusedProgress(progress=progress, sigma=sigma, weight=weight, valid=valid)


def _chain(step: F64, from_start: F64) -> F64:
    """Progress hop by hop (T,); anchored to the start again wherever a hop is missing."""
    chain = np.full(len(step), np.nan)
    for t in range(len(step)):
        if t == 0 or np.isnan(chain[t - 1]):
            chain[t] = from_start[t]
        elif np.isfinite(step[t]):
            chain[t] = advance(chain[t - 1], float(np.clip(step[t], -1.0, 1.0)))
    return chain
