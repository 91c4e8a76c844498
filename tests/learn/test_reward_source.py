"""The toy task of the residual learner, with a judge in place of what the env says of success."""

import threading
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from point_env import PointEnv, aiming

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.chooser import ChooserCfg
from robot_rl.learn.late_labels import Reel
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.learn.reward_source import RewardSource
from robot_rl.learn.rollout import PolicyDriver, run_episode
from robot_rl.learn.run import RunFolder
from robot_rl.learn.watched import WatchedEnv
from robot_rl.policy.callable import CallablePolicy
from robot_rl.reward.alignment import AlignmentCfg
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.progress import Capabilities, ProgressEstimate
from robot_rl.reward.retraining import RetrainCfg, Retrainer, train_judge
from robot_rl.reward.shaping import ShapingCfg

RADIUS, HORIZON, TASK = 0.12, 20, "Reach the goal."
BIASED = aiming(0.1)  # off by a little more than the goal allows


def point_env():
    return PointEnv(RADIUS, HORIZON)


class Ruler:
    """A progress model that measures the distance to the goal, or to somewhere else."""

    capabilities = Capabilities(causal=True)

    def __init__(self, *, aims_at="goal", version=1, blind=False):
        self.model_id, self.version = f"ruler-{aims_at}", version
        self._aims_at, self._blind = aims_at, blind

    def score(self, queries):
        return [self._judge(query.proprio) for query in queries]

    def _judge(self, state):
        point, goal = state[:, :2], state[:, 2:4]
        aim = goal if self._aims_at == "goal" else -goal
        near = np.clip(1 - np.linalg.norm(point - aim, axis=1) / 3, 0, 1).astype(np.float32)
        there = np.linalg.norm(point - goal, axis=1) < RADIUS
        valid = np.full(len(state), not self._blind)
        hide = np.where(valid, 0.0, np.nan).astype(np.float32)
        return ProgressEstimate(
            progress=near + hide,
            success=np.where(there, 0.99, 0.01).astype(np.float32) + hide,
            sigma=np.zeros(len(state), np.float32) + hide,
            valid=valid,
            model_id=self.model_id,
            version=self.version,
        )


def judge_by(model, hold_s=0.0):
    cfg = DetectorCfg(threshold=0.8, hold_s=hold_s)
    return Judge(model=model, detector=SuccessDetector(cfg), task=TASK)


def watched(judge, *, knows=True):
    env, watch = point_env(), Watch(judge)
    return WatchedEnv(env, watch, horizon=HORIZON, truth=env.is_there if knows else None)


@pytest.fixture(scope="module")
def demos():
    driver = PolicyDriver(CallablePolicy(aiming()))
    return [run_episode(point_env(), driver, None, seed=k, source="scripted") for k in range(20)]


@pytest.fixture(scope="module")
def ensemble(demos):
    return fit(BCCfg(chunk=4, members=3, width=32, steps=400), demos, seed=0)


def small(**changes):
    cfg = ResidualCfg(
        steps=400,
        warmup_steps=120,
        warmup_updates=60,
        refresh_every=250,
        refresh=BCCfg(steps=60, width=32),
        chooser=ChooserCfg(width=32),
        eval_every=0,
        checkpoint_every=100,
        settle_share=0.0,
        batch=64,
        utd=1.0,
        chunk_utd=0.5,
    )
    return replace(cfg, **changes)


def learner_of(judge, base, demos, cfg=None, *, reward=None, run=None, env=None, **source):
    env = env or watched(judge)
    made = RewardSource(reward or RewardCfg(), judge, watch=env.watch, **source)
    return ResidualLearner(cfg or small(), env, base, demos, run=run, reward=made)


# The env under a judge ---------------------------------------------------------------------------


def test_an_episode_goes_on_past_the_envs_success_until_the_judge_has_seen_it_hold():
    driver = PolicyDriver(CallablePolicy(aiming()))
    plain = run_episode(point_env(), driver, None, seed=3)
    held = run_episode(watched(judge_by(Ruler(), hold_s=3.0)), driver, None, seed=3)
    assert len(held) == len(plain) + 3
    assert held.success and held.terminated and held.reward.tolist()[-1] == 1.0
    assert held.attrs["true_success"] is True
    assert held.attrs["label_source"] == "reward_model:ruler-goal@1"


