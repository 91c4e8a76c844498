"""Pretraining on a toy task in many scenes: what it learns goes along, a kill costs nothing."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from point_env import aiming

from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.calql import CalQLCfg
from robot_rl.learn.candidates import fit_normaliser
from robot_rl.learn.carry_over import KIND, CarryOverCfg, Pretrained
from robot_rl.learn.chooser import ChooserCfg
from robot_rl.learn.fleet import Turn, run_fleet
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.pretrain import PretrainCfg, Pretrainer, graded
from robot_rl.learn.record import RunRecord
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import PolicyDriver
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.learn.td3 import TD3Cfg
from robot_rl.policy.callable import CallablePolicy

HORIZON, RADIUS = 15, 0.06


class Points:
    """Points in the plane that must come near their goals: 0.2 a step, 15 steps."""

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.active = np.zeros(num_envs, bool)
        self.obs = np.zeros((num_envs, 4), np.float32)
        self.count = np.zeros(num_envs, int)

    def reset(self, seeds, ids=None):
        for i, seed in enumerate(seeds):
            self.obs[i] = np.random.default_rng(seed).uniform(-1, 1, 4)
            self.count[i], self.active[i] = 0, True
        return self.obs.copy(), {}

    def step(self, actions):
        executed = np.clip(actions, -1, 1).astype(np.float32)
        self.obs[self.active, :2] += 0.2 * executed[self.active]
        self.count[self.active] += 1
        near = np.linalg.norm(self.obs[:, 2:] - self.obs[:, :2], axis=1) < RADIUS
        good = self.active & near
        late = self.active & ~good & (self.count >= HORIZON)
        self.active &= ~(good | late)
        info = {"executed_action": executed, "is_success": good}
        return self.obs.copy(), good.astype(np.float32), good, late, info


POOR = aiming(0.1)


def episodes(policy, seeds, count=4):
    turns = [Turn(driver=PolicyDriver(CallablePolicy(policy)), seed=seed) for seed in seeds]
    return run_fleet(Points(count), turns, CallablePolicy(policy))


@pytest.fixture(scope="module")
def demos():
    return episodes(aiming(), range(10))


@pytest.fixture(scope="module")
def base(demos):
    return fit(BCCfg(chunk=4, members=3, width=32, steps=60), demos, seed=0)


def small(**changes):
    learn = ResidualCfg(
        steps=400,
        warmup_steps=150,
        refresh_every=200,
        refresh=BCCfg(steps=30, width=32),
        td3=TD3Cfg(width=32, pull=0.3),
        chooser=ChooserCfg(width=32),
        eval_every=200,
        checkpoint_every=100,
        settle_share=0.0,
        batch=32,
        utd=0.5,
        chunk_utd=0.25,
    )
    cfg = PretrainCfg(learn=learn, offline_updates=600, calql=CalQLCfg(actions=2))
    return replace(cfg, **changes)


def pretrainer(path, demos, base, cfg=None, prior=(), scenes=4):
    run = RunFolder.create(path, {"kind": KIND, "env": "points"}, resume=True)
    norm = fit_normaliser(demos, None)
    if not SplitFolder(path).is_packed:
        SplitFolder(path).pack(Start(base=base, demos=demos, norm=norm))
    points = Points(scenes) if scenes else None
    return Pretrainer(
        cfg or small(), points, base, demos, prior, norm=norm, run=run, seeds=range(900, 906)
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory, demos, base):
    path = tmp_path_factory.mktemp("pre")
    learner = pretrainer(path, demos, base, prior=episodes(POOR, range(50, 56)))
    learner.pretrain()
    learner.run.finish()
    return path, learner


def test_episodes_side_by_side_are_those_of_one_at_a_time(demos):
    alone = [episodes(POOR, [seed], count=1)[0] for seed in range(7)]
    beside = episodes(POOR, range(7), count=3)
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.executed, other.executed)
        np.testing.assert_array_equal(one.obs["state"], other.obs["state"])
        assert (one.success, one.terminated) == (other.success, other.terminated)
        assert one.attrs == other.attrs


def test_all_three_stages_leave_their_traces(done):
    path, learner = done
    assert learner.step >= 400 and learner.is_warm and learner.agent.conservatism is None
    record = RunRecord.read(path)
    assert [row["update"] for row in record.offline] == list(range(100, 601, 100))
    assert {"dataset_q", "policy_q", "td_error", "regulariser"} <= record.offline[-1].keys()
    assert record.evals[0]["policy"] == "base" and record.evals[-1]["step"] == learner.step
    assert {row["behaviour"] for row in record.episodes[:8]} == {"base"}


@pytest.mark.parametrize("stage", ["offline", "twins"])
def test_cut_short_at_any_stage_it_ends_bit_for_bit_the_same(stage, tmp_path, demos, base, done):
    prior = episodes(POOR, range(50, 56))
    cut = pretrainer(tmp_path, demos, base, prior=prior)
    if stage == "offline":
        cut._log_offline = _dying_at(6, cut)
        with pytest.raises(KeyboardInterrupt):
            cut.pretrain()
    else:
        cut.cfg = replace(cut.cfg, steps=250)
        cut.pretrain()
    again = pretrainer(tmp_path, demos, base, prior=prior)
    assert again.resume()
    again.pretrain()
    whole = done[1]
    assert again.step == whole.step
    assert np.array_equal(again.agent.critic.flat, whole.agent.critic.flat)
    assert np.array_equal(again.agent.actor.flat, whole.agent.actor.flat)
    assert np.array_equal(again.chooser.critic.flat, whole.chooser.critic.flat)
    names = ("offline.jsonl", "episodes.jsonl")
    assert all((tmp_path / n).read_bytes() == (done[0] / n).read_bytes() for n in names)


def _dying_at(row, learner):
    """Logs as ever, and dies after so many rows."""
    log, rows = learner._log_offline, iter(range(1, row + 1))

    def log_and_die(progress):
        log(progress)
        if next(rows) == row:
            raise KeyboardInterrupt

    return log_and_die


class Plane:
    """One scene as an env."""

    def __init__(self):
        self._points = Points(1)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return self._points.reset([seed])[0][0], {}

    def step(self, action):
        obs, reward, good, late, info = self._points.step(action[None])
        facts = {"executed_action": info["executed_action"][0], "is_success": bool(good[0])}
        return obs[0], float(reward[0]), bool(good[0]), bool(late[0]), facts


def fresh(done, **changes):
    pretrained = Pretrained.load(done[0])
    start = pretrained.start
    cfg = replace(small().learn, steps=200, warmup_steps=1, checkpoint_every=50, **changes)
    return pretrained, ResidualLearner(cfg, Plane(), start.base, start.demos, norm=start.norm)


def test_what_was_learned_goes_along_and_a_few_episodes_may_overrule_it(done):
    pretrained, learner = fresh(done)
    source = done[1]
    pretrained.hand_over(learner, CarryOverCfg(evidence=5.0, share=0.4))
    assert np.array_equal(learner.agent.actor.flat, source.agent.actor.flat)
    assert np.array_equal(learner.imitation.ensemble.net.flat, source.imitation.ensemble.net.flat)
    assert learner.is_warm and learner.trust.state() == source.trust.state()
    assert all(record.trials <= 5.0 + 1e-9 for record in learner.evidence.records.values())
    prior = learner.replay.prior
    assert prior.rows == source.replay.own.rows + source.replay.prior.rows
    assert len(learner.prior_successes) == min(
        100, len(source.successes) + len(source.prior_successes)
    )
    before = source.anchor.act(learner.replay.demos.state[0])[0]
    np.testing.assert_allclose(learner.replay.demos.base[0], before, atol=1e-5)
    learner.train()
    batch = learner.replay.sample(100, 0.5, np.random.default_rng(0))
    is_prior = (batch.row >= learner.replay.demos.rows) & (batch.row < learner.replay.first_own)
    assert is_prior.sum() == 20  # the rest of a half is own, the other half demonstrated or worked


def test_a_run_on_the_robot_goes_on_bit_for_bit_too(done, tmp_path):
    def learner(name, steps):
        pretrained, _ = fresh(done)
        start = pretrained.start
        cfg = replace(small().learn, steps=steps, warmup_steps=1, checkpoint_every=50)
        run = RunFolder.create(tmp_path / name, {"same": True}, resume=True)
        made = ResidualLearner(cfg, Plane(), start.base, start.demos, run=run, norm=start.norm)
        pretrained.hand_over(made, CarryOverCfg())
        return made

    whole = learner("whole", 260)
    whole.train()
    learner("cut", 120).train()
    again = learner("cut", 260)
    assert again.resume()
    again.train()
    assert np.array_equal(again.agent.critic.flat, whole.agent.critic.flat)
    assert np.array_equal(again.imitation.ensemble.net.flat, whole.imitation.ensemble.net.flat)


def test_without_twins_it_learns_from_data_alone(tmp_path, demos, base):
    cfg = small(offline_updates=200)
    learner = pretrainer(tmp_path, demos, base, cfg, episodes(POOR, range(60, 64)), scenes=0)
    assert np.isnan(learner.pretrain()["success"])
    assert learner.step == 0 and learner.is_warm and learner.agent.updates == 200


def test_an_episode_is_worth_what_its_label_says(demos):
    told = replace(demos[0], reward=np.zeros(len(demos[0]), np.float32), terminated=False)
    assert graded(told).reward[-1] == 1 and graded(told).terminated
    failed = graded(replace(demos[0], success=None))
    assert not failed.reward.any() and not failed.terminated


def test_what_cannot_be_carried_over_is_refused(done, tmp_path, demos, base):
    with pytest.raises(DataError, match="holds no run"):
        Pretrained.load(tmp_path / "nowhere")
    RunFolder.create(tmp_path / "train", {"env": "points"}).finish()
    with pytest.raises(DataError, match="is a run, but not of robot-rl pretrain"):
        Pretrained.load(tmp_path / "train")
    RunFolder.create(tmp_path / "half", {"kind": KIND, "env": "points"}).stop("failed", "x")
    with pytest.raises(DataError, match="is failed, not finished"):
        Pretrained.load(tmp_path / "half")
    pretrained, wide = fresh(done, td3=TD3Cfg(width=48, pull=0.3))
    with pytest.raises(CheckpointError, match="does not fit this learner"):
        pretrained.hand_over(wide, CarryOverCfg())
    with pytest.raises(ConfigError, match="share 2 must be in"):
        CarryOverCfg(share=2)
    with pytest.raises(ConfigError, match="hold no residual"):
        PretrainCfg(learn=ResidualCfg(candidates=("base", "imitation")))


def test_nan_in_what_was_learned_is_refused(done, tmp_path, demos, base):
    learner = pretrainer(tmp_path, demos, base, small(offline_updates=0), scenes=0)
    learner.agent.critic.flat[3] = float("nan")
    learner.pretrain()
    learner.run.finish()
    with pytest.raises(CheckpointError, match=r"critic\.flat holds NaN"):
        Pretrained.load(tmp_path)
