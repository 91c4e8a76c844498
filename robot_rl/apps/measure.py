"""How often a driver succeeds: one episode for each seed, in the order of the seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from robot_rl.learn.rollout import Driver, run_episode
from robot_rl.learn.statistics import Interval, wilson
from robot_rl.policy.base import BasePolicy

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Outcome and length of the episode of each seed."""

    seeds: tuple[int, ...]
    successes: tuple[bool, ...]
    lengths: tuple[int, ...]

    @property
    def rate(self) -> Interval:
        """The share of successes, with its interval."""
        return wilson(sum(self.successes), len(self.successes))

    def __str__(self) -> str:
        """`success 0.48 (0.38 to 0.58), 48 of 100 episodes`."""
        rate, count = self.rate, len(self.seeds)
        return (
            f"success {rate.mean:.2f} ({rate.low:.2f} to {rate.high:.2f}), "
            f"{sum(self.successes)} of {count} episodes"
        )


def measure(
    env: gym.Env[Any, Any],
    driver: Driver,
    base: BasePolicy | None,
    seeds: Sequence[int],
    *,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """Run one episode for each seed; `progress` is told how many are done.

    Raises:
        NonFiniteError: The driver produced NaN or infinity.
        ShapeError: Its actions are of another size than the env's.
    """
    successes, lengths = [], []
    for seed in seeds:
        episode = run_episode(env, driver, base, seed=seed)
        successes.append(bool(episode.success))
        lengths.append(len(episode))
        if progress is not None:
            progress(len(lengths))
    return Measured(seeds=tuple(seeds), successes=tuple(successes), lengths=tuple(lengths))
