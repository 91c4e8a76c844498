"""The toy task of the learner's tests: a point in the plane must come near its goal."""

import gymnasium as gym
import numpy as np


class PointEnv(gym.Env):
    """A point, 0.2 a step, `horizon` steps; done within `radius` of the goal, both drawn anew.

    It knows its success, but goes on if nobody resets it.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, radius=0.1, horizon=10):
        self.radius, self.horizon = radius, horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        self.step_count = 0
        return self._observe(), {"is_success": False}

    def step(self, action):
        self.point = self.point + 0.2 * np.clip(action, -1, 1)
        self.step_count += 1
        done = self.is_there()
        truncated = not done and self.step_count >= self.horizon
        return self._observe(), float(done), done, truncated, {"is_success": done}

    def is_there(self):
        return bool(np.linalg.norm(self.point - self.goal) < self.radius)

    def _observe(self):
        return np.concatenate([self.point, self.goal]).astype(np.float32)


def aiming(offset=0.0):
    """A policy on the observation that heads for the goal, or for a point beside it."""
    return lambda obs: np.clip((obs[2:] + offset - obs[:2]) * 5, -1, 1)
