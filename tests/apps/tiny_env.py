"""A point on a line that must come to rest at its goal: the smallest task there is to learn.

`gym:tiny_env:Tiny-v0` where this folder is on the path, in this process or in another.
"""

import gymnasium as gym
import numpy as np

from robot_rl.learn.rollout import run_episode

EVAL_SEEDS = range(500_000, 500_010)


class Tiny(gym.Env):
    """Succeeds when the point is within 0.1 of its goal; the push has a drift of its own."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (1,), np.float32)  # not [-1, 1]: it is rescaled

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal = self.np_random.uniform(-1, 1, 2)
        self.drift = 0.05 * self.np_random.normal()
        self.steps = 0
        return self._obs(), {}

    def step(self, action):
        self.at += 0.1 * float(action[0]) + self.drift
        self.steps += 1
        good = abs(self.at - self.goal) < 0.1
        return self._obs(), float(good), good, self.steps == 15, {"is_success": good}

    def render(self):
        return np.full((60, 80, 3), 10 * self.steps, np.uint8)

    def _obs(self):
        return np.array([self.at, self.goal], np.float32)


class Dense(Tiny):
    """The same with a reward for being near."""

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, -abs(self.at - self.goal), *rest


class Sick(Tiny):
    """The same, until its sensor breaks in the middle of an episode."""

    left = 100

    def step(self, action):
        obs, *rest = super().step(action)
        self.left -= 1
        return (obs if self.left > 0 else obs * np.nan), *rest


class Expert:
    """Pushes towards the goal."""

    def reset(self):
        pass

    def act(self, obs, base, phase):
        return np.clip((obs[1:] - obs[:1]) * 3, -1, 1).astype(np.float32)


def demonstrations(env, count=5):
    return [run_episode(env, Expert(), None, seed=700_000 + k) for k in range(count)]


gym.register("Tiny-v0", entry_point=Tiny, disable_env_checker=True)
gym.register("TinyDense-v0", entry_point=Dense, disable_env_checker=True)
gym.register("TinySick-v0", entry_point=Sick, disable_env_checker=True)
