"""Behavior cloning solves a toy task, repeats itself, and keeps the best checkpoint."""

from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.bc import BCCfg, fit

CFG = BCCfg(chunk=4, members=4, width=64, steps=400, batch=64)


def test_the_ensemble_solves_the_toy_task(demonstrations, toy_success):
    untrained = fit(replace(CFG, steps=1, checks=1), demonstrations(20), seed=0)
    trained = fit(CFG, demonstrations(20), seed=0)
    assert toy_success(untrained) < 0.3
    assert toy_success(trained) >= 0.9


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(demonstrations):
    cfg = replace(CFG, steps=30, obs_noise=0.1)
    one, two, other = (fit(cfg, demonstrations(5), seed=s).net.flat for s in (3, 3, 4))
    assert one.equal(two)
    assert not one.equal(other)


def test_the_checkpoint_with_the_best_score_is_returned(demonstrations):
    seen = []

    def score(policy):
        seen.append(policy.net.flat.clone())
        return [0.2, 0.9, 0.5, 0.1][len(seen) - 1]

    best = fit(replace(CFG, steps=40), demonstrations(5), seed=0, score=score)
    assert len(seen) == 4
    assert best.net.flat.equal(seen[1])
    assert not best.net.flat.equal(seen[3])


@pytest.mark.parametrize("kind", ["mlp", "act"])
def test_without_a_score_the_error_on_held_out_episodes_decides(kind, demonstrations):
    # Noise for actions: the longer it is learned by heart, the worse it fits other episodes.
    rng = np.random.default_rng(0)
    demos = [
        replace(d, executed=rng.normal(size=d.executed.shape).astype(np.float32))
        for d in demonstrations(6)
    ]
    cfg = replace(CFG, kind=kind, width=32, steps=80, checks=8, lr=3e-3)
    last = fit(cfg, demos, seed=0)
    chosen = fit(replace(cfg, held_out=0.3), demos, seed=0)

    def size(policy):
        return np.mean([np.square(policy.act(s)).mean() for s in demos[0].obs["state"][:-1]])

    assert size(chosen) < size(last)  # it knows less of the noise


def test_without_a_score_or_held_out_episodes_the_last_checkpoint_is_taken(demonstrations):
    # Refreshing from a policy that has seen the data must not stop where it started.
    demos = demonstrations(6)
    first = fit(CFG, demos, seed=0)
    many, one = (
        fit(replace(CFG, steps=40, checks=n), demos, seed=1, init=first).net.flat for n in (8, 1)
    )
    assert many.equal(one)


def test_members_differ_by_their_resampling_even_from_equal_weights(demonstrations):
    spread = fit(replace(CFG, steps=100), demonstrations(6), seed=0)
    plans = spread.propose(np.array([0.9, -0.9, -0.9, 0.9], np.float32))
    assert plans.std(0).max() > 0


def test_an_episode_of_weight_zero_is_never_imitated(demonstrations):
    demos = demonstrations(6)
    poison = replace(demos[0], executed=demos[0].executed + 100, requested=demos[0].requested)
    clean = fit(replace(CFG, steps=200), demos[1:], seed=0)
    mixed = fit(
        replace(CFG, steps=200), [poison, *demos[1:]], seed=0, weights=[0] + [1] * 5, init=clean
    )
    assert np.abs(mixed.act(demos[1].obs["state"][0])).max() < 2


def test_refreshing_starts_from_the_given_policy(demonstrations):
    demos = demonstrations(10)
    first = fit(replace(CFG, steps=200), demos, seed=0)
    losses = []
    fit(
        replace(CFG, steps=10, checks=1),
        demos,
        seed=1,
        init=first,
        progress=lambda step, loss: losses.append(loss),
    )
    fresh = []
    fit(
        replace(CFG, steps=10, checks=1),
        demos,
        seed=1,
        progress=lambda step, loss: fresh.append(loss),
    )
    assert losses[0] < 0.3 * fresh[0]


def test_refreshing_a_policy_of_another_size_is_refused(demonstrations):
    demos = demonstrations(3)
    first = fit(replace(CFG, steps=4), demos, seed=0)
    with pytest.raises(ConfigError, match="init is ChunkEnsemble"):
        fit(replace(CFG, steps=4, members=2), demos, seed=0, init=first)


def test_progress_ends_with_the_last_step(demonstrations):
    steps = []
    fit(
        replace(CFG, steps=250),
        demonstrations(3),
        seed=0,
        progress=lambda step, loss: steps.append(step),
    )
    assert steps[-1] == 250
    assert len(steps) <= 130


def test_bad_configurations_and_no_data_are_refused(demonstrations):
    with pytest.raises(ConfigError, match="members is 0"):
        BCCfg(members=0)
    with pytest.raises(ConfigError, match="lr is -1"):
        BCCfg(lr=-1)
    with pytest.raises(ConfigError, match="checks need"):
        BCCfg(steps=2, checks=3)
    with pytest.raises(DataError, match="0 demonstrated steps"):
        fit(CFG, [], seed=0)


@pytest.mark.parametrize(
    ("kind", "width", "floor"), [("act", 32, 0.9), ("flow", 64, 0.9)], ids=["act", "flow"]
)
def test_act_and_flow_solve_the_toy_task(kind, width, floor, demonstrations, toy_success):
    cfg = replace(CFG, kind=kind, width=width, layers=1, steps=300, checks=1)
    assert toy_success(fit(cfg, demonstrations(20), seed=0)) >= floor


@pytest.mark.parametrize("kind", ["act", "flow"])
def test_act_and_flow_repeat_themselves_and_refresh(kind, demonstrations):
    cfg = replace(CFG, kind=kind, width=16, steps=10, obs_noise=0.1)
    demos = demonstrations(4)
    one, two = fit(cfg, demos, seed=0), fit(cfg, demos, seed=0)
    state = demos[0].obs["state"][0]
    np.testing.assert_array_equal(one.act(state), two.act(state))
    losses = []
    fit(cfg, demos, seed=1, init=one, progress=lambda step, loss: losses.append(loss))
    assert len(losses) == 10
    with pytest.raises(ConfigError, match="init is"):
        fit(replace(cfg, width=32), demos, seed=1, init=one)


@pytest.mark.parametrize("kind", ["act", "flow"])
def test_cameras_in_the_demonstrations_are_looked_at(kind, demonstrations):
    rng = np.random.default_rng(0)
    demos = [
        replace(d, obs={**d.obs, "cam": rng.integers(0, 255, (17, 24, 24, 3)).astype(np.uint8)})
        for d in demonstrations(2)
    ]
    policy = fit(replace(CFG, kind=kind, width=16, steps=4), demos, seed=0)
    assert policy.config()["cameras"] == (("cam", 24, 24),)
    plan = policy.act({name: rows[0] for name, rows in demos[0].obs.items()})
    assert plan.shape == (4, 2)
