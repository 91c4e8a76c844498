"""An episode may go on after its success, and what it went on for is known."""

import numpy as np
import pytest

from robot_rl.apps.collect import ExpertDriver
from robot_rl.apps.envs import make_env
from robot_rl.apps.settling import Settling
from robot_rl.learn.rollout import run_episode
from robot_rl.reward.corpus import done_labels
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import SETTLED_S, success_s, time_share

pytest.importorskip("mujoco")
SEED = 700_003


@pytest.fixture(scope="module")
def env():
    env = make_env("reach")
    yield env
    env.close()


@pytest.fixture(scope="module")
def episodes(env):
    return [ExpertDriver(Settling(env, s), "reach").demonstrate(SEED) for s in (0.0, 0.5)]


def test_it_is_the_same_episode_and_half_a_second_more(episodes):
    plain, longer = episodes
    assert plain.success and longer.success and longer.terminated
    assert len(longer) == len(plain) + 10
    np.testing.assert_array_equal(longer.obs["state"][: len(plain) + 1], plain.obs["state"])
    assert SETTLED_S not in plain.attrs and longer.attrs[SETTLED_S] == pytest.approx(0.5)
    assert longer.reward.sum() == longer.reward[-1] == 1


def test_progress_is_whole_at_success_and_stays_so(episodes):
    plain, longer = episodes
    assert success_s(longer) == pytest.approx(success_s(plain))
    share = time_share(longer.t_s, success_s(longer))
    np.testing.assert_allclose(share[: len(plain) + 1], time_share(plain.t_s), atol=1e-9)
    assert (share[len(plain) :] == 1).all()
    labels = [done_labels(e, True, EmbeddedCfg()) for e in episodes]
    np.testing.assert_array_equal(labels[1][: len(plain) + 1], labels[0])
    assert (labels[1][len(plain) :] == 1).all()


def test_a_success_that_does_not_last_is_none(env, episodes):
    class ThenAway:
        def reset(self):
            self.step = 0

        def act(self, obs, base, phase):
            self.step += 1
            done = episodes[0].requested
            return done[self.step - 1] if self.step <= len(done) else np.ones_like(done[0])

    episode = run_episode(Settling(env, 0.5), ThenAway(), None, seed=SEED)
    assert not episode.success and not episode.terminated and episode.reward.sum() == 0
