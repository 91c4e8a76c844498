"""The main algorithm on a toy task: a point must reach a small goal that its base may miss."""

from dataclasses import replace

import numpy as np
import pytest
from point_env import PointEnv, aiming

from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.candidates import Candidates
from robot_rl.learn.chooser import ChooserCfg
from robot_rl.learn.evidence import Record
from robot_rl.learn.methods import BASELINES, WITHOUT_BASE, ResidualCfg, baseline
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import NoisyDriver, PolicyDriver, run_episode
from robot_rl.learn.run import RunFolder
from robot_rl.policy.callable import CallablePolicy

BIASED = aiming(0.05)  # off by a little more than the goal allows


def point_env():
    return PointEnv(radius=0.06, horizon=15)


@pytest.fixture(scope="module")
def demos():
    driver = PolicyDriver(CallablePolicy(aiming()))
    return [run_episode(point_env(), driver, None, seed=k, source="scripted") for k in range(10)]


@pytest.fixture(scope="module")
def ensemble(demos):
    return fit(BCCfg(chunk=4, members=3, width=32, steps=60), demos, seed=0)


def small(**changes):
    cfg = ResidualCfg(
        steps=600,
        warmup_steps=150,
        warmup_updates=100,
        refresh_every=250,
        refresh=BCCfg(steps=60, width=32),
        chooser=ChooserCfg(width=32),
        eval_every=0,
        checkpoint_every=200,
        settle_share=0.0,
        batch=64,
        utd=1.0,
        chunk_utd=0.5,
    )
    return replace(cfg, **changes)


class Interruption:
    """A user who presses Ctrl-C."""

    def __init__(self, at_step):
        self.at_step = at_step

    def update(self, step, **facts):
        if step >= self.at_step:
            raise KeyboardInterrupt


def success(learner, name, count=40):
    driver, anchor = learner.driver(name, explore=False), learner.anchor
    episodes = [run_episode(point_env(), driver, anchor, seed=1000 + k) for k in range(count)]
    return np.mean([episode.success for episode in episodes])


def test_a_residual_learns_what_a_biased_base_misses(demos):
    base = CallablePolicy(BIASED)
    cfg = small(
        candidates=("base", "residual"),
        always="residual",
        warmup_noise=0.5,
        steps=1500,
        utd=2.0,
        demo_fraction=0.25,
    )
    quick = replace(cfg.td3, width=64, actor_lr=1e-3, critic_lr=1e-3, tau=0.02, pull=0.05)
    cfg = replace(cfg, td3=quick)
    learner = ResidualLearner(cfg, point_env(), base, demos)
    before = success(learner, "base")
    learner.train()
    assert success(learner, "residual") > before + 0.5


def test_by_evidence_it_ends_no_worse_than_its_base(demos, ensemble):
    learner = ResidualLearner(small(), point_env(), ensemble, demos)
    before = success(learner, "base")
    learner.train()
    assert success(learner, learner.deployed()) >= before - 0.05


@pytest.mark.parametrize("method", sorted(BASELINES))
def test_every_method_runs_from_the_same_loop(method, demos, ensemble):
    cfg = baseline(method, small(steps=300))
    base = None if method in WITHOUT_BASE else ensemble
    learner = ResidualLearner(cfg, point_env(), base, demos if cfg.demo_fraction else [])
    learner.train()
    assert learner.step >= 300
    assert learner.deployed() in cfg.candidates


@pytest.mark.parametrize("agent", ["td3", "sac"])
def test_a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    agent, tmp_path, demos, ensemble
):
    def learner(name, cfg):
        cfg = replace(cfg, agent=agent)
        run = RunFolder.create(tmp_path / name, {"same": True}, resume=True)
        return ResidualLearner(cfg, point_env(), ensemble, demos, run=run)

    whole = learner("whole", small())
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        learner("cut", small()).train(Interruption(at_step=420))
    again = learner("cut", small())
    assert again.resume()
    assert 0 < again.step < 600
    again.train()
    assert again.step == whole.step
    assert np.array_equal(again.agent.critic.flat, whole.agent.critic.flat)
    assert np.array_equal(again.chooser.critic.flat, whole.chooser.critic.flat)
    for name in ("ensemble", "anchor"):
        ours, theirs = (getattr(own.imitation, name).net.flat for own in (again, whole))
        assert np.array_equal(ours, theirs), name
    assert again.evidence.state() == whole.evidence.state()
    ours, theirs = ((tmp_path / name / "episodes.jsonl").read_bytes() for name in ("cut", "whole"))
    assert ours == theirs