def test_without_a_word_of_the_judge_an_episode_runs_to_its_time_out():
    driver = PolicyDriver(CallablePolicy(aiming()))
    blind = run_episode(watched(judge_by(Ruler(blind=True))), driver, None, seed=3)
    assert len(blind) == HORIZON and not blind.terminated and not blind.success
    assert blind.reward.sum() == 0
    assert blind.attrs["true_success"] is True


def test_nothing_of_what_the_env_knows_reaches_the_learner_if_it_is_not_asked(demos, ensemble):
    learned = []
    for knows in (True, False):
        judge = judge_by(Ruler(), hold_s=1.0)
        learner = learner_of(
            judge, ensemble, demos, small(steps=200), env=watched(judge, knows=knows)
        )
        learner.train()
        learned.append(learner)
    first, second = (
        np.concatenate([one.agent.actor.flat.numpy(), one.replay.own.reward]) for one in learned
    )
    np.testing.assert_array_equal(first, second)


# What is learned from ---------------------------------------------------------------------------


def test_verdicts_decide_on_rewards_imitation_and_evidence(demos, ensemble):
    never = learner_of(judge_by(Ruler(blind=True)), ensemble, demos)
    never.train()
    assert never.successes == [] and never.replay.own.reward.sum() == 0
    assert all(rate < 0.5 for rate in map(never.evidence.rate, never.cfg.candidates))
    seeing = learner_of(judge_by(Ruler()), ensemble, demos)
    seeing.train()
    assert len(seeing.successes) == seeing.replay.own.reward.sum() > 5


def test_demonstrations_are_successes_even_if_their_record_pays_nothing(demos, ensemble):
    unpaid = [replace(demo, reward=0 * demo.reward, terminated=False) for demo in demos]
    learner = learner_of(judge_by(Ruler()), ensemble, unpaid)
    assert learner.replay.demos.reward.sum() == len(demos)


def test_the_residual_learns_from_the_judge_alone(demos):
    base, cfg = CallablePolicy(BIASED), small(steps=1_500, candidates=("base", "residual"))
    quick = replace(cfg.td3, width=64, actor_lr=1e-3, critic_lr=1e-3, tau=0.02, pull=0.05)
    learner = learner_of(
        judge_by(Ruler()), base, demos, replace(cfg, td3=quick, always="residual")
    )
    learner.train()
    env, driver = point_env(), learner.driver("residual", explore=False)
    wins = [run_episode(env, driver, base, seed=5_000 + k).success for k in range(40)]
    plain = [run_episode(env, PolicyDriver(base), None, seed=5_000 + k).success for k in range(40)]
    assert np.mean(plain) < 0.5 < 0.85 < np.mean(wins)


@pytest.mark.parametrize("auxiliary", ["potential", "naive", "none"])
def test_targets_stay_within_the_bounds_that_follow_from_the_weight(demos, ensemble, auxiliary):
    shaping = ShapingCfg(weight=0.7, final_weight=0.7)
    reward = RewardCfg(auxiliary=auxiliary, shaping=shaping, alignment=AlignmentCfg(episodes=0))
    learner = learner_of(judge_by(Ruler()), ensemble, demos, small(steps=150), reward=reward)
    low, high = {"potential": (-0.7, 1.0), "naive": (-0.7, 1.7), "none": (0.0, 1.0)}[auxiliary]
    assert learner.agent.bounds == learner.chooser.bounds == (low, high)
    learner.train()
    target = learner.agent._target(learner._batch())
    assert (target >= low).all() and (target <= high).all()
    batch = learner.replay.sample(64, 0.5, learner.rng)
    gained = learner.reward.rewarded(batch, learner.step).reward - batch.reward
    assert (np.abs(gained).max() > 0.01) == (auxiliary != "none")


