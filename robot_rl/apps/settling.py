"""Lets an episode go on for a moment after its success, to see whether the success lasts.

learning:  **transition → episode** → store → progress model → replay → residual agent → weights

An environment that knows success ends there and then, so a recording shows the goal met for no
longer than the environment asks. What judges success by looking needs to see it stay.
"""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.episodes import SETTLED_S

__all__ = ["Settling", "with_settling"]


class Settling(gym.Wrapper[Any, Any, Any, Any]):
    """Goes on after success; the episode succeeds if the goal still holds when it ends.

    Args:
        env: Ends by success, and can be stepped on.
        steps: Steps that it goes on.
    """

    def __init__(self, env: gym.Env[Any, Any], steps: int) -> None:
        super().__init__(env)
        self._steps, self._since = steps, -1

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._since = -1
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; once success came, end `steps` later."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self._since < 0 and not info["is_success"]:
            return obs, float(reward), terminated, truncated, info
        self._since += 1
        is_over, lasts = self._since >= self._steps, bool(info["is_success"])
        return obs, float(is_over and lasts), is_over and lasts, is_over and not lasts, info


def with_settling(episode: Trajectory, steps: int) -> Trajectory:
    """An episode of `Settling`, with the fact of how long it went on after success [s]."""
    if not episode.success:
        return episode
    since_s = float(np.asarray(episode.t_s)[-1] - np.asarray(episode.t_s)[-1 - steps])
    return replace(episode, attrs={**episode.attrs, SETTLED_S: round(since_s, 6)})
