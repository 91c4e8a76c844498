"""`robot-rl collect`: scripted demonstrations through the real environment into an episode store.

learning:  **transition → episode store** → progress model → replay → residual agent → weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym

from robot_rl.apps.ports import camera_hashes
from robot_rl.apps.settling import Settling
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.progress import Progress
from robot_rl.learn.rollout import run_episode
from robot_rl.policy.base import Observation
from robot_rl.replay.opening import open_or_create
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.episodes import SETTLED_S
from robot_rl.types import F32

__all__ = ["DEMO_SEEDS", "Cfg", "Collected", "ExpertDriver", "collect", "main", "open_store"]

DEMO_SEEDS = range(700_000, 800_000)
"""Starts of demonstrations; no evaluation and no choice is ever made on them."""
TRIES = 20
"""Attempts for each wanted episode, before an expert is called unfit."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl collect`."""

    env: str
    """Task of the twin, such as peg or peg/pixels."""
    out: Path
    """The episode store to write, such as data/peg.zarr."""
    episodes: int = 20
    """How many episodes to keep."""
    seed: int = DEMO_SEEDS[0]
    """Seed of the first start; the next ones follow."""
    append: bool = False
    """Add to the store if it is there."""
    keep_failures: bool = False
    """Keep episodes that failed, too."""
    settle_s: float = 0.0
    """How long an episode goes on after its success; half a second shows a judge of progress that
    success lasts."""

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if not self.settle_s >= 0:
            raise ConfigError(f"settle_s is {self.settle_s}, but must be at least 0.")
        if self.episodes < 1 or self.seed < 0:
            raise ConfigError(
                f"episodes is {self.episodes} and seed {self.seed}, but must be at least 1 and 0."
            )


@dataclass(kw_only=True)
class Collected:
    """What became of the attempts."""

    kept: int = 0
    tried: int = 0
    failed_seeds: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        """`kept 20 of 21 attempts, 1 failed (seeds 700003)`."""
        failed = len(self.failed_seeds)
        which = f" (seeds {', '.join(map(str, self.failed_seeds[:10]))})" if failed else ""
        return f"kept {self.kept} of {self.tried} attempts, {failed} failed{which}"


def main(cfg: Cfg) -> int:
    """Record, and say how many of the attempts succeeded."""
    if cfg.out.exists() and not cfg.append:
        raise DataError(f"{cfg.out} exists already. Add to it by --append, or give another --out.")
    done = collect(cfg)
    print(f"{cfg.out}: {done}")
    return 0


def collect(cfg: Cfg) -> Collected:
    """Record `cfg.episodes` more episodes; each is safe on disk once it is done.

    Raises:
        UnknownNameError: No such task.
        ConfigError: Nobody has written an expert for the environment.
        DataError: The store cannot be written, is of another task, or the expert fails too often.
    """
    from robot_rl.apps.envs import make_env

    env = Settling(make_env(cfg.env), cfg.settle_s)
    try:
        driver = ExpertDriver(env, cfg.env)
        with open_store(cfg.out, cfg.env, env) as store:
            return _record(cfg, env, driver, store)
    finally:
        env.close()


def _record(
    cfg: Cfg, env: gym.Env[Any, Any], driver: "ExpertDriver", store: EpisodeStore
) -> Collected:
    done = Collected()
    used = [int(info.facts.get("seed", -1)) for info in store.infos()]
    seed = max([cfg.seed, *(s + 1 for s in used)])
    with Progress("collect", cfg.episodes) as progress:
        while done.kept < cfg.episodes:
            if done.tried >= TRIES * cfg.episodes:
                raise DataError(
                    f"the expert of '{cfg.env}' succeeded in {done.kept} of {done.tried} attempts;"
                    " what it did is kept. Make the task easier, or use --keep-failures."
                )
            episode = driver.demonstrate(seed)
            done.tried += 1
            if not episode.success:
                done.failed_seeds.append(seed)
            if episode.success or cfg.keep_failures:
                store.append(episode)
                done.kept += 1
            seed += 1
            progress.update(done.kept, failed=str(len(done.failed_seeds)))
    return done


class ExpertDriver:
    """The task's expert, with the faults of a person; it looks at the robot's state itself."""

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        task = name.split("/")[0]
        if not hasattr(env.unwrapped, "port"):
            raise ConfigError(
                f"environment '{name}' has no scripted expert; the tasks of the twin have. "
                "Record demonstrations of it yourself, into an EpisodeStore."
            )
        tasks, faults = import_module("sim.tasks"), import_module("sim.tasks.demonstrator")
        self._env, self._name = env, name
        self._expert = faults.Demonstrator(tasks.make_twin(task))

    def demonstrate(self, seed: int) -> Trajectory:
        """One demonstration from the start that `seed` draws."""
        self._expert.reset(seed)
        attrs = {"task": self._name, "operator": "script"}
        episode = run_episode(self._env, self, None, seed=seed, source="scripted", attrs=attrs)
        settled_s = self._env.settled_s if isinstance(self._env, Settling) else 0.0
        if settled_s:
            attrs = {**episode.attrs, SETTLED_S: settled_s}
            episode = replace(episode, attrs=attrs)
        return replace(episode, base=None, next_base=None)  # there was no base beside it

    def reset(self) -> None:
        """The expert was reset with the seed of its faults."""

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The expert's action in the robot's present state."""
        port: Any = getattr(self._env.unwrapped, "port")  # noqa: B009  (an attribute of RobotEnv)
        return self._expert.act(port.read())


def open_store(out: Path, name: str, env: gym.Env[Any, Any]) -> EpisodeStore:
    """The store to write: a new one, or the one that is there if it is of the same robot.

    Raises:
        DataError: It is of another robot, or cannot be written; see `open_or_create`.
    """
    return open_or_create(out, _meta(name, env))


def _meta(name: str, env: gym.Env[Any, Any]) -> StoreMeta:
    """What the episodes of an env share."""
    task: Any = getattr(env.unwrapped, "task")  # noqa: B009
    port: Any = getattr(env.unwrapped, "port")  # noqa: B009
    shapes: Mapping[str, Any] = {}
    if isinstance(env.observation_space, gym.spaces.Dict):
        shapes = {k: s.shape for k, s in env.observation_space.items() if k != "state"}
    known = camera_hashes(env)
    cameras = tuple(
        CameraMeta(
            name=k, height_px=s[0], width_px=s[1], codec="png", calibration=known.get(k, "")
        )
        for k, s in shapes.items()
    )
    return StoreMeta(
        robot=port.spec.name,
        control_hz=float(task.control_hz),
        cameras=cameras,
        notes={"task": name},
    )