def test_shaping_a_batch_moves_steps_and_chunks_by_their_potentials(demos, ensemble):
    reward = RewardCfg(shaping=ShapingCfg(weight=1.0, final_weight=1.0, caution=0.0))
    learner = learner_of(judge_by(Ruler()), ensemble, demos, small(steps=100), reward=reward)
    learner.train()
    source, model = learner.reward, Ruler()
    source.trust = 1.0
    for chunk in (None, 4):
        batch = learner.replay.sample(64, 0.5, learner.rng, chunk=chunk)
        now = model._judge(batch.state).progress
        after = model._judge(batch.next_state).progress
        wanted = batch.reward + batch.discount * after - now
        np.testing.assert_allclose(source.rewarded(batch, 0).reward, wanted, atol=1e-5)


# How far progress is trusted --------------------------------------------------------------------


def test_misleading_progress_is_faded_out_and_good_progress_is_kept(demos, ensemble):
    trust = {}
    for aims_at in ("goal", "elsewhere"):
        learner = learner_of(judge_by(Ruler(aims_at=aims_at)), ensemble, demos)
        learner.train()
        trust[aims_at] = learner.reward.trust
    assert trust["goal"] > 0.8 and trust["elsewhere"] < 0.3


# People, and a judge that learns ----------------------------------------------------------------


@pytest.mark.parametrize("said", [True, False])
def test_a_persons_word_overrules_the_judge(demos, ensemble, said):
    learner = learner_of(judge_by(Ruler()), ensemble, demos)
    driver = PolicyDriver(CallablePolicy(aiming()))
    episode = run_episode(point_env(), driver, None, seed=3)
    attrs = {**episode.attrs, "label_source": "human", "behaviour": "base", "noisy": False}
    learner.absorb(replace(episode, success=said, terminated=said, attrs=attrs))
    assert learner.replay.own.reward.sum() == said
    assert learner.reward.facts["label_source"] == "human"
    assert (len(learner.successes) == 1) is said


def test_an_episode_that_only_the_env_has_judged_is_judged_anew(demos, ensemble):
    learner = learner_of(judge_by(Ruler(blind=True)), ensemble, demos)
    episode = run_episode(point_env(), PolicyDriver(CallablePolicy(aiming())), None, seed=3)
    assert episode.success
    learner.absorb(replace(episode, attrs={"behaviour": "base", "noisy": False}))
    assert learner.successes == [] and learner.replay.own.reward.sum() == 0


@pytest.mark.parametrize("said", [True, False])
def test_a_persons_word_overrules_the_judge_long_after(demos, ensemble, said):
    learner = learner_of(judge_by(Ruler(blind=said)), ensemble, demos)
    for seed in range(3):
        episode = run_episode(point_env(), PolicyDriver(CallablePolicy(aiming())), None, seed=seed)
        attrs = {"behaviour": "base", "noisy": False, "uuid": f"episode {seed}"}
        learner.absorb(replace(episode, attrs=attrs))
    before = len(learner.reward.successes)
    learner.reward.overrule("episode 1", success=said)
    assert len(learner.reward.successes) == before + (1 if said else -1)
    assert learner.replay.own.reward.sum() == len(learner.reward.successes)
    learner.reward.overrule("episode 1", success=not said)  # it was said once, and is held
    assert learner.replay.own.reward.sum() == len(learner.reward.successes)


def lesson(episode, success=True):
    return Lesson(episode=episode, task=TASK, success=success)


def short_judge(lessons):
    model = EmbeddedCfg(
        steps=40, members=2, batch=32, gap_s=1.0, done_last_s=1.0, doubt_last_s=2.0
    )
    return train_judge(lessons, TASK, model=model, detector=DetectorCfg(hold_s=1.0))


def asking(tmp_path, demos, ensemble, run=None, steps=400):
    lessons = [lesson(demo) for demo in demos]
    judge = short_judge(lessons)
    return learner_of(
        judge,
        ensemble,
        demos,
        small(steps=steps),
        reward=RewardCfg(ask_every=2),
        run=run,
        retrainer=Retrainer(lessons, judge, RetrainCfg(every=8)),
        folder=tmp_path / "judges",
    )


