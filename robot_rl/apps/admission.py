"""Refuses what does not fit together, before anything long starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.learn.carry_over import Pretrained
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import state_vector
from robot_rl.replay.trajectory import Trajectory

__all__ = ["admit_demos", "admit_policy", "admit_pretrained", "admit_reward"]

_ROUNDING = 1e-4


def admit_policy(env: gym.Env[Any, Any], policy: BasePolicy, where: str) -> None:
    """Let a policy plan once from the env's first observation.

    Raises:
        ConfigError: It is of other sizes than the env.
        NonFiniteError: It plans NaN or infinity.
    """
    obs, _ = env.reset(seed=0)
    policy.reset()
    try:
        plan = np.asarray(policy.act(obs), np.float32)
    except ShapeError as error:
        raise ConfigError(
            f"policy {where} does not fit the environment: {error} "
            "Give one that was trained on this environment."
        ) from error
    actions = env.action_space.shape
    assert actions is not None  # Box
    if plan.shape != (policy.chunk, *actions):
        raise ConfigError(
            f"policy {where} plans actions of shape {plan.shape[1:]}, but the environment takes "
            f"{actions}. Give one that was trained on this environment."
        )


def admit_demos(env: gym.Env[Any, Any], demos: Sequence[Trajectory], where: str) -> None:
    """Compare demonstrations with the env's spaces.

    Raises:
        DataError: There are none.
        ConfigError: They are of other sizes than the env, or beyond its range of actions.
    """
    if not demos:
        raise DataError(f"{where} holds no episodes. Record some with robot-rl collect.")
    obs, _ = env.reset(seed=0)
    state = state_vector(obs, len(obs["state"] if isinstance(obs, dict) else obs))
    for k, demo in enumerate(demos):
        found = demo.obs["state"].shape[1:], demo.executed.shape[1:]
        if found != (state.shape, env.action_space.shape):
            raise ConfigError(
                f"episode {k} of {where} has states and actions of shapes {found[0]} and "
                f"{found[1]}, but the environment's are {state.shape} and "
                f"{env.action_space.shape}. Give demonstrations of this environment."
            )
        largest = float(np.abs(demo.executed).max())
        if largest > 1 + _ROUNDING:
            raise ConfigError(
                f"episode {k} of {where} holds an action of {largest:.3g}, but actions must be "
                "within [-1, 1]. Record it with robot-rl collect, or rescale it."
            )


def admit_pretrained(path: Path, env: str) -> Pretrained:
    """Read a pretraining, and see that it is of the task; a real robot's task has another name.

    Raises:
        DataError: There is no finished pretraining in the folder.
        CheckpointError: It is damaged.
        ConfigError: It is of another task.
    """
    found = Pretrained.load(path)
    if found.env != env and not env.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"{path} is a pretraining for '{found.env}', but this run is of '{env}'. Give one "
            f"that was made by robot-rl pretrain --env {env}."
        )
    return found


def admit_reward(env: gym.Env[Any, Any], name: str) -> None:
    """Look for rewards that no sparse task gives, in one episode of random actions.

    Raises:
        ConfigError: A reward is neither 0 nor the 1 of success.
    """
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    assert env.action_space.shape is not None  # Box
    is_over = False
    while not is_over:
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        _, reward, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
        if float(reward) != 0.0 and not (float(reward) == 1.0 and terminated):
            raise ConfigError(
                f"environment '{name}' gave a reward of {float(reward):.3g} on the way, but a "
                "sparse one gives 0 and, with success at the end, 1. Add --no-sparse."
            )
