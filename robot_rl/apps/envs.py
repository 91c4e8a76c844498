"""From the word a user types to an environment: `peg`, `peg/pixels` or `gym:<id>`.

This is where a command chooses the twin or somebody else's environment; all else takes whatever
`gymnasium.Env` it is given.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.apps.spectator import Spectator
from robot_rl.errors import ConfigError, MissingExtraError, UnknownNameError
from robot_rl.replay.trajectory import CONTROL_SOURCES, Trajectory

__all__ = ["BUILTIN", "available_tasks", "eval_seeds", "load_demos", "make_env", "twin_task"]

BUILTIN = "builtin"
"""What a user types instead of a path, for the demonstrations that come with a task."""

GYM = "gym:"
PIXELS = "/pixels"
EVAL_SEEDS = range(500_000, 500_100)
FETCH_PUSH = "gym:sim.external:External/FetchPush-v0"


def available_tasks() -> list[str]:
    """Every name that `make_env` takes, apart from other people's gym ids."""
    own = [name for task in _twin_tasks() for name in (task, task + PIXELS)]
    return [*own, FETCH_PUSH]


def make_env(name: str, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Build the environment of a task.

    Args:
        name: `<task>` and `<task>/pixels` are the twin, `gym:<id>` is any registered environment;
            `gym:<module>:<id>` imports the module that registers it first.
        render_mode: None, or "rgb_array"; for gym environments only.

    Returns:
        An environment with a float32 vector, or a dict of "state" and uint8 images, as
        observation, and actions in [-1, 1]; those of gym environments are rescaled.

    Raises:
        UnknownNameError: No such task.
        ConfigError: No such gym environment, or its spaces are not of this kind.
        MissingExtraError: MuJoCo is not installed.
    """
    Spectator.choose_renderer()  # before anything loads MuJoCo
    if name.startswith(GYM):
        return _make_gym(name.removeprefix(GYM), render_mode)
    task = twin_task(name)
    return import_module("sim.tasks").make_env(task, pixels=name.endswith(PIXELS))


def twin_task(name: str) -> str:
    """The task of the twin that a name means, its pixel form or not.

    Raises:
        UnknownNameError: No such task.
    """
    task = name.removesuffix(PIXELS)
    if task not in _twin_tasks():
        raise UnknownNameError("task", name, [*available_tasks(), "gym:<id>"])
    return task


def eval_seeds(name: str) -> range:
    """The frozen evaluation set: one episode for each seed; never train or choose on them."""
    if name.startswith(GYM) and ":" in (gym_id := name.removeprefix(GYM)):
        module = _import_gym_module(gym_id)
        return getattr(module, "EVAL_SEEDS", EVAL_SEEDS)
    return EVAL_SEEDS


def load_demos(source: str | Path, name: str) -> list[Trajectory]:
    """The demonstrations of a task.

    Args:
        source: The path of an episode store, or "builtin".
        name: The task, as for `make_env`; only "builtin" asks for it.

    Raises:
        DataError: There is no store at the path, or it is damaged.
        ConfigError: The task comes with no demonstrations.
    """
    if source != BUILTIN:
        # Zarr is slow to import, and built-in demonstrations do without it.
        from robot_rl.replay.store import EpisodeStore

        with EpisodeStore.open(source) as store:
            return list(store)
    if name != FETCH_PUSH:
        raise ConfigError(
            f"task '{name}' comes with no demonstrations; only {FETCH_PUSH} does. "
            f"Record some: robot-rl collect --env {name}"
        )
    return [_trajectory(demo) for demo in import_module("sim.external").load_demos()]


def _twin_tasks() -> Mapping[str, Any]:
    try:
        return import_module("sim.tasks").TASKS
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "mujoco", "sim", "the twin") from error


def _trajectory(demo: Any) -> Trajectory:
    steps = len(demo.actions)
    return Trajectory(
        obs={"state": demo.obs},
        executed=demo.actions,
        requested=demo.actions,
        reward=demo.rewards,
        terminated=demo.terminated,
        success=demo.terminated,
        control_source=np.full(steps, CONTROL_SOURCES.index("scripted"), np.uint8),
        t_s=np.arange(steps + 1) / 25.0,
        attrs={"task": FETCH_PUSH, "seed": demo.seed},
    )


def _import_gym_module(gym_id: str) -> Any:
    module = gym_id.split(":")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"gym environment '{gym_id}': there is no module '{error.name}'. Check the name, or "
            "install the package that brings it."
        ) from error


def _make_gym(gym_id: str, render_mode: str | None) -> gym.Env[Any, Any]:
    if ":" in gym_id:
        _import_gym_module(gym_id)
    # Not every environment takes a render mode, even if it is None.
    settings: dict[str, Any] = {"render_mode": render_mode} if render_mode else {}
    try:
        env = gym.make(gym_id, **settings)
    except gym.error.Error as error:
        raise ConfigError(
            f"gym environment '{gym_id}' cannot be made: {str(error).rstrip('.')}. Give "
            "gym:<id> of a registered environment, or gym:<module>:<id> to import its module."
        ) from error
    return _plain(env, gym_id)


def _plain(env: gym.Env[Any, Any], gym_id: str) -> gym.Env[Any, Any]:
    """The environment with observations in the one form that policies read."""
    actions = env.action_space
    if not isinstance(actions, gym.spaces.Box) or not actions.is_bounded():
        raise ConfigError(
            f"gym environment '{gym_id}' has action space {actions}, but must have a bounded Box. "
            "Wrap it, for one in gymnasium.wrappers.RescaleAction, and register that."
        )
    if not ((actions.low == -1).all() and (actions.high == 1).all()):
        env = gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1))
    space = env.observation_space
    parts = list(space.values()) if isinstance(space, gym.spaces.Dict) else [space]
    if isinstance(space, gym.spaces.Dict) and "state" in space.spaces:
        return env
    if not all(isinstance(part, gym.spaces.Box) and len(part.shape) == 1 for part in parts):
        raise ConfigError(
            f"gym environment '{gym_id}' has observation space {space}, but must have vectors, or "
            'a dict of "state" and images. Wrap it, and register that.'
        )
    if isinstance(space, gym.spaces.Dict):
        env = gym.wrappers.FlattenObservation(env)
    vector = env.observation_space
    if isinstance(vector, gym.spaces.Box) and vector.dtype != np.float32:
        low, high = vector.low.astype(np.float32), vector.high.astype(np.float32)
        box = gym.spaces.Box(low, high, dtype=np.float32)
        env = gym.wrappers.TransformObservation(env, lambda obs: obs.astype(np.float32), box)
    return env