def test_what_was_asked_trains_the_judge_again_and_all_is_judged_anew(demos, ensemble, tmp_path):
    learner = asking(tmp_path, demos, ensemble)
    learner.train()
    source = learner.reward
    version = source.judge.model.version
    assert version > 1 and learner.env.watch.judge.model.version == version
    table = source.arrays()
    assert set(np.unique(table["phi_version"])) == {version}
    assert Judge.load(tmp_path / "judges" / f"v{version:04d}", TASK).label_source == (
        source.judge.label_source
    )
    asked = [lived for lived in source._lived if lived.source == "asked"]
    assert len(asked) == (len(source._lived) + 1) // 2
    wins = sum(lived.success for lived in source._lived)
    assert learner.replay.own.reward.sum() == wins


def test_nothing_is_learned_from_a_success_that_went_on_after_it_was_done(
    demos, ensemble, tmp_path
):
    learner = asking(tmp_path, demos, ensemble)
    judged, missed = ("reward_model:m@1", True), ("reward_model:m@1", False)
    for k, (source, seen) in enumerate([judged, missed] * 2):
        episode = run_episode(point_env(), PolicyDriver(CallablePolicy(aiming())), None, seed=k)
        attrs = {"label_source": source, "true_success": True, "behaviour": "base", "noisy": False}
        learner.reward.cfg = replace(learner.reward.cfg, ask_every=1)
        learner.absorb(replace(episode, success=seen, terminated=seen, attrs=attrs))
    lived = learner.reward._lived
    assert [one.success for one in lived] == [True] * 4
    assert [one.score is not None for one in lived] == [True, False] * 2


def test_a_judge_that_cannot_be_asked_for_again_is_not_retrained_within_a_run(demos):
    judge = judge_by(Ruler())
    with pytest.raises(ConfigError, match="Train it between runs"):
        RewardSource(RewardCfg(), judge, retrainer=Retrainer([], judge), folder=None)


# A killed run -----------------------------------------------------------------------------------


def test_a_killed_run_goes_on_bit_for_bit_with_its_judge(demos, ensemble, tmp_path):
    whole = asking(tmp_path / "a", demos, ensemble, RunFolder.create(tmp_path / "a", {}))
    whole.train()
    killed = asking(tmp_path / "b", demos, ensemble, RunFolder.create(tmp_path / "b", {}))
    killed.cfg = replace(killed.cfg, steps=250)
    killed.train()
    again = asking(
        tmp_path / "b", demos, ensemble, RunFolder.create(tmp_path / "b", {}, resume=True)
    )
    assert again.resume() and 250 <= again.step < 400
    again.train()
    assert whole.reward.judge.label_source == again.reward.judge.label_source
    np.testing.assert_array_equal(whole.agent.actor.flat.numpy(), again.agent.actor.flat.numpy())
    for name, column in whole.reward.arrays().items():
        np.testing.assert_array_equal(column, again.reward.arrays()[name])
    logs = [(tmp_path / name / "episodes.jsonl").read_bytes() for name in "ab"]
    assert logs[0] == logs[1]


def test_a_run_without_a_judge_does_not_go_on_with_one(demos, ensemble, tmp_path):
    plain = ResidualLearner(
        small(steps=200),
        point_env(),
        ensemble,
        demos,
        run=RunFolder.create(tmp_path / "run", {}),
    )
    plain.train()
    run = RunFolder.create(tmp_path / "run", {}, resume=True)
    judged = learner_of(judge_by(Ruler()), ensemble, demos, run=run)
    with pytest.raises(CheckpointError, match="begun without a judge"):
        judged.resume()


# A slow judge -----------------------------------------------------------------------------------


class Thinking(Ruler):
    """The ruler, which cannot be asked before it is allowed to answer."""

    def __init__(self, **how):
        super().__init__(**how)
        self.may_speak = threading.Event()
        self.may_speak.set()

    def score(self, queries):
        assert self.may_speak.wait(20.0)
        return super().score(queries)


