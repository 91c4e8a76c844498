"""The external task is the one its demonstrations were recorded in, to the last bit."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sim import external

pytest.importorskip("gymnasium_robotics", reason="pip install 'robot-rl[bench]'")

ENV_ID = "sim.external:External/FetchPush-v0"


@pytest.fixture(scope="module")
def env():
    env = gym.make(ENV_ID)
    yield env
    env.close()


def test_spaces_and_time_limit(env):
    assert env.observation_space == gym.spaces.Box(-np.inf, np.inf, (28,), np.float32)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
    assert env.spec.max_episode_steps == 60


@pytest.mark.filterwarnings("ignore:.*A Box observation space m")  # positions have no bound
def test_passes_gymnasiums_own_checker(env):
    check_env(env.unwrapped, skip_render_check=True)


def test_demonstrations_replay_to_the_same_observations(env):
    for demo in external.load_demos():
        obs, info = env.reset(seed=demo.seed)
        assert info["is_success"] is False
        np.testing.assert_allclose(obs, demo.obs[0], atol=1e-5)
        for t, action in enumerate(demo.actions):
            obs, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_allclose(obs, demo.obs[t + 1], atol=1e-4)
            assert reward == demo.rewards[t]
        assert terminated == info["is_success"] == demo.terminated
        assert not truncated


def test_demonstrations_have_one_more_observation_than_actions():
    demos = external.load_demos()
    assert [demo.seed for demo in demos] == list(external.DEMO_SEEDS)
    for demo in demos:
        assert demo.obs.shape == (len(demo.actions) + 1, 28)
        assert demo.rewards.shape == (len(demo.actions),)


def test_doing_nothing_is_never_success_and_ends_by_the_time_limit(env):
    env.reset(seed=external.EVAL_SEEDS[0])
    for step in range(60):
        _, reward, terminated, truncated, _ = env.step(np.zeros(4, np.float32))
        assert (reward, terminated) == (0.0, False)
        assert truncated == (step == 59)


@pytest.mark.parametrize("seed", [external.EVAL_SEEDS[0], 7])
def test_a_seed_gives_the_same_episode_twice(env, seed):
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 4)).astype(np.float32)

    def rollout():
        first = env.reset(seed=seed)[0]
        return np.stack([first, *(env.step(action)[0] for action in actions)])

    np.testing.assert_array_equal(rollout(), rollout())


def test_no_evaluation_start_lies_at_its_goal(env):
    for seed in external.EVAL_SEEDS:
        env.reset(seed=seed)
        simulation = env.unwrapped.simulation
        block = simulation._get_obs()["achieved_goal"]
        assert np.linalg.norm(simulation.goal - block) >= external.MIN_START_DISTANCE_M


def test_a_damaged_demonstration_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "fetch_push.npz"
    monkeypatch.setattr(external, "DEMO_FILE", path)
    with pytest.raises(external.DataError, match=r"is missing\. Reinstall robot-rl"):
        external.load_demos()
    np.savez(path, obs=np.zeros((5, 28)), episode_ends=np.array([5]))
    with pytest.raises(external.DataError, match="holds 1 episodes and 5 steps"):
        external.load_demos()
