"""Failures on purpose: what a robot may do that looks like success and is none.

learning:  **episode (made to fail)** → progress model → audit and evaluation

Each kind starts from what the task's scripted expert would do, so it needs a task of the twin. An
episode knows, frame by frame, whether the goal was truly met.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.learn.rollout import run_episode
from robot_rl.policy.base import Observation
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32, F64, RobotState

__all__ = ["PROBES", "Prober", "steps_to_go"]

PROBES = {
    "idle": "stands still",
    "random": "moves about at random",
    "hover": "works half-way, then hovers where it is",
    "retreat": "works half-way, then goes back",
    "short": "stops just before the goal is met",
    "beside": "does the whole task beside the object",
    "mimic": "repeats the motion of another episode, wherever the object is",
    "drop": "goes through all the motions with the gripper open",
    "high": "does the whole task above the object",
    "stuck": "does the task, but along one axis it does not move",
    "swerve": "works some way, then drifts off",
    "waver": "goes back and forth just before the goal is met",
    "lose": "works some way, then lets go",
}
"""Kinds of failure, and what the robot does."""

TRIES = 40
"""Attempts at one failure, before a kind is called impossible on a task."""
_BESIDE_M = (0.025, 0.05)
_ABOVE_M = (0.03, 0.06)
_WAVER_STEPS = 8
_WITH_A_GRIPPER = ("drop", "lose")


class Prober:
    """Makes episodes of one environment fail, each in its kind.

    Args:
        env: A task of the twin.
        name: Its name, such as peg or peg/pixels.

    Raises:
        ConfigError: The environment has no scripted expert.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        if not hasattr(env.unwrapped, "port"):
            raise ConfigError(
                f"environment '{name}' has no scripted expert to fail on purpose; the tasks of "
                "the twin have. Record failures yourself, into an EpisodeStore."
            )
        self._env, self._name = env, name
        self._port: Any = getattr(env.unwrapped, "port")  # noqa: B009  (of RobotEnv)
        self._task: Any = getattr(env.unwrapped, "task")  # noqa: B009
        twin = import_module("sim.tasks").make_twin(name.split("/")[0])
        self._expert: Callable[[RobotState], F32] = twin.expert
        decoder: Any = getattr(env.unwrapped, "decoder")  # noqa: B009
        self._is_grip = np.array([n.endswith(".gripper") for n in decoder.action_names])
        self._moved: str | None = (twin.robot.tracked or (None,))[-1]

    def kinds(self) -> tuple[str, ...]:
        """The kinds that this task knows."""
        return tuple(k for k in PROBES if k not in _WITH_A_GRIPPER or self._is_grip.any())

    def expert(self, seed: int) -> Trajectory:
        """What the expert does from the start that `seed` draws."""
        return self._run(lambda state, step: self._expert(state), seed, "expert")

    def fail(self, kind: str, seed: int) -> Trajectory:
        """An episode of this kind that is truly a failure, from a start at or after `seed`.

        Raises:
            UnknownNameError: No such kind, or this task does not know it.
            DataError: Every attempt succeeded by accident.
        """
        if kind not in self.kinds():
            raise UnknownNameError("kind of failure", kind, self.kinds())
        for more in range(TRIES):
            start = seed + 7919 * more  # near seeds belong to other episodes
            act = self._actor(kind, start)
            episode = self._run(act, start, kind)
            if not episode.success and not any(episode.attrs["achieved"]):
                return episode
        raise DataError(f"'{kind}' on '{self._name}' succeeded in all of {TRIES} attempts.")

    def _actor(self, kind: str, seed: int) -> Callable[[RobotState, int], F32]:
        """What to do in a state, at a step."""
        rng = np.random.default_rng((seed, 2))
        size = len(self._is_grip)
        if kind == "idle":
            return lambda state, step: np.zeros(size, np.float32)
        if kind == "random":
            return _wander(rng, size)
        if kind == "mimic":
            return self._repeat(self.expert(seed + 1_000_003).executed)
        if kind == "beside":
            angle = rng.uniform(-np.pi, np.pi)
            off = np.array([np.cos(angle), np.sin(angle), 0.0])
            return self._beside(rng.uniform(*_BESIDE_M) * off)
        if kind == "high":
            return self._beside(np.array([0.0, 0.0, rng.uniform(*_ABOVE_M)]))
        if kind == "stuck":
            is_free = np.arange(size) != rng.choice(np.flatnonzero(~self._is_grip))
            return lambda state, step: (self._expert(state) * is_free).astype(np.float32)
        if kind == "drop":
            return lambda state, step: np.where(self._is_grip, 1.0, self._expert(state)).astype(
                np.float32
            )
        reached = int(np.argmax(self.expert(seed).attrs["achieved"]))  # 0 if it never was
        if kind == "short":
            return self._then(max(reached - int(rng.integers(2, 7)), 1), self._still(rng, 0.02))
        if kind == "waver":
            return self._to_and_fro(max(reached - int(rng.integers(2, 7)), 1))
        turn = max(int(rng.uniform(0.35, 0.8) * reached), 1)
        if kind == "swerve":
            return self._then(turn, self._still(rng, 0.1, drift=0.5))
        if kind == "lose":
            return self._then(turn, lambda last: self._is_grip.astype(np.float32))
        if kind == "hover":
            return self._then(turn, self._still(rng, 0.1))
        return self._back(turn)

    def _then(self, steps: int, after: Callable[[F32], F32]) -> Callable[[RobotState, int], F32]:
        """The expert for some steps, then something else with the grip of its last action."""
        last = np.zeros(len(self._is_grip), np.float32)

        def act(state: RobotState, step: int) -> F32:
            nonlocal last
            if step < steps:
                last = self._expert(state)
                return last
            return after(last)

        return act

    def _still(
        self, rng: np.random.Generator, tremble: float, drift: float = 0.0
    ) -> Callable[[F32], F32]:
        """Hold on, trembling, perhaps drifting off in some direction."""
        off = np.zeros(len(self._is_grip))
        if drift:
            off = rng.standard_normal(len(off))
            off *= drift / np.linalg.norm(off)

        def hold(last: F32) -> F32:
            noise = off + tremble * rng.standard_normal(last.shape)
            return np.where(self._is_grip, last, np.clip(noise, -1, 1)).astype(np.float32)

        return hold

    def _to_and_fro(self, steps: int) -> Callable[[RobotState, int], F32]:
        """The expert for some steps, then half a second back and the same way on, for ever."""
        done: list[F32] = []

        def act(state: RobotState, step: int) -> F32:
            if step < steps:
                done.append(self._expert(state))
                return done[-1]
            way = min(_WAVER_STEPS, steps)
            phase = (step - steps) % (2 * way)
            is_back = phase < way
            again = done[steps - 1 - phase] if is_back else done[steps - 2 * way + phase]
            return np.where(self._is_grip | (not is_back), again, -again).astype(np.float32)

        return act

    def _back(self, turn: int) -> Callable[[RobotState, int], F32]:
        """The expert for `turn` steps, then the same way back, as far up as it began."""
        done: list[F32] = []

        def act(state: RobotState, step: int) -> F32:
            if step < turn:
                done.append(self._expert(state))
                return done[-1]
            if not done:
                return np.zeros(len(self._is_grip), np.float32)
            back = done.pop()
            return np.where(self._is_grip, back, -back).astype(np.float32)

        return act

    def _repeat(self, actions: F32) -> Callable[[RobotState, int], F32]:
        """Recorded actions, then their last grip and no motion."""
        still = np.where(self._is_grip, actions[-1], 0.0).astype(np.float32)
        return lambda state, step: actions[step] if step < len(actions) else still

    def _beside(self, off: F64) -> Callable[[RobotState, int], F32]:
        """The expert, who sees the thing that it works on a way `off` (3,) [m]."""

        def act(state: RobotState, step: int) -> F32:
            poses = {name: pose.copy() for name, pose in state.poses.items()}
            if self._moved is not None:
                poses[self._moved][:3] += off
            return self._expert(replace(state, poses=poses))

        return act

    def _run(self, act: Callable[[RobotState, int], F32], seed: int, kind: str) -> Trajectory:
        driver = _Acting(act, self._port, self._task.achieved)
        attrs = {"task": self._name, "operator": "script", "probe": kind}
        episode = run_episode(self._env, driver, None, seed=seed, source="scripted", attrs=attrs)
        achieved = [*driver.achieved, bool(self._task.achieved(self._port.read()))]
        facts = {**episode.attrs, "achieved": achieved}
        return replace(episode, base=None, next_base=None, attrs=facts)


