"""One episode in an env: a driver acts, the frozen base is asked beside it, all of it is kept.

command:   observe → **driver: base, imitation, choice or residual** → env (decode → safety → send)
learning:  **transition → episode** → store → replay → residual agent → weights
"""

from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy, Observation, ZeroBase
from robot_rl.policy.normalise import state_vector
from robot_rl.policy.queue import ChunkQueue
from robot_rl.replay.trajectory import CONTROL_SOURCES, Trajectory
from robot_rl.types import F32

__all__ = ["Driver", "NoisyDriver", "PolicyDriver", "run_episode"]


class Driver(Protocol):
    """Who acts in an episode."""

    def reset(self) -> None:
        """Start of an episode."""
        ...

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The action (a,) to request, given the base's action (a,) and its phase here."""
        ...


class PolicyDriver:
    """Acts by a chunked policy of its own, open loop within a chunk."""

    def __init__(self, policy: BasePolicy) -> None:
        self._queue = ChunkQueue(policy)

    @property
    def policy(self) -> BasePolicy:
        """Who acts."""
        return self._queue.policy

    def reset(self) -> None:
        """Drop the chunk of the last episode."""
        self._queue.reset()

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The policy's next action; the base's is not used."""
        return self._queue.next(obs)[0]


class NoisyDriver:
    """Another driver with noise on its actions, uniform or Gaussian."""

    def __init__(
        self, driver: Driver, size: F32, rng: np.random.Generator, *, uniform: bool = False
    ) -> None:
        self._driver, self._size, self._rng, self._uniform = driver, size, rng, uniform

    def reset(self) -> None:
        """Reset the driver underneath."""
        self._driver.reset()

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The driver's action plus noise of `size` (a,), within [-1, 1]."""
        action = self._driver.act(obs, base, phase)
        if self._uniform:
            noise = self._rng.uniform(-1, 1, action.shape)
        else:
            noise = self._rng.standard_normal(action.shape)
        return np.clip(action + self._size * noise, -1, 1).astype(np.float32)


def run_episode(
    env: gymnasium.Env[Any, Any],
    driver: Driver,
    base: BasePolicy | None,
    *,
    seed: int,
    source: str = "policy",
    attrs: Mapping[str, Any] | None = None,
) -> Trajectory:
    """Run one episode from `seed` to its end.

    `executed` is `info["executed_action"]` where the env reports one (ours does), else the action
    as clipped to the action space. An episode counts as success if the env says so in
    `info["is_success"]`, or by a positive reward on a terminated last step if it does not say.

    Args:
        env: Box or Dict("state", cameras) observations, Box(-1, 1) actions.
        driver: Who acts.
        base: The frozen base; its action is recorded at every step, whoever acts. None: zeros.
        seed: Of `env.reset`.
        source: A word of `CONTROL_SOURCES`.
        attrs: Kept with the episode.

    Raises:
        NonFiniteError: The driver produced NaN or infinity; nothing is sent after that.
        ShapeError: The driver's action is of another size than the env's.
    """
    shape = env.action_space.shape
    assert shape is not None  # Box
    queue = ChunkQueue(base or ZeroBase(shape[0]))
    obs, info = env.reset(seed=seed)
    queue.reset()
    driver.reset()
    rows = [_as_dict(obs)]
    times = [float(info.get("t_s", 0.0))]
    requested, executed, bases, rewards = [], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        base_action, phase = queue.next(obs)
        action = np.asarray(driver.act(obs, base_action, phase), np.float32)
        _check(action, shape)
        obs, reward, terminated, truncated, info = env.step(action)
        rows.append(_as_dict(obs))
        times.append(float(info.get("t_s", len(times))))
        requested.append(action)
        executed.append(np.asarray(info.get("executed_action", np.clip(action, -1, 1))))
        bases.append(base_action)
        rewards.append(float(reward))
    return Trajectory(
        obs={k: np.stack([row[k] for row in rows]) for k in rows[0]},
        executed=np.stack(executed).astype(np.float32),
        requested=np.stack(requested),
        base=np.stack(bases),
        next_base=queue.next(obs)[0],
        reward=np.asarray(rewards, np.float32),
        terminated=bool(terminated),
        success=bool(info.get("is_success", terminated and rewards[-1] > 0)),
        control_source=np.full(len(rewards), CONTROL_SOURCES.index(source), np.uint8),
        t_s=np.asarray(times),
        attrs={"seed": seed, **(attrs or {})},
    )


def _check(action: F32, shape: tuple[int, ...]) -> None:
    if action.shape != shape:
        raise ShapeError("policy: action", action.shape, shape)
    if not np.isfinite(action).all():
        raise NonFiniteError("policy: action", action, "Stop the policy that produced it.")


def _as_dict(obs: Any) -> dict[str, np.ndarray]:
    """A Box observation as {"state": ...}, a Dict as it is."""
    if isinstance(obs, Mapping):
        return {k: np.asarray(v) for k, v in obs.items()}
    return {"state": state_vector(obs, len(obs))}
