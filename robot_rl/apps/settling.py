"""Lets an episode go on for a moment after its success, to see whether the success lasts.

learning:  **transition → episode** → store → progress model → replay → residual agent → weights

An environment that knows success ends there and then, so a recording shows the goal met for no
longer than the environment asks. What judges success by looking needs to see it stay.
"""

from typing import Any

import gymnasium as gym

__all__ = ["Settling"]


class Settling(gym.Wrapper[Any, Any, Any, Any]):
    """Goes on after success; the episode succeeds if the goal still holds when it ends.

    Args:
        env: Ends by success, tells the time in `info["t_s"]`, and can be stepped on.
        settle_s: How long it goes on; 0 for not at all.

    Attributes:
        settled_s: How long the episode has gone on after its success.
    """

    def __init__(self, env: gym.Env[Any, Any], settle_s: float) -> None:
        super().__init__(env)
        self._settle_s = settle_s
        self._success_s: float | None = None
        self.settled_s = 0.0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._success_s, self.settled_s = None, 0.0
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; once success came, end `settle_s` later."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        lasts = bool(info["is_success"])
        if self._success_s is None and lasts:
            self._success_s = info.get("t_s", 0.0)
        if self._success_s is None or not self._settle_s:
            return obs, float(reward), terminated, truncated, info
        self.settled_s = round(info["t_s"] - self._success_s, 6)
        is_over = self.settled_s >= self._settle_s - 1e-6
        return obs, float(is_over and lasts), is_over and lasts, is_over and not lasts, info
