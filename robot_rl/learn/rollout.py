"""One episode in an env: a driver acts, the frozen base is asked beside it, all of it is kept.

command:   observe → **driver: base, imitation, choice or residual** → env (decode → safety → send)
learning:  **transition → episode** → store → replay → residual agent → weights
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium
import numpy as np

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy, Observation, ZeroBase
from robot_rl.policy.normalise import state_vector
from robot_rl.policy.queue import ChunkQueue
from robot_rl.replay.schema import outcome_of
from robot_rl.replay.trajectory import CONTROL_SOURCES, Trajectory
from robot_rl.types import F32

if TYPE_CHECKING:  # it loads Zarr, which only those who record need
    from robot_rl.replay.writer import EpisodeWriter

__all__ = ["Driver", "NoisyDriver", "PolicyDriver", "Record", "Rows", "run_episode"]

Record = Callable[[Mapping[str, Any]], "EpisodeWriter"]
"""Begins the record of an episode with these facts: `begin` of a `Recorder` or a store."""


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
    record: Record | None = None,
) -> Trajectory:
    """Run one episode from `seed` to its end.

    `executed` is `info["executed_action"]` where the env reports one (ours does), else the action
    as clipped to the action space. An episode counts as success if the env says so in
    `info["is_success"]`, or by a positive reward on a terminated last step if it does not say.
    A step for which `info["control_source"]` names somebody else is marked as theirs.
    What `info["facts"]` holds at the end is kept with the episode, such as its `label_source`:
    who said so, if that was not the env.

    Args:
        env: Box or Dict("state", cameras) observations, Box(-1, 1) actions.
        driver: Who acts.
        base: The frozen base; its action is recorded at every step, whoever acts. None: zeros.
        seed: Of `env.reset`.
        source: A word of `CONTROL_SOURCES`.
        attrs: Kept with the episode.
        record: Begins a record that is written step by step, with the images that the env gives
            in `info["images"]`. One that an error cuts off is left to be salvaged
            (`EpisodeStore.repair`).

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
    rows = Rows({"seed": seed, **(attrs or {})}, CONTROL_SOURCES.index(source), record)
    rows.observe(obs, info)
    terminated = truncated = False
    reward = 0.0
    while not (terminated or truncated):
        base_action, phase = queue.next(obs)
        action = np.asarray(driver.act(obs, base_action, phase), np.float32)
        _check(action, shape)
        obs, reward, terminated, truncated, info = env.step(action)
        rows.step(action, info, base_action, float(reward))
        rows.observe(obs, info)
    return rows.ended(
        terminated=bool(terminated),
        success=bool(info.get("is_success", terminated and float(reward) > 0)),
        next_base=queue.next(obs)[0],
        facts=info.get("facts"),
    )


class Rows:
    """The rows of an episode while it runs: in memory, and in a record if there is one."""

    def __init__(self, attrs: Mapping[str, Any], source: int, record: Record | None) -> None:
        self._attrs, self._source = attrs, source
        self._writer = None if record is None else record(attrs)
        self._obs: list[dict[str, np.ndarray]] = []
        self._t_s: list[float] = []
        self._recorded_s = -np.inf
        self._requested: list[F32] = []
        self._executed: list[F32] = []
        self._base: list[F32] = []
        self._reward: list[float] = []
        self._sources: list[int] = []

    def observe(self, obs: Any, info: Mapping[str, Any]) -> None:
        """Add what was observed, at the start or after a step."""
        t_s = float(info.get("t_s", len(self._t_s)))
        self._obs.append(_as_dict(obs))
        self._t_s.append(t_s)
        if self._writer is not None:
            # A robot that holds because its state is stale repeats a stamp; records must not.
            self._recorded_s = max(t_s, self._recorded_s + 1e-6)
            stamp_ns, count = round(self._recorded_s * 1e9), len(self._t_s)
            for camera, rgb in info.get("images", {}).items():
                self._writer.frame(
                    camera, rgb, t_device_ns=stamp_ns, t_host_ns=stamp_ns, frame_no=count
                )
            self._writer.observe(self._recorded_s, {"state": self._obs[-1]["state"]})

    def step(self, action: F32, info: Mapping[str, Any], base: F32, reward: float) -> None:
        """Add what was done about it."""
        executed = np.asarray(info.get("executed_action", np.clip(action, -1, 1)), np.float32)
        self._requested.append(action)
        self._executed.append(executed)
        self._base.append(base)
        self._reward.append(reward)
        taken = info.get("control_source")  # by a person, in place of the driver
        self._sources.append(self._source if taken is None else CONTROL_SOURCES.index(taken))
        if self._writer is not None:
            self._writer.step(
                executed, action, base=base, reward=reward, control_source=self._sources[-1]
            )

    def ended(
        self,
        *,
        terminated: bool,
        success: bool,
        next_base: F32,
        facts: Mapping[str, Any] | None = None,
    ) -> Trajectory:
        """The whole episode; its record is sealed."""
        facts = dict(facts or {})
        if "noisy" in self._attrs and any(source != self._source for source in self._sources):
            facts["noisy"] = True  # what a person has helped with is no evidence for the driver
        if self._writer is not None:
            self._writer.seal(
                outcome_of(success),
                str(facts.get("label_source", "env")),
                terminated=terminated,
                next_base=next_base,
                facts={name: fact for name, fact in facts.items() if name != "label_source"},
            )
        return Trajectory(
            obs={k: np.stack([row[k] for row in self._obs]) for k in self._obs[0]},
            executed=np.stack(self._executed),
            requested=np.stack(self._requested),
            base=np.stack(self._base),
            next_base=next_base,
            reward=np.asarray(self._reward, np.float32),
            terminated=terminated,
            success=success,
            control_source=np.array(self._sources, np.uint8),
            t_s=np.asarray(self._t_s),
            attrs={**self._attrs, **facts},
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
