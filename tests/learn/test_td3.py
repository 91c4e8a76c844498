"""The residual agent, without the defects that are known from published residual-RL code."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_batch import ACTION, DIM, batch, normaliser

from robot_rl.errors import ConfigError
from robot_rl.learn.td3 import TD3, TD3Cfg


def agent(scale=0.5, **changes):
    return TD3(TD3Cfg(width=32, **changes), normaliser(), scale=scale, seed=0)


def test_an_untrained_residual_leaves_the_base_as_it_is():
    base = np.array([0.3, -0.8], np.float32)
    np.testing.assert_array_equal(
        agent().act(np.ones(DIM, np.float32), base, 0.5, explore=False), base
    )


def test_the_residual_stays_within_its_scale_of_the_base_and_the_sum_within_the_env():
    ours = agent(scale=0.2, zero_init=False, noise=5.0)
    rng = np.random.default_rng(1)
    for _ in range(50):
        base = rng.uniform(-1, 1, ACTION).astype(np.float32)
        action = ours.act(rng.standard_normal(DIM).astype(np.float32), base, 0.0, explore=True)
        assert (np.abs(action - base) <= 0.2 + 1e-6).all()
        assert (np.abs(action) <= 1).all()


def test_exploration_noise_shrinks_with_the_scale():
    spread = {}
    for scale in (0.05, 0.5):
        ours = agent(scale=scale)
        actions = [
            ours.act(np.zeros(DIM, np.float32), np.zeros(ACTION, np.float32), 0.0, explore=True)
            for _ in range(200)
        ]
        spread[scale] = np.std(actions)
    assert spread[0.5] == pytest.approx(10 * spread[0.05], rel=0.3)


def test_actor_and_critic_see_the_phase_of_the_chunk():
    ours = agent(zero_init=False)
    early, late = (
        ours.act(np.zeros(DIM, np.float32), np.zeros(ACTION, np.float32), phase, explore=False)
        for phase in (0.0, 0.9)
    )
    assert not np.array_equal(early, late)
    blind = agent(zero_init=False, see_phase=False)
    early, late = (
        blind.act(np.zeros(DIM, np.float32), np.zeros(ACTION, np.float32), phase, explore=False)
        for phase in (0.0, 0.9)
    )
    np.testing.assert_array_equal(early, late)


def test_critics_learn_apart_from_each_other():
    """A loss of the mean over critics would let the error of one move another."""
    ours, other = agent(max_grad_norm=1e9), agent(max_grad_norm=1e9)
    weight, _ = other.critic._layers[-1]
    weight[0].add_(1.0)
    for one in (ours, other):
        one.rng = np.random.default_rng(0)
        one.update_critic(batch(discount=np.zeros(16, np.float32)))
    a, b = (
        one.critic.forward(torch.ones(1, one.critic.sizes[0]))[:, 0, 0] for one in (ours, other)
    )
    assert a[0] != b[0]
    torch.testing.assert_close(a[1:], b[1:])


def test_a_terminal_transition_regresses_on_its_reward_alone():
    ours = agent(critic_lr=3e-3)
    data = batch(reward=np.full(16, 0.7, np.float32), discount=np.zeros(16, np.float32))
    for _ in range(400):
        ours.update_critic(data)
    values = ours.value(data.state, data.base, data.phase, data.executed)
    np.testing.assert_allclose(values, 0.7, atol=0.1)


def test_targets_stay_within_what_the_reward_allows():
    ours = agent()
    ours.bounds = (0.0, 1.0)
    ours.target_critic.flat.add_(3.0)
    target = ours._target(batch(reward=np.ones(16, np.float32)))
    assert target.min() >= 0
    assert target.max() <= 1


def test_it_solves_a_bandit_whose_best_action_is_the_base_plus_a_known_residual():
    ours = agent(scale=0.5, critic_lr=1e-3, actor_lr=1e-3)
    rng = np.random.default_rng(0)
    wanted = np.array([0.3, -0.2], np.float32)
    for k in range(1500):
        data = batch(64, seed=k)
        base = 0.4 * data.base
        executed = base + rng.uniform(-0.5, 0.5, base.shape).astype(np.float32)
        reward = 1 - ((executed - base - wanted) ** 2).sum(1)
        ours.update(
            replace(
                data,
                base=base,
                executed=executed,
                reward=reward,
                discount=np.zeros(64, np.float32),
            )
        )
    base = np.array([0.1, 0.2], np.float32)
    residual = ours.act(np.zeros(DIM, np.float32), base, 0.5, explore=False) - base
    np.testing.assert_allclose(residual, wanted, atol=0.12)


def test_choosing_acts_by_the_base_where_the_critic_prefers_it():
    ours = agent(add_base=False, choose=True, zero_init=False, critic_lr=3e-3, scale=1.0)
    data = batch(64)
    near = (np.abs(data.executed - data.base).max(1) < 1e-6).astype(np.float32)
    for k in range(300):
        data = batch(64, seed=k)
        half = np.arange(64) < 32
        executed = np.where(half[:, None], data.base, data.executed)
        near = half.astype(np.float32)
        ours.update_critic(
            replace(data, executed=executed, reward=near, discount=np.zeros(64, np.float32))
        )
    chosen = [
        np.allclose(
            ours.act(d.state[0], d.base[0], float(d.phase[0, 0]), explore=False), d.base[0]
        )
        for d in (batch(1, seed=1000 + k) for k in range(50))
    ]
    assert np.mean(chosen) > 0.7


def test_a_wider_bound_leaves_small_residuals_where_they_are():
    ours = agent(scale=0.1, zero_init=False)
    ours.actor.scale_output(0.1)  # small against its bound
    state, base = np.ones(DIM, np.float32), np.zeros(ACTION, np.float32)
    before = ours.act(state, base, 0.5, explore=False)
    ours.grow(0.4)
    np.testing.assert_allclose(ours.act(state, base, 0.5, explore=False), before, rtol=0.05)
    ours.actor.flat.mul_(100)
    assert np.abs(ours.act(state, base, 0.5, explore=False)).max() > 0.3


def test_its_state_round_trips_bit_for_bit():
    ours, other = agent(), agent()
    for k in range(10):
        ours.update(batch(seed=k))
    other.load_state_dict(ours.state_dict())
    other.updates = ours.updates
    other.rng.bit_generator.state = ours.rng.bit_generator.state
    for one in (ours, other):
        for k in range(10):
            one.update(batch(seed=100 + k))
    assert torch.equal(ours.critic.flat, other.critic.flat)
    assert torch.equal(ours.actor.flat, other.actor.flat)


def test_a_subset_larger_than_the_ensemble_is_refused():
    with pytest.raises(ConfigError, match=r"subset is 9, but must be in 1\.\.5"):
        TD3Cfg(subset=9)
