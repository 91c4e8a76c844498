"""An episode is recorded as it happened, and nothing that is not finite is ever sent."""

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.learn.rollout import NoisyDriver, PolicyDriver, run_episode
from robot_rl.replay.trajectory import CONTROL_SOURCES


class Count(gym.Env):
    """Observes the step, ends after `length`; `limits` actions to half, and says so."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, length=7, terminates=False, limits=False):
        self.length, self.terminates, self.limits = length, terminates, limits
        self.taken = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), {}

    def step(self, action):
        self.taken.append(action)
        self.steps += 1
        over = self.steps == self.length
        info = {"executed_action": action / 2} if self.limits else {}
        reward = float(over and self.terminates)
        return self._obs(), reward, over and self.terminates, over and not self.terminates, info

    def _obs(self):
        return np.array([self.steps], np.float32)


class Plans:
    """Plans chunks that say when they were planned and which of their actions this is."""

    def __init__(self, chunk=3):
        self.chunk, self.resets = chunk, 0

    def reset(self):
        self.resets += 1

    def act(self, obs):
        return np.array([[obs[0] / 100, k / 100] for k in range(self.chunk)], np.float32)


class Loud:
    def __init__(self, value=3.0, size=2):
        self.action = np.full(size, value, np.float32)

    def reset(self):
        pass

    def act(self, obs, base, phase):
        return self.action


def test_the_base_is_asked_at_every_step_and_once_after_the_last():
    base, seen = Plans(), []

    class Watch(Loud):
        def act(self, obs, base, phase):
            seen.append(phase)
            return base

    episode = run_episode(Count(), Watch(), base, seed=0)
    planned = np.array([[0, 0], [0, 1], [0, 2], [3, 0], [3, 1], [3, 2], [6, 0]]) / 100
    np.testing.assert_allclose(episode.base, planned, atol=1e-7)
    np.testing.assert_allclose(episode.next_base, [0.06, 0.01], atol=1e-7)
    np.testing.assert_allclose(seen, np.arange(7) % 3 / 3)
    np.testing.assert_array_equal(episode.executed, episode.base)


def test_a_policy_drives_from_a_new_plan_in_every_episode():
    policy = Plans()
    driver = PolicyDriver(policy)
    for seed in range(2):
        episode = run_episode(Count(length=4), driver, None, seed=seed)
        np.testing.assert_allclose(episode.executed[0], [0, 0])
    assert policy.resets == 2 and driver.policy is policy


@pytest.mark.parametrize(("limits", "executed"), [(False, 1.0), (True, 1.5)])
def test_what_was_executed_is_what_the_env_says_or_what_it_admits(limits, executed):
    episode = run_episode(Count(limits=limits), Loud(3.0), None, seed=0)
    np.testing.assert_array_equal(episode.requested, np.full((7, 2), 3.0))
    np.testing.assert_array_equal(episode.executed, np.full((7, 2), executed))
    assert episode.obs["state"].shape == (8, 1) and episode.t_s.shape == (8,)


@pytest.mark.parametrize("terminates", [True, False])
def test_a_time_out_is_no_success_and_no_termination(terminates):
    episode = run_episode(Count(terminates=terminates), Loud(0.0), None, seed=0)
    assert (episode.terminated, episode.success) == (terminates, terminates)
    assert episode.attrs["seed"] == 0


@pytest.mark.parametrize(
    ("driver", "error"),
    [(Loud(np.nan), NonFiniteError), (Loud(np.inf), NonFiniteError), (Loud(size=3), ShapeError)],
)
def test_an_action_that_is_not_finite_or_of_another_size_is_never_sent(driver, error):
    env = Count()
    with pytest.raises(error, match="policy: action"):
        run_episode(env, driver, None, seed=0)
    assert env.taken == []


@pytest.mark.parametrize("uniform", [True, False])
def test_noise_has_its_size_and_stays_within_the_actions(uniform):
    size = np.array([0.2, 0.0], np.float32)
    noisy = NoisyDriver(Loud(0.5), size, np.random.default_rng(0), uniform=uniform)
    actions = run_episode(Count(length=2000), noisy, None, seed=0).requested
    assert actions[:, 0].std() == pytest.approx(0.2 / (3**0.5 if uniform else 1), rel=0.05)
    np.testing.assert_array_equal(actions[:, 1], 0.5)
    assert np.abs(actions).max() <= 1


class Corrected(Count):
    """A person takes over in the third step."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if self.steps == 3:
            info["control_source"] = "human"
        return obs, reward, terminated, truncated, info


def test_steps_of_a_person_are_marked_and_the_episode_is_no_evidence_for_the_driver():
    attrs = {"behaviour": "residual", "noisy": False}
    helped = run_episode(Corrected(), Loud(), None, seed=0, attrs=attrs)
    assert helped.control_source.tolist() == [0, 0, CONTROL_SOURCES.index("human"), 0, 0, 0, 0]
    assert helped.attrs["noisy"] is True
    alone = run_episode(Count(), Loud(), None, seed=0, attrs=attrs)
    assert not alone.control_source.any() and alone.attrs["noisy"] is False
    assert "noisy" not in run_episode(Corrected(), Loud(), None, seed=0).attrs
