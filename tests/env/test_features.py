"""An environment of images behaves, seen through an encoder, as one of vectors."""

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.env.features import FeatureObservation, camera_shapes
from robot_rl.errors import ConfigError


class Lamp(gym.Env):
    """A lamp whose brightness is the action."""

    observation_space = gym.spaces.Dict(
        {
            "state": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
            "front": gym.spaces.Box(0, 255, (6, 8, 3), np.uint8),
        }
    )
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(self.np_random.integers(256)), {}

    def step(self, action):
        self.steps += 1
        return self._observe(127 * (action[0] + 1)), 0.0, False, self.steps == 5, {}

    def _observe(self, level):
        state = np.array([self.steps, 1.0], np.float32)
        return {"state": state, "front": np.full((6, 8, 3), level, np.uint8)}


class Brightness:
    """The simplest eyes."""

    features = 1

    def see(self, obs):
        return np.append(obs["state"], np.float32(obs["front"].mean() / 255)).astype(np.float32)


def test_images_become_part_of_the_vector():
    env = FeatureObservation(Lamp(), Brightness())
    first, _ = env.reset(seed=0)
    assert first in env.observation_space
    obs, *_ = env.step(np.array([1.0], np.float32))
    np.testing.assert_allclose(obs, [1.0, 1.0, 254 / 255], rtol=1e-5)


def test_cameras_are_the_images_of_an_environment():
    assert camera_shapes(Lamp()) == {"front": (6, 8, 3)}
    assert camera_shapes(FeatureObservation(Lamp(), Brightness())) == {}


def test_an_environment_of_vectors_is_refused():
    vectors = FeatureObservation(Lamp(), Brightness())
    with pytest.raises(ConfigError, match="must be a dict of 'state' and images"):
        FeatureObservation(vectors, Brightness())
