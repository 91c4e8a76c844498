"""Films episodes for people: pictures of the scene, with the critic's value and the residual."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from robot_rl.apps.spectator import Spectator
from robot_rl.learn.rollout import Driver, run_episode
from robot_rl.learn.video import EpisodeVideo
from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.policy.normalise import state_vector
from robot_rl.policy.residual import ResidualActor
from robot_rl.types import F32

__all__ = ["Explain", "explain_by", "film"]

Explain = Callable[[Observation, F32, float, F32], tuple[float | None, F32 | None]]
"""From observation, base action, phase and action taken (a,): the value of that action, and the
residual in it as a share of its scale (a,), in [-1, 1]; None where there is none."""


def explain_by(actor: ResidualActor) -> Explain:
    """What a residual agent thinks of an action; the base must be the one under its residual."""

    def explain(
        obs: Observation, base: F32, phase: float, action: F32
    ) -> tuple[float | None, F32 | None]:
        state = state_vector(obs, actor.norm.state_dim)[None]
        value = actor.value(state, base[None], phase, action[None])
        return float(value[0]), actor.share(base, action)

    return explain


class _FilmedDriver:
    """A driver with a camera beside it: a picture before each action."""

    def __init__(
        self, driver: Driver, spectator: Spectator, video: EpisodeVideo, explain: Explain | None
    ) -> None:
        self._driver, self._spectator, self._video = driver, spectator, video
        self._explain = explain

    def reset(self) -> None:
        """Reset the driver underneath."""
        self._driver.reset()

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The driver's action, filmed."""
        action = self._driver.act(obs, base, phase)
        value, residual = None, None
        if self._explain is not None:
            value, residual = self._explain(obs, base, phase, action)
        self._video.add(self._spectator.picture(), value, residual)
        return action


def film(
    env: gym.Env[Any, Any],
    driver: Driver,
    base: BasePolicy | None,
    seeds: Sequence[int],
    folder: Path,
    *,
    policy: str = "policy",
    step: int = 0,
    explain: Explain | None = None,
) -> list[Path]:
    """Film one episode for each seed.

    Args:
        env: As for `run_episode`; must show pictures.
        driver: Who acts.
        base: The frozen base, asked beside the driver.
        seeds: Of the episodes.
        folder: Where the videos go: `videos` in a run's folder, for its report.
        policy: What the driver is called.
        step: Environment steps that the driver had learned from.
        explain: For the overlay.

    Raises:
        ConfigError: The environment shows no pictures.
    """
    spectator, paths = Spectator(env), []
    try:
        for seed in seeds:
            path = folder / f"step_{step:09d}_{policy}_seed_{seed}.webm"
            video = EpisodeVideo(path, spectator.fps, f"{policy}, step {step}, seed {seed}")
            filmed = _FilmedDriver(driver, spectator, video, explain)
            done = run_episode(env, filmed, base, seed=seed)
            facts = {"policy": policy, "step": step, "seed": seed, "length": len(done)}
            paths.append(video.close(done.success, **facts))
    finally:
        spectator.close()
    return paths
