"""The task policy of a belief: a script whose knobs are tuned in twins drawn from it.

explore:   **believed twins** → motion → measurement → fit → posterior → **task policy**
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64
from sim.batch import BatchedTwin
from sim.explore.plan import SearchCfg, cross_entropy
from sim.explore.probes import Probe
from sim.randomize import Belief, RandomForces, RandomizedTwin

__all__ = ["TuneCfg", "Tuned", "success_of", "tune"]

_FARTHEST = 10.0  # misses beyond this count alike
_WEIGHT = 0.1  # of the miss, which only leads where no episode succeeds


@dataclass(frozen=True, kw_only=True)
class TuneCfg:
    """How knobs are tuned."""

    episodes: int = 12
    """Episodes of each candidate, the same for all: start, twin and forces."""
    search: SearchCfg = field(
        default_factory=lambda: SearchCfg(candidates=16, iterations=3, elites=4)
    )
    """The search."""
    seed: int = 0
    """Draws episodes and candidates; evaluation seeds are never among them."""

    def __post_init__(self) -> None:
        """Refuse to tune on nothing."""
        if self.episodes < 1:
            raise ConfigError(f"tune: episodes is {self.episodes}, but must be at least 1.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """Knobs, and how well they did in the belief they were tuned in."""

    x: F64  # (k,)
    score: float


def tune(
    probe: Probe, belief: Belief, cfg: TuneCfg, *, forces: RandomForces | None = None
) -> Tuned:
    """The knobs that succeed most often in twins drawn from a belief.

    Raises:
        ConfigError: The probe has no task policy.
    """
    skill = probe.skill
    if skill is None:
        raise ConfigError(f"probe '{probe.task}' has no task policy to tune.")
    twin = RandomizedTwin(probe.twin, belief, forces=forces)
    rows = cfg.episodes * cfg.search.candidates
    batch = BatchedTwin(twin, rows)
    starts = [batch.draw(seed) for seed in range(cfg.seed, cfg.seed + cfg.episodes)]

    def score(points: F64) -> F64:
        batch.active[:] = False
        batch.place([start for _ in points for start in starts])
        x = np.repeat(points, cfg.episodes, 0)
        success, taken = _play(batch, probe, x)
        miss = np.minimum(skill.miss(probe.twin, batch.state)[: len(x)], _FARTHEST) / _FARTHEST
        worth = 1.0 - skill.hurry * taken / probe.twin.task.horizon
        gained = np.where(success, worth, -_WEIGHT * miss)
        return gained.reshape(len(points), -1).mean(1)

    rng = np.random.default_rng(cfg.seed)
    low, high = np.array(skill.low), np.array(skill.high)
    x, best, _ = cross_entropy(score, low, high, cfg.search, rng)
    return Tuned(x=x, score=best)


def success_of(probe: Probe, belief: Belief, x: F64, seeds: Sequence[int]) -> np.ndarray:
    """(n,) bool: which episodes of some seeds succeed with knobs (k,) in a belief."""
    batch = BatchedTwin(RandomizedTwin(probe.twin, belief), len(seeds))
    batch.place([batch.draw(seed) for seed in seeds])
    return _play(batch, probe, np.tile(x, (len(seeds), 1)))[0]


def _play(batch: BatchedTwin, probe: Probe, x: F64) -> tuple[np.ndarray, np.ndarray]:
    """Play the episodes that were begun to their ends; (n,) success, and steps taken."""
    assert probe.skill is not None
    success, taken = np.zeros(batch.num_envs, bool), np.zeros(batch.num_envs, np.int64)
    while batch.active.any():
        taken += batch.active
        success |= batch.step(probe.skill.act(probe.twin, x, batch.state))[2]
    return success, taken
