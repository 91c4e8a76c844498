"""Proposals, their mean and their batches agree; bad observations and weights are refused."""

import numpy as np
import pytest

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
)


def ensemble(members: int = 3) -> ChunkEnsemble:
    return ChunkEnsemble.fresh(NORM, chunk=4, members=members, hidden=(16, 16), seed=1)


def test_it_is_a_base_policy_and_acts_by_the_mean_of_its_proposals():
    policy = ensemble()
    obs = rng.normal(size=5).astype(np.float32)
    assert isinstance(policy, BasePolicy)
    assert policy.propose(obs).shape == (3, 4, 2)
    np.testing.assert_allclose(policy.act(obs), policy.propose(obs).mean(0), atol=1e-6)


def test_batched_proposals_are_the_single_ones():
    policy = ensemble()
    states = rng.normal(size=(6, 5)).astype(np.float32)
    batch = policy.propose_batch(states)
    assert batch.shape == (3, 6, 4, 2)
    for k, state in enumerate(states):
        np.testing.assert_allclose(batch[:, k], policy.propose(state), atol=1e-5)
    np.testing.assert_allclose(policy.act_batch(states), batch.mean(0), atol=1e-6)


def test_one_member_is_the_plain_chunked_network():
    policy = ensemble(members=1)
    obs = {"state": np.zeros(5, np.float32)}
    np.testing.assert_array_equal(policy.act(obs), policy.propose(obs)[0])


def test_another_observation_size_is_refused():
    with pytest.raises(ShapeError, match=r"shape \(4,\), but must have shape \(5,\)"):
        ensemble().act(np.zeros(4, np.float32))
    with pytest.raises(ShapeError, match="observations: state"):
        ensemble().propose_batch(np.zeros((2, 4), np.float32))


def test_nan_in_the_weights_is_an_error_and_not_an_action():
    policy = ensemble()
    policy.net.flat[0] = np.nan
    with pytest.raises(NonFiniteError, match="ensemble: plan"):
        policy.act(np.ones(5, np.float32))
