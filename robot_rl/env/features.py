"""An environment seen through a frozen encoder: images become part of the state vector.

command:   camera, arm → observe → **[state, features]** → policy (base + residual) → decode
learning:  transition → **[state, features]** → replay → residual agent → weights

What learns on vectors learns on pixels so, and its replay holds numbers instead of images.
"""

from collections.abc import Mapping
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F32

__all__ = ["FeatureObservation", "Sees", "camera_shapes"]


class Sees(Protocol):
    """Turns an observation of state and images into one vector."""

    @property
    def features(self) -> int:
        """Numbers that the images of one observation become."""
        ...

    def see(self, obs: Mapping[str, Any]) -> F32:
        """State and features (d + features,) of an observation."""
        ...


class FeatureObservation(gym.ObservationWrapper[F32, Any, Mapping[str, Any]]):
    """Dict("state", cameras) observations as one Box of [state, features].

    The images themselves go along as `info["images"]`, for those who record.

    Args:
        env: The environment with images.
        eyes: The frozen encoder.

    Raises:
        ConfigError: The environment has no "state" vector beside its images.
    """

    def __init__(self, env: gym.Env[Any, Any], eyes: Sees) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Dict) or "state" not in space.spaces:
            raise ConfigError(
                f"features: observation space is {space}, but must be a dict of 'state' and "
                "images. Give the task's pixel form, such as peg/pixels."
            )
        shape = space["state"].shape
        assert shape is not None  # Box
        self._eyes = eyes
        size = shape[0] + eyes.features
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[F32, dict[str, Any]]:
        """See `gymnasium.Env.reset`."""
        seen: Any  # the wrapper's type is of what it gives, not of what it gets
        seen, info = self.env.reset(seed=seed, options=options)
        return self.observation(seen), {**info, "images": _images(seen)}

    def step(self, action: Any) -> tuple[F32, SupportsFloat, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`."""
        seen: Any
        seen, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, "images": _images(seen)}
        return self.observation(seen), reward, terminated, truncated, info

    def observation(self, observation: Mapping[str, Any]) -> F32:
        """The vector (d + features,)."""
        return self._eyes.see(observation)


def _images(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The cameras of an observation."""
    return {name: part for name, part in seen.items() if name != "state"}


def camera_shapes(env: gym.Env[Any, Any]) -> dict[str, tuple[int, ...]]:
    """Shape (h, w, 3) of the images of each camera; empty for an environment of vectors."""
    space = env.observation_space
    if not isinstance(space, gym.spaces.Dict):
        return {}
    shapes = {name: part.shape or () for name, part in space.items()}
    return {name: shape for name, shape in shapes.items() if len(shape) == 3}
