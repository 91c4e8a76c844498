"""An environment whose episodes end when a judge is sure, and not when the simulator is.

command:   observe → policy → decode → safety → send, **watched by a judge who may end it**
learning:  **transition → verdict** → replay → residual agent → weights

On a robot nobody else says that a task is done. So that learning in the twin is the same, what the
env itself says about success neither ends an episode nor pays: an episode goes on until the judge
has seen success for long enough, or to its time-out. What the env knows is noted apart.
"""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from robot_rl.learn.late_labels import Reel
from robot_rl.reward.judge import Watch

__all__ = ["WatchedEnv", "horizon_of", "truth_of"]


class WatchedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """The same env, with the judge's word in place of the env's.

    The reward is 1 where the judge ends the episode, else 0. A termination that is no success,
    such as a safety stop, stays one.

    Args:
        env: Whose episodes go on after success, if nobody resets it.
        watch: The judge at work, or a reel that it will be shown later.
        horizon: Steps after which an episode is over, beside the env's own time-out.
        period_s: Time of a step, where the env does not say `t_s`.
        truth: Says after a step whether the goal is met; None where nobody knows. It is noted
            in the episode's facts as `true_success`, for logs and for who is asked.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        watch: Watch | Reel,
        *,
        horizon: int | None,
        period_s: float = 1.0,
        truth: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(env)
        self.watch, self._ask, self._period_s = watch, truth, period_s
        self._horizon = math.inf if horizon is None else horizon
        self._step = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and show it to the judge."""
        obs, info = self.env.reset(**options)
        self._step = 0
        self.watch.begin()
        info = self._timed(info) | {"is_success": False}
        self._show(obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, and the judge's verdict on it in place of the env's."""
        obs, _, terminated, truncated, info = self.env.step(action)
        self._step += 1
        info = self._timed(info)
        is_stopped = terminated and not info.get("is_success", False)
        is_done = self._show(obs, info) and not is_stopped
        is_over = (truncated or self._step >= self._horizon) and not (is_done or is_stopped)
        info["is_success"] = is_done
        if is_done or is_over or is_stopped:
            info["facts"] = self._facts()
        return obs, float(is_done), is_done or is_stopped, is_over, info

    def _facts(self) -> dict[str, Any]:
        """What is known of an episode at its end."""
        facts: dict[str, Any] = {"label_source": self.watch.judge.label_source}
        return facts if self._ask is None else facts | {"true_success": bool(self._ask())}

    def _show(self, obs: Any, info: dict[str, Any]) -> bool:
        seen = obs if isinstance(obs, dict) else {"state": obs}
        return self.watch.see(seen, float(info["t_s"]))

    def _timed(self, info: dict[str, Any]) -> dict[str, Any]:
        return {"t_s": self._step * self._period_s, **info}


def horizon_of(env: gym.Env[Any, Any]) -> int | None:
    """Steps of an episode, as the env's task says; None leaves that to the env."""
    return getattr(getattr(env.unwrapped, "task", None), "horizon", None)


def truth_of(env: gym.Env[Any, Any]) -> Callable[[], bool] | None:
    """Whether the goal of a task is met at this instant; None if the env cannot tell."""
    bare: Any = env.unwrapped
    if not (hasattr(bare, "task") and hasattr(bare, "port")):
        return None
    return lambda: bool(bare.task.achieved(bare.port.read()))
