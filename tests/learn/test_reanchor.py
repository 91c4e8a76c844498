"""A residual that is put on another base goes on doing what it did."""

import numpy as np
import pytest

from robot_rl.learn.sac import SAC, SACCfg
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.policy.normalise import Normaliser

DIM, ACTION, COUNT = 3, 2, 400


def agent(kind):
    rng = np.random.default_rng(0)
    span = np.array([[-1.0] * ACTION, [1.0] * ACTION], np.float32)
    norm = Normaliser.fit(rng.standard_normal((100, DIM)).astype(np.float32), span)
    form = {"width": 32, "zero_init": False}
    if kind == "sac":
        return SAC(SACCfg(**form), norm, scale=0.5, seed=0)
    return TD3(TD3Cfg(**form), norm, scale=0.5, seed=0)


def bases(states, slope):
    """What a base that is a function of the state does (B, a)."""
    return (0.3 * np.tanh(states @ slope)).astype(np.float32)


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_on_another_base_it_makes_the_sums_that_it_made_before(kind):
    ours = agent(kind)
    rng = np.random.default_rng(1)
    states = rng.standard_normal((COUNT, DIM)).astype(np.float32)
    phases = rng.random((COUNT, 1), np.float32)
    before, after = (bases(states, rng.standard_normal((DIM, ACTION))) for _ in range(2))

    def sums(of):
        rows = zip(states, of, phases[:, 0], strict=True)
        return np.array([ours.act(*row, explore=False) for row in rows])

    wanted, untouched = sums(before), sums(after)
    first, last = ours.reanchor(states, phases, before, after, steps=1_500)
    assert last < 0.1 * first
    assert np.abs(sums(after) - wanted).mean() < 0.2 * np.abs(untouched - wanted).mean()


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_the_target_follows_at_once_and_a_gaussian_still_explores(kind):
    ours = agent(kind)
    rng = np.random.default_rng(2)
    states = rng.standard_normal((COUNT, DIM)).astype(np.float32)
    phases = np.zeros((COUNT, 1), np.float32)
    base = bases(states, rng.standard_normal((DIM, ACTION)))
    ours.reanchor(states, phases, base, base * 0.5, steps=20)
    if isinstance(ours, TD3):
        np.testing.assert_array_equal(ours.target_actor.flat, ours.actor.flat)
    else:
        assert np.isfinite(ours.act(states[0], base[0], 0.0, explore=True)).all()
