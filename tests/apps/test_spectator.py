"""Looking at the twin does not change it."""

import numpy as np
import pytest

from robot_rl.apps.spectator import Spectator

Spectator.choose_renderer()
mujoco = pytest.importorskip("mujoco")


@pytest.fixture
def env():
    from robot_rl.apps.envs import make_env

    made = make_env("peg")
    yield made
    made.close()


def rewarded_path(env, spectator, steps=4):
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    states = []
    for _ in range(steps):
        obs, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        states.append(obs)
        if spectator is not None:
            assert spectator.picture().shape == (300, 400, 3)
    return np.array(states)


def test_a_filmed_episode_is_the_same_episode_and_shows_something(env):
    spectator = Spectator(env)
    try:
        unwatched = rewarded_path(env, None)
        assert np.array_equal(rewarded_path(env, spectator), unwatched)
        first = spectator.picture()
        assert first.std() > 20
        assert spectator.fps == env.unwrapped.task.control_hz
    finally:
        spectator.close()
