"""The conservative term has the gradient of its formula, and pushes only what it may push."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError
from robot_rl.learn.calql import CalQL, CalQLCfg
from robot_rl.learn.sac import SAC, SACCfg
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.buffer import Batch

ROWS, DIM, ACTION = 6, 3, 2


def norm():
    rng = np.random.default_rng(0)
    return Normaliser.fit(rng.normal(size=(50, DIM)), rng.uniform(-1, 1, (50, ACTION)))


def agent(kind="td3"):
    if kind == "sac":
        return SAC(SACCfg(width=8, critics=2), norm(), scale=0.4, seed=1)
    return TD3(TD3Cfg(width=8, critics=2, zero_init=False), norm(), scale=0.4, seed=1)


def batch(**changes):
    rng = np.random.default_rng(2)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    whole = Batch(
        state=normal(ROWS, DIM),
        base=0.3 * normal(ROWS, ACTION),
        phase=np.zeros((ROWS, 1), np.float32),
        executed=np.clip(0.3 * normal(ROWS, ACTION), -1, 1),
        reward=np.zeros(ROWS, np.float32),
        discount=np.full(ROWS, 0.97, np.float32),
        next_state=normal(ROWS, DIM),
        next_base=0.3 * normal(ROWS, ACTION),
        next_phase=np.zeros((ROWS, 1), np.float32),
        row=np.zeros(ROWS, np.int64),
        next_row=np.zeros(ROWS, np.int64),
        to_go=np.full(ROWS, -5.0, np.float32),
    )
    return replace(whole, **changes)


def gathered(kind="td3", rows=None, **cfg):
    """The term's value of each critic summed, and its gradient, always with the same draws."""
    ours = agent(kind)
    rows = batch() if rows is None else rows

    def term(flat):
        ours.critic.flat.copy_(flat)
        ours.rng = np.random.default_rng(7)
        found = CalQL(CalQLCfg(weight=1.0, **cfg), seed=3).gather(ours, rows)
        grad = ours.critic.grad.clone()
        ours.critic._is_fresh = True  # each gradient for itself
        return found, grad

    return ours, term


@pytest.mark.parametrize("kind", ["td3", "sac"])
@pytest.mark.parametrize("level", [-5.0, 0.1, 5.0])
def test_the_gradient_is_that_of_the_term(kind, level):
    rows = batch(to_go=np.full(ROWS, level, np.float32))
    ours, term = gathered(kind, rows)
    start = ours.critic.flat.clone().double()
    _, grad = term(start)
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(0)).double()
    step = 1e-3
    up, down = (
        2 * term(start + sign * step * direction)[0]["regulariser"] for sign in (1, -1)
    )  # times the two critics: it is a mean over them
    slope = float(grad.double() @ direction)
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=0.02, abs=2e-3)


def test_a_policy_below_the_return_of_the_data_is_not_pushed_further():
    high = batch(to_go=np.full(ROWS, 50.0, np.float32))
    for is_calibrated, expected in ((True, 1.0), (False, 1.0)):
        found = gathered(rows=high, calibrated=is_calibrated)[1](agent().critic.flat)[0]
        assert found["bound_rate"] == expected  # told either way
    ours = agent()
    before = ours.critic.forward(ours.at_executed(high)).mean()
    calibrated = CalQL(CalQLCfg(weight=1.0), seed=0)
    ours.conservatism = calibrated
    _, policy_before = _values(ours, high)
    for _ in range(50):
        calibrated.gather(ours, high)
        ours.critic.step(1e-2)
    data, policy = _values(ours, high)
    assert data > float(before) + 0.5  # what was done is lifted
    assert policy > policy_before - 0.5  # and nobody's own action paid for it
    plain = agent()
    cql = CalQL(CalQLCfg(weight=1.0, calibrated=False), seed=0)
    for _ in range(50):
        cql.gather(plain, high)
        plain.critic.step(1e-2)
    gap, plain_gap = data - policy, np.subtract(*_values(plain, high))
    assert plain_gap > gap


def _values(ours, rows):
    """Mean value of executed and of the policy's actions."""
    unit = ours.sample(rows)[0]
    return tuple(
        float(ours.critic.forward(x).mean())
        for x in (ours.at_executed(rows), ours.at(rows, unit[None]))
    )


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_a_sample_lies_in_its_bounds_with_a_finite_density(kind):
    unit, log_density = agent(kind).sample(batch())
    assert unit.shape == (ROWS, ACTION) and log_density.shape == (ROWS,)
    assert np.abs(unit).max() <= 1 and np.isfinite(log_density).all()


def test_values_of_untried_actions_end_below_those_of_tried_ones_despite_a_tempting_start():
    ours = agent()
    ours.bounds = (0.0, 1.0)
    rows = batch(reward=np.ones(ROWS, np.float32), discount=np.zeros(ROWS, np.float32))
    ours.conservatism = CalQL(CalQLCfg(weight=0.3), seed=0)
    for _ in range(300):
        metrics = ours.update_critic(rows)
        ours.target_critic.follow(ours.critic, 0.05)
    data, policy = _values(ours, rows)
    assert data == pytest.approx(1.0, abs=0.3) and policy < data
    assert {"dataset_q", "policy_q", "regulariser", "bound_rate", "return"} <= metrics.keys()


def test_a_term_that_pushes_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"calql: weight -1 must be >= 0"):
        CalQLCfg(weight=-1)
    with pytest.raises(ConfigError, match=r"temperature 0\.0 > 0"):
        CalQLCfg(temperature=0.0)
