"""A flow policy draws different chunks, repeats its own choice, and refuses bad input."""

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.flow import FlowCfg, FlowPolicy
from robot_rl.policy.normalise import Normaliser

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
)
STATE = np.zeros(5, np.float32)


def policy() -> FlowPolicy:
    return FlowPolicy(FlowCfg(chunk=3, width=32, proposals=4), NORM, seed=0)


def test_it_is_a_base_policy_and_repeats_itself():
    flow = policy()
    assert isinstance(flow, BasePolicy)
    assert flow.act(STATE).shape == (3, 2)
    np.testing.assert_array_equal(flow.act(STATE), flow.act(STATE))
    np.testing.assert_array_equal(flow.propose(STATE), flow.propose(STATE))
    assert flow.propose(STATE).shape == (4, 3, 2)


def test_samples_follow_their_generator_and_differ_among_themselves():
    flow = policy()
    one, two = (flow.sample(STATE, 5, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (5, 3, 2)
    assert one.std(0).min() > 0


def test_trained_on_two_modes_it_draws_both_and_not_their_mean():
    # Demonstrations that go left or right at random: a mean would go straight into the obstacle.
    flow = FlowPolicy(FlowCfg(chunk=1, width=32, layers=2), NORM, seed=0)
    optimiser = torch.optim.Adam(flow.net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    state, mask = torch.zeros(64, 5), torch.ones(64, 1)
    for _ in range(300):
        side = torch.randint(0, 2, (64, 1, 1), generator=generator) * 2.0 - 1.0
        loss = flow.loss(state, {}, side.expand(64, 1, 2), mask, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    state_zero = NORM.state_mean.copy()
    drawn = NORM.to_unit(flow.sample(state_zero, 200, np.random.default_rng(0)))[:, 0, 0]
    assert (np.abs(np.abs(drawn) - 1) < 0.35).mean() > 0.8
    assert 0.3 < (drawn > 0).mean() < 0.7


def test_bad_sizes_observations_and_weights_are_refused():
    with pytest.raises(ConfigError, match="flow: width is 0"):
        FlowCfg(width=0)
    flow = policy()
    with pytest.raises(ShapeError, match="observation: state"):
        flow.act(STATE[:3])
    with torch.no_grad():
        flow.net.head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="flow: plan"):
        flow.act(STATE)
