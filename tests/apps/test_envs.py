"""A task's name leads to one environment, its evaluation seeds and its demonstrations."""

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.apps import envs
from robot_rl.errors import ConfigError, DataError, UnknownNameError

FETCH_PUSH = "gym:sim.external:External/FetchPush-v0"


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown task 'pge'\. Available: .*\bpeg\b"):
        envs.make_env("pge")


@pytest.mark.parametrize("gym_id", ["Nowhere-v0", "nowhere.at_all:Task-v0"])
def test_an_unknown_gym_id_names_the_next_step(gym_id):
    with pytest.raises(ConfigError, match=r"gym environment .*(Give|Check)"):
        envs.make_env(f"gym:{gym_id}")


def test_discrete_actions_are_refused():
    with pytest.raises(ConfigError, match="must have a bounded Box"):
        envs.make_env("gym:CartPole-v1")


@pytest.mark.parametrize("name", ["gym:Pendulum-v1", "gym:HalfCheetah-v5"])
def test_vector_observations_become_float32(name):
    env = envs.make_env(name)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32 == env.observation_space.dtype
    assert obs.shape == env.observation_space.shape
    env.close()


class Goal(gym.Env):
    observation_space = gym.spaces.Dict(
        {
            "achieved": gym.spaces.Box(-1, 1, (2,), np.float64),
            "wanted": gym.spaces.Box(-1, 1, (3,), np.float64),
        }
    )
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"achieved": np.zeros(2), "wanted": np.ones(3)}, {}


def test_a_dict_of_vectors_becomes_one_vector():
    gym.register("Goal-v0", entry_point=Goal, disable_env_checker=True)
    obs, _ = envs.make_env("gym:Goal-v0").reset(seed=0)
    np.testing.assert_array_equal(obs, np.array([0, 0, 1, 1, 1], np.float32))
    assert obs.dtype == np.float32


def test_every_task_has_a_hundred_evaluation_seeds():
    for name in (*envs.available_tasks(), "gym:Pendulum-v1"):
        assert envs.eval_seeds(name) == range(500_000, 500_100)


def test_the_external_task_comes_with_demonstrations():
    pytest.importorskip("gymnasium_robotics", reason="pip install 'robot-rl[bench]'")
    demos = envs.load_demos("builtin", FETCH_PUSH)
    env = envs.make_env(FETCH_PUSH)
    assert len(demos) == 20
    for demo in demos:
        assert demo.success and demo.terminated and demo.reward[-1] == 1.0
        obs, _ = env.reset(seed=demo.attrs["seed"])
        np.testing.assert_allclose(obs, demo.obs["state"][0], atol=1e-5)
    env.close()


def test_a_task_without_demonstrations_says_how_to_record_them():
    with pytest.raises(ConfigError, match="robot-rl collect --env peg"):
        envs.load_demos("builtin", "peg")


def test_a_path_without_a_store_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        envs.load_demos(tmp_path / "nothing.zarr", "peg")
