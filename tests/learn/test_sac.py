"""The stochastic agent: its hand-written gradients, its temperature, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_batch import ACTION, DIM, batch, normaliser

from robot_rl.errors import ConfigError
from robot_rl.learn.candidates import ResidualDriver
from robot_rl.learn.sac import LOG_STD_RANGE, SAC, SACCfg, squash
from robot_rl.policy.callable import CallablePolicy
from robot_rl.policy.layers import layer_views
from robot_rl.policy.queue import ChunkQueue
from robot_rl.policy.residual import ResidualPolicy
from robot_rl.policy.saved import load_policy, save_policy


def agent(scale=0.5, seed=0, **changes):
    return SAC(SACCfg(**{"width": 32, **changes}), normaliser(), scale=scale, seed=seed)


def network(stacked, flat, x):
    """The stacked networks as autograd knows them, from a flat parameter that may have a grad."""
    *hidden, (weight, bias) = layer_views(flat, stacked.num, stacked.sizes)
    h = x.expand(stacked.num, *x.shape[-2:])
    for inner, offset in hidden:
        h = torch.baddbmm(offset, h, inner)
        if stacked.layer_norm:
            h = torch.nn.functional.layer_norm(h, h.shape[-1:])
        h = h.relu()
    return torch.baddbmm(bias, h, weight.mT)


def test_the_log_density_is_that_of_a_squashed_normal():
    answer = torch.randn(64, 2 * ACTION, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(64, ACTION, generator=torch.Generator().manual_seed(1))
    unit, log_prob, _, _ = squash(answer, noise)
    mean, log_std = answer.double().chunk(2, 1)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.clamp(*LOG_STD_RANGE).exp()),
        torch.distributions.TanhTransform(),
    )
    z = mean + log_std.clamp(*LOG_STD_RANGE).exp() * noise
    torch.testing.assert_close(
        log_prob.double(), squashed.log_prob(z.tanh()).sum(1), atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(unit.double(), z.tanh(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("log_std_shift", [0.0, 2.0], ids=["within range", "partly clamped"])
def test_the_actors_gradient_is_that_of_autograd(log_std_shift):
    ours = agent(zero_init=False, max_grad_norm=1e9, temperature=0.3)
    ours.actor._layers[-1][1][..., ACTION:] += log_std_shift
    data = batch(32)
    flat = ours.actor.flat.clone().requires_grad_()
    seen = torch.from_numpy(ours._see(data.state, data.base, data.phase))
    rng = np.random.default_rng(7)
    noise = torch.from_numpy(rng.standard_normal((32, ACTION), np.float32))
    unit, log_prob, _, _ = squash(network(ours.actor, flat, seen)[0], noise)
    action = (torch.from_numpy(data.base) + ours.scale * unit).clamp(-1, 1)
    q = network(ours.critic, ours.critic.flat, torch.cat([seen, action], 1))
    (0.3 * log_prob.mean() - q.mean()).backward()
    wanted = flat.grad

    gathered = []
    step = ours.actor.adam.step
    ours.actor.adam.step = lambda grad, *a, **k: (
        gathered.append(grad.clone()) or step(grad, *a, **k)
    )
    ours.rng = np.random.default_rng(7)
    ours.update_actor(data)
    torch.testing.assert_close(gathered[0], wanted, atol=1e-5, rtol=1e-4)


def test_the_temperature_brings_the_entropy_to_its_target():
    for temperature in (0.001, 3.0):
        ours = agent(temperature=temperature, temperature_lr=3e-2, actor_lr=1e-2, width=16)
        wanted = ours.cfg.target_entropy * ACTION
        done = [ours.update_actor(batch(64, seed=k)) for k in range(800)]
        assert np.mean([m["entropy"] for m in done[-100:]]) == pytest.approx(wanted, abs=0.4)


def test_it_solves_a_bandit_whose_best_action_is_the_base_plus_a_known_residual():
    ours = agent(critic_lr=1e-3, actor_lr=1e-3, temperature=0.02, temperature_lr=1e-3)
    rng = np.random.default_rng(0)
    wanted = np.array([0.3, -0.2], np.float32)
    for k in range(1500):
        data = batch(64, seed=k)
        base = 0.4 * data.base
        executed = base + rng.uniform(-0.5, 0.5, base.shape).astype(np.float32)
        reward = 1 - ((executed - base - wanted) ** 2).sum(1)
        ended = np.zeros(64, np.float32)
        ours.update(replace(data, base=base, executed=executed, reward=reward, discount=ended))
    base = np.array([0.1, 0.2], np.float32)
    residual = ours.act(np.zeros(DIM, np.float32), base, 0.5, explore=False) - base
    np.testing.assert_allclose(residual, wanted, atol=0.12)


def test_an_untrained_residual_leaves_the_base_as_it_is_and_explores_within_its_scale():
    ours, base = agent(scale=0.2), np.array([0.3, -0.95], np.float32)
    state = np.ones(DIM, np.float32)
    np.testing.assert_array_equal(ours.act(state, base, 0.5, explore=False), base)
    tried = np.stack([ours.act(state, base, 0.5, explore=True) for _ in range(100)])
    assert (np.abs(tried - base) <= 0.2 + 1e-6).all()
    assert (np.abs(tried) <= 1).all()
    assert tried.std(0).min() > 0.02


def test_more_room_moves_neither_the_mean_nor_the_shares_it_explores_by():
    ours, base = agent(scale=0.1, zero_init=False), np.zeros(ACTION, np.float32)
    ours.actor.flat.mul_(0.3)  # small residuals, where tanh is straight
    state = np.ones(DIM, np.float32)
    before = ours.act(state, base, 0.5, explore=False)
    spread = np.std([ours.act(state, base, 0.5, explore=True) for _ in range(300)])
    ours.grow(0.2)
    np.testing.assert_allclose(ours.act(state, base, 0.5, explore=False), before, atol=2e-3)
    wider = np.std([ours.act(state, base, 0.5, explore=True) for _ in range(300)])
    assert wider == pytest.approx(2 * spread, rel=0.2)


def test_values_are_bounded_by_the_reward_only_without_entropy_in_them():
    ended = batch(reward=np.ones(16, np.float32))
    for counts, largest in ((True, 2.0), (False, 1.0)):
        ours = agent(backup_entropy=counts)
        ours.bounds = (0.0, 1.0)
        ours.target_critic.flat.add_(3.0)
        target = ours._target(ended)
        assert (target.max() > 1.0) == (largest > 1.0)
        assert counts or target.min() >= 0


def test_its_state_round_trips_bit_for_bit():
    ours, other = agent(), agent(seed=5, temperature=0.7)
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
    assert ours.temperature.value == other.temperature.value


def test_a_saved_actor_acts_by_its_mean_exactly_as_the_driver_it_was(tmp_path):
    ours = agent(zero_init=False)
    rng = np.random.default_rng(2)
    driver, queue = ResidualDriver(ours, explore=False), ChunkQueue(CallablePolicy(_still))
    loaded = load_policy(save_policy(ResidualPolicy(None, ours), tmp_path / "policy"))
    for _ in range(20):
        state = rng.standard_normal(DIM).astype(np.float32)
        wanted = driver.act(state, *queue.next(state))
        np.testing.assert_array_equal(loaded.act(state)[0], wanted)


def _still(state):
    return np.zeros(ACTION, np.float32)


def test_a_temperature_without_a_logarithm_is_refused():
    with pytest.raises(ConfigError, match="temperature and temperature_lr must be positive"):
        SACCfg(temperature=0.0)