def test_warm_up_noise_on_the_base_is_evidence_but_what_a_person_helped_with_is_none(
    demos, ensemble
):
    learner = ResidualLearner(small(steps=100, warmup_steps=100), point_env(), ensemble, demos)
    learner.train()
    assert learner.episode > 2
    assert learner.evidence.records["base"].trials == learner.episode
    episode = learner.collect(learner.env, step=0, episode=0)
    learner.absorb(replace(episode, attrs=episode.attrs | {"noisy": True}))
    assert learner.evidence.records["base"].trials == learner.episode - 1


def test_refreshing_writes_what_the_new_imitation_does_at_every_row(demos, ensemble):
    learner = ResidualLearner(small(steps=300), point_env(), ensemble, demos)
    learner.train()
    own = learner.replay.own
    learner.imitation.rebase(own)
    every = learner.anchor.chunk
    start = int(np.flatnonzero(own.phase[: own.rows, 0] == 0)[3])
    np.testing.assert_allclose(
        own.base[start : start + every], learner.anchor.act(own.state[start]), atol=1e-5
    )


def started(demos, ensemble, **changes):
    """A learner shortly after its warm-up."""
    learner = ResidualLearner(small(steps=200, **changes), point_env(), ensemble, demos)
    learner.train()
    return learner


def shown(learner, **rates):
    """Let evidence hold twenty episodes of each, succeeding at these rates."""
    for name, rate in rates.items():
        learner.evidence.records[name] = Record(20 * rate, 20 * (1 - rate))


def test_a_residual_that_works_stays_on_the_fit_it_was_learned_on(demos, ensemble):
    learner = started(demos, ensemble)
    bases = learner.replay.own.base[: learner.replay.own.rows].copy()
    shown(learner, base=0.5, imitation=0.6, chosen=0.6, residual=0.95)
    before = success(learner, "residual")
    learner._refresh_imitation()
    assert learner.imitation.anchor is not learner.imitation.ensemble
    assert np.array_equal(learner.replay.own.base[: len(bases)], bases)
    assert success(learner, "residual") == before
    assert learner.evidence.records["residual"].trials == 20
    arrays, state = learner.weights()
    theirs = Candidates.from_weights(learner.cfg, ensemble, learner.norm, arrays, state)
    obs = learner.demos[0].obs["state"][0]
    for policy in ("policy", "anchor_policy"):
        ours, other = (getattr(own.imitation, policy).act(obs) for own in (learner, theirs))
        assert np.array_equal(ours, other), policy


def test_a_residual_that_others_surpass_is_put_on_the_newest_fit_as_an_unknown(demos, ensemble):
    learner = started(demos, ensemble)
    shown(learner, base=0.5, imitation=0.95, chosen=0.6, residual=0.5)
    learner._refresh_imitation()
    assert learner.imitation.anchor is learner.imitation.ensemble
    own = learner.replay.own
    first = int(np.flatnonzero(own.phase[: own.rows, 0] == 0)[3])
    np.testing.assert_allclose(own.base[first], learner.anchor.act(own.state[first])[0], atol=1e-5)
    assert learner.evidence.records["residual"].trials == 0


def test_at_the_end_nobody_explores_nothing_is_fitted_and_all_episodes_are_evidence(
    demos, ensemble
):
    learner = ResidualLearner(small(steps=800, settle_share=0.5), point_env(), ensemble, demos)
    assert [learner.settles(step) for step in (0, 399, 400, 800)] == [False, False, True, True]
    learner.train()
    assert learner.imitation.refreshes == 1  # at 250; 500 and 750 lie in the last half
    turns = [learner.turn(step=500, episode=k) for k in range(40)]
    assert not any(attrs["noisy"] for _, _, attrs in turns)
    assert not any(isinstance(driver, NoisyDriver) for driver, _, _ in turns)
    assert len({attrs["behaviour"] for _, _, attrs in turns}) > 1


def test_what_cannot_be_run_is_refused(demos, ensemble):
    with pytest.raises(ConfigError, match="unknown method 'ppo'"):
        baseline("ppo", ResidualCfg())
    with pytest.raises(ConfigError, match="always is 'chosen', but must be one of"):
        ResidualCfg(candidates=("base",), always="chosen")
    with pytest.raises(ConfigError, match="need a base"):
        ResidualLearner(small(candidates=("base", "imitation")), point_env(), None, demos)
    with pytest.raises(ConfigError, match="need demonstrations, or a base of kind 'mlp'"):
        ResidualLearner(small(), point_env(), CallablePolicy(BIASED), [])
