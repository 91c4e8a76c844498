"""A deployed candidate that is saved and loaded acts as the learner's own driver did, exactly."""

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.errors import CheckpointError, ShapeError
from robot_rl.learn.candidates import ResidualDriver
from robot_rl.learn.chooser import Chooser, ChooserCfg
from robot_rl.learn.rollout import PolicyDriver, run_episode
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.policy.chosen import ChosenPolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.residual import ResidualPolicy
from robot_rl.policy.saved import load_policy, save_policy

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(50, 3)).astype(np.float32), rng.uniform(-1, 1, (50, 2)).astype(np.float32)
)


class Drift(gym.Env):
    """A point that drifts where it is pushed."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = self.np_random.normal(size=3).astype(np.float32), 0
        return self.at.copy(), {}

    def step(self, action):
        self.at[:2] += 0.3 * action
        self.at[2] += 0.1
        self.steps += 1
        return self.at.copy(), 0.0, False, self.steps == 13, {}


def ensemble(seed=0):
    return ChunkEnsemble.fresh(NORM, chunk=4, members=3, hidden=(8, 8), seed=seed)


def agent(**cfg):
    """A residual agent whose weights are far from zero."""
    made = TD3(TD3Cfg(width=16, zero_init=False, **cfg), NORM, scale=0.4, seed=1)
    made.critic.flat.mul_(3.0)
    return made


def episode(driver, base, seed=0):
    return run_episode(Drift(), driver, base, seed=seed)


FORMS = {
    "residual": {},
    "blind": {"see_base_action": False, "see_phase": False, "layer_norm": False},
    "alone": {"add_base": False},
    "choice of two": {"add_base": False, "choose": True},
    "cautious": {"caution": 1.0},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_loaded_residual_acts_exactly_as_the_driver_it_was(form, tmp_path):
    learned, base = agent(**FORMS[form]), ensemble()
    saved = ResidualPolicy(base, learned)
    loaded = load_policy(save_policy(saved, tmp_path / "policy"))
    for seed in range(3):
        there = episode(ResidualDriver(learned, explore=False), base, seed)
        here = episode(PolicyDriver(loaded), None, seed)
        np.testing.assert_array_equal(here.requested, there.requested)


def test_a_residual_without_a_base_is_saved_too(tmp_path):
    learned = agent(add_base=False)
    loaded = load_policy(save_policy(ResidualPolicy(None, learned), tmp_path / "policy"))
    there = episode(ResidualDriver(learned, explore=False), None)
    np.testing.assert_array_equal(episode(PolicyDriver(loaded), None).requested, there.requested)


def test_a_loaded_choice_acts_exactly_as_the_driver_it_was(tmp_path):
    chooser = Chooser(ChooserCfg(width=16), NORM, chunk=4, seed=2)
    chosen = chooser.policy(ensemble(), every=2, explore=False)
    loaded = load_policy(save_policy(chosen, tmp_path / "policy"))
    assert isinstance(loaded, ChosenPolicy)
    there, here = episode(PolicyDriver(chosen), None), episode(PolicyDriver(loaded), None)
    np.testing.assert_array_equal(here.requested, there.requested)


def test_a_residual_on_a_residual_is_a_policy_like_any_other(tmp_path):
    first = load_policy(save_policy(ResidualPolicy(ensemble(), agent()), tmp_path / "first"))
    second = ResidualPolicy(first, agent())
    loaded = load_policy(save_policy(second, tmp_path / "second"))
    there, here = episode(PolicyDriver(second), None), episode(PolicyDriver(loaded), None)
    np.testing.assert_array_equal(here.requested, there.requested)
    assert not np.array_equal(there.requested, episode(PolicyDriver(first), None).requested)


def test_the_share_of_the_scale_undoes_the_sum():
    learned = agent()
    unit, base = np.array([0.5, -0.25], np.float32), np.array([0.1, -0.1], np.float32)
    np.testing.assert_allclose(learned.share(base, learned._sum(base, unit)), unit, rtol=1e-5)
    assert agent(add_base=False).share(base, base) is None


def test_what_does_not_fit_is_refused(tmp_path):
    policy = ResidualPolicy(ensemble(), agent())
    config, arrays = policy.config(), policy.arrays()
    with pytest.raises(CheckpointError, match="weights, but 1 networks of sizes"):
        ResidualPolicy.restore(config, {**arrays, "actor": arrays["actor"][:-1]})
    with pytest.raises(CheckpointError, match="unknown kind 'oracle'"):
        ResidualPolicy.restore(config | {"base": {"kind": "oracle", "config": {}}}, arrays)
    with pytest.raises(ShapeError):
        policy.act(np.zeros(4, np.float32))


def test_a_residual_on_a_base_that_cannot_be_saved_says_so(tmp_path):
    class Callable:
        chunk = 1

        def reset(self):
            pass

        def act(self, obs):
            return np.zeros((1, 2), np.float32)

    with pytest.raises(CheckpointError, match="of type Callable cannot be saved"):
        save_policy(ResidualPolicy(Callable(), agent()), tmp_path / "policy")


def voting(gains, **cfg):
    """An agent whose critics see these gains in its action over the base's."""
    ours = agent(**cfg)
    ours._values = lambda seen, actions: np.stack([np.zeros(len(gains)), gains], 1)
    return ours


@pytest.mark.parametrize(
    ("gains", "acts"),
    [
        ([0.1, 0.1, 0.1], True),
        ([0.1, 0.2, 0.3], True),
        ([-0.1, 0.3, 0.1], False),  # better on the whole, but they disagree
        ([-0.1, -0.1, -0.1], False),
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_a_cautious_residual_acts_only_where_its_critics_agree(gains, acts):
    state, base = np.ones(3, np.float32), np.full(2, 0.1, np.float32)
    ours, reckless = voting(gains, critics=3, caution=1.0), agent(critics=3)
    wanted = reckless.act(state, base, 0.5, explore=False) if acts else base
    np.testing.assert_array_equal(ours.act(state, base, 0.5, explore=False), wanted)
    assert not np.array_equal(ours.act(state, base, 0.5, explore=True), base), "it still explores"
