"""The most telling motion, found by the cross-entropy method over draws from a belief.

explore:   believed twins → **motion** → measurement → fit → posterior → task policy
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64
from sim.explore.information import OBJECTIVES, fisher_information
from sim.explore.motions import Motion
from sim.explore.rehearsal import Rehearsal
from sim.randomize import Belief
from sim.twin import Start

__all__ = ["ObjectiveName", "PlanCfg", "Planned", "SearchCfg", "cross_entropy", "plan_motion"]

ObjectiveName = Literal["trace", "logdet", "a-optimal"]
_UNSAFE = 1e6


@dataclass(frozen=True, kw_only=True)
class SearchCfg:
    """The cross-entropy method."""

    candidates: int = 16
    """Points tried an iteration."""
    iterations: int = 5
    """How often the distribution is fitted to the best."""
    elites: int = 4
    """How many are the best."""
    smoothing: float = 0.2
    """Share of the last distribution that is kept."""

    def __post_init__(self) -> None:
        """Refuse counts that leave nothing to choose."""
        if not 1 < self.elites <= self.candidates or self.iterations < 1:
            raise ConfigError(
                f"search: elites is {self.elites} of {self.candidates} candidates in "
                f"{self.iterations} iterations, but 1 < elites <= candidates and >= 1 iteration."
            )
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"search: smoothing is {self.smoothing}, but must be in [0, 1).")


@dataclass(frozen=True, kw_only=True)
class PlanCfg:
    """How a motion is chosen."""

    objective: ObjectiveName = "a-optimal"
    """What is wanted: the trace of the Fisher information as in ASID, its log determinant, or the
    least mean squared error."""
    draws: int = 6
    """Twins drawn from the belief over which the objective is averaged."""
    search: SearchCfg = field(default_factory=SearchCfg)
    """The search."""
    seed: int = 0
    """Draws twins and candidates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """A motion, and what is expected of it."""

    x: F64  # (k,)
    score: float
    information: F64  # (p, p) mean over draws, in prior deviations
    history: tuple[float, ...]
    """Best score of each iteration."""
    rollouts: int

    def as_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Plain values, for files."""
        return {
            "x": dict(zip(names, self.x.tolist(), strict=True)),
            "score": self.score,
            "information": self.information.tolist(),
            "history": list(self.history),
            "rollouts": self.rollouts,
        }


def cross_entropy(
    score: Callable[[F64], F64],
    low: F64,
    high: F64,
    cfg: SearchCfg,
    rng: np.random.Generator,
) -> tuple[F64, float, tuple[float, ...]]:
    """Maximise a score over a box; the first candidates are uniform in it.

    Args:
        score: From points (n, k) to scores (n,).
        low: (k,).
        high: (k,).
        cfg: The search.
        rng: Draws the points.

    Returns:
        The best point of all, its score, and the best score of each iteration.
    """
    points = rng.uniform(low, high, (cfg.candidates, len(low)))
    mean, std = 0.5 * (low + high), (high - low) / np.sqrt(12)
    best, best_score, history = points[0], -np.inf, []
    for _ in range(cfg.iterations):
        scores = score(points)
        order = np.argsort(-scores)
        if scores[order[0]] > best_score:
            best, best_score = points[order[0]].copy(), float(scores[order[0]])
        history.append(best_score)
        elite = points[order[: cfg.elites]]
        mean = cfg.smoothing * mean + (1 - cfg.smoothing) * elite.mean(0)
        std = cfg.smoothing * std + (1 - cfg.smoothing) * elite.std(0)
        points = np.clip(rng.normal(mean, std, (cfg.candidates, len(low))), low, high)
        points[0] = best
    return best, best_score, tuple(history)


def plan_motion(
    rehearsal: Rehearsal,
    motion: Motion,
    start: Start,
    belief: Belief,
    cfg: PlanCfg,
    *,
    is_safe: Callable[[F64], np.ndarray] | None = None,
) -> Planned:
    """Choose the motion that tells most, on average over twins drawn from a belief.

    Args:
        rehearsal: The twins.
        motion: The family to choose from.
        start: Where it begins.
        belief: What is believed of the parameters.
        cfg: How to choose.
        is_safe: From what is measured at the end (..., m) to bool (...,): whether the world is
            still as it may be. A motion that is unsafe in one twin is not chosen.
    """
    rng = np.random.default_rng(cfg.seed)
    values = belief.sample(cfg.draws, rng)
    objective = OBJECTIVES[cfg.objective]

    def score(points: F64) -> F64:
        found, last = fisher_information(rehearsal, start, motion.actions(points), values)
        scores = objective(found).mean(1)
        unsafe = 0.0 if is_safe is None else (~is_safe(last)).mean((1, 2))
        return scores - _UNSAFE * unsafe

    before = rehearsal.rollouts
    x, best, history = cross_entropy(score, motion.low, motion.high, cfg.search, rng)
    information, _ = fisher_information(rehearsal, start, motion.actions(x[None]), values)
    return Planned(
        x=x,
        score=best,
        information=information[0].mean(0),
        history=history,
        rollouts=rehearsal.rollouts - before,
    )