def test_a_slow_judge_is_not_waited_for_and_counts_when_it_has_spoken(demos):
    judge = judge_by(Thinking())
    env = WatchedEnv(point_env(), Reel(judge), horizon=HORIZON)
    base, cfg = CallablePolicy(aiming()), small(candidates=("base", "residual"))
    source = RewardSource(RewardCfg(late=True), judge, watch=env.watch)
    learner = ResidualLearner(cfg, env, base, demos, reward=source)
    judge.model.may_speak.clear()
    for episode in range(3):
        learner.absorb(learner.collect(env, step=learner.step, episode=episode))
    assert learner.successes == [] and learner.evidence.records["base"].trials == 0
    assert np.isnan(source.arrays()["phi"][learner.replay.first_own :]).all()
    judge.model.may_speak.set()
    assert source._late.wait_idle(20.0)
    learner.absorb(learner.collect(env, step=learner.step, episode=3))
    assert source.facts["pending"] <= 1
    assert len(learner.successes) >= 2 and learner.evidence.records["base"].trials >= 2
    done = learner.replay.sample(200, 0.0, learner.rng)
    assert (done.discount == 0).any() and (done.reward > 0).any()
    source.close()


class Looking(Thinking):
    """Judges pictures, and these alone: they are bright where the point is at its goal."""

    cameras = ("front",)

    def score(self, queries):
        assert self.may_speak.wait(20.0)
        return [self._look(query) for query in queries]

    def _look(self, query):
        if "front" not in query.frames:
            who = {"model_id": self.model_id, "version": self.version}
            return ProgressEstimate.invalid(len(query), **who)
        bright = query.frames["front"].mean((1, 2, 3)).astype(np.float32) / 255
        return ProgressEstimate(
            progress=bright,
            success=bright,
            sigma=np.zeros_like(bright),
            valid=np.ones(len(bright), bool),
            model_id=self.model_id,
            version=self.version,
        )


class Filmed(gym.ObservationWrapper):
    """The point as the judge sees it."""

    def observation(self, observation):
        shade = 250 if self.env.is_there() else 5
        return {"state": observation, "front": np.full((4, 4, 3), shade, np.uint8)}


class Unseeing(gym.ObservationWrapper):
    """What the learner sees of that."""

    observation_space = PointEnv.observation_space

    def observation(self, observation):
        return observation["state"]


def filmed(demos, folder, *, resume=False):
    """A learner whose judge looks at pictures, and is silent until it may speak."""
    judge = judge_by(Looking())
    watching = WatchedEnv(Filmed(point_env()), Reel(judge), horizon=HORIZON)
    source = RewardSource(RewardCfg(late=True), judge, watch=watching.watch, folder=folder / "j")
    cfg = small(candidates=("base", "residual"))
    run = RunFolder.create(folder / "run", {}, resume=resume)
    env, base = Unseeing(watching), CallablePolicy(aiming())
    return ResidualLearner(cfg, env, base, demos, run=run, reward=source)


def live(learner, count):
    for _ in range(count):
        episode = learner.collect(learner.env, step=learner.step, episode=learner.episode)
        learner.absorb(episode)


def test_a_killed_run_hears_of_all_pictures_that_its_slow_judge_had_not_yet_seen(demos, tmp_path):
    killed = filmed(demos, tmp_path)
    killed.reward.judge.model.may_speak.clear()
    live(killed, 3)
    killed.save()
    again = filmed(demos, tmp_path, resume=True)
    again.reward.judge.model.may_speak.clear()
    assert again.resume() and len(again.reward._lived) == 3 and again.successes == []
    again.reward.judge.model.may_speak.set()
    assert again.reward._late.wait_idle(20.0)
    live(again, 1)
    assert not any(lived.pending for lived in list(again.reward._lived)[:3])
    assert len(again.successes) >= 3 and again.evidence.records["base"].trials >= 3
    first = again.replay.first_own
    assert np.isfinite(again.reward.arrays()["phi"][first : first + killed.step]).all()
    for one in (killed, again):
        one.reward.judge.model.may_speak.set()
        one.reward.close()