class _Acting:
    """A driver that looks at the robot's state, and notes where the goal was met."""

    def __init__(
        self,
        act: Callable[[RobotState, int], F32],
        port: Any,
        achieved: Callable[[RobotState], bool],
    ) -> None:
        self._act, self._port, self._is_achieved = act, port, achieved
        self.achieved: list[bool] = []

    def reset(self) -> None:
        """Start of an episode."""
        self.achieved = []

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The action in the robot's present state."""
        state = self._port.read()
        self.achieved.append(bool(self._is_achieved(state)))
        return self._act(state, len(self.achieved) - 1)


def _wander(rng: np.random.Generator, size: int) -> Callable[[RobotState, int], F32]:
    """A random walk of the action, whose direction lasts about half a second."""
    now = np.zeros(size)

    def act(state: RobotState, step: int) -> F32:
        nonlocal now
        now = 0.9 * now + 0.4 * rng.standard_normal(size)
        return np.clip(now, -1, 1).astype(np.float32)

    return act


def steps_to_go(
    env: gym.Env[Any, Any], name: str, episode: Trajectory, frames: Sequence[int]
) -> list[int | None]:
    """How many steps the expert would have needed from these frames on: what progress truly is.

    Each is found by running the episode again up to the frame, and the expert from there.

    Args:
        env: The task, with a horizon that leaves the expert time.
        name: Its name.
        episode: An episode of the same task; its seed is in its facts.
        frames: Indices of observations.

    Returns:
        Steps until success was held, None where the expert does not succeed any more.
    """
    prober = Prober(env, name)
    left: list[int | None] = []
    for frame in frames:
        prefix = episode.requested[:frame]

        def act(state: RobotState, step: int, prefix: F32 = prefix) -> F32:
            return prefix[step] if step < len(prefix) else prober._expert(state)

        again = prober._run(act, int(episode.attrs["seed"]), "expert")
        left.append(len(again) - frame if again.success else None)
    return left
