"""How a run learns from pixels: eyes from its demonstrations, then everything through them.

learning:  episode store → **eyes** → [state, features] → base, replay, residual agent → weights
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from robot_rl.env.features import camera_shapes
from robot_rl.errors import ConfigError
from robot_rl.learn.eyesight import EyesightCfg, fit_eyes
from robot_rl.learn.progress import Progress
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.eyes import Eyes, SeeingPolicy
from robot_rl.replay.trajectory import Trajectory

__all__ = ["EYES_FILE", "admit_sight", "eyes_of"]

EYES_FILE = "eyes.safetensors"


def admit_sight(
    env: gym.Env[Any, Any], base: BasePolicy | None, demos: Sequence[Trajectory], name: str
) -> None:
    """Refuse to learn from images without something to learn to see from.

    Raises:
        ConfigError: The base does not look through eyes that the residual could share, or there
            are neither such a base nor demonstrations with the images of the environment.
    """
    cameras = camera_shapes(env)
    if not cameras or isinstance(base, SeeingPolicy):
        return
    if base is not None:
        raise ConfigError(
            f"'{name}' shows images, and a base of type {type(base).__name__} has no eyes that a "
            "residual could look through. Leave --base out to clone one from --demos, or give "
            "the policy of another run on pixels."
        )
    if not demos:
        raise ConfigError(
            f"'{name}' shows images, and seeing is learned from demonstrations. Give --demos: "
            f"robot-rl collect --env {name} records them."
        )
    found = {k: v.shape[1:] for k, v in demos[0].obs.items() if k != "state"}
    if found != cameras:
        raise ConfigError(
            f"the demonstrations hold images {found}, but '{name}' shows {cameras}. "
            f"Record them anew: robot-rl collect --env {name}"
        )


def eyes_of(
    file: Path,
    cfg: EyesightCfg,
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
    *,
    seed: int,
) -> Eyes:
    """The base's eyes; else the run's own in `file`, trained when they are first needed."""
    if isinstance(base, SeeingPolicy):
        return base.eyes
    if not file.exists():
        with Progress("eyes", cfg.steps) as progress:
            eyes = fit_eyes(
                cfg,
                [d for d in demos if d.success is not False],
                seed=seed,
                progress=lambda step, loss: progress.update(step, loss=loss),
            )
        eyes.save(file)
    return Eyes.load(file)
