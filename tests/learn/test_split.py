"""Acting and learning apart, on the toy task: the same learning, and nothing is ever lost."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from point_env import PointEnv, aiming

from robot_rl.env.features import FeatureObservation
from robot_rl.errors import DataError, PortError
from robot_rl.learn.actor import Actor
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.candidates import Candidates, fit_normaliser
from robot_rl.learn.chooser import ChooserCfg
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.learner import StoreLearner
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import PolicyDriver, run_episode
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.learn.weights import newest_weights
from robot_rl.policy.callable import CallablePolicy
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore

META = StoreMeta(robot="point", control_hz=1.0)
LOGS = ("metrics", "evals", "episodes")


def weaker(base):
    """The same policy, whose aim is off by about what the goal allows."""
    config, arrays = base.config(), base.arrays()
    mean = arrays["state_mean"].copy()
    mean[:2] += 0.12  # it takes the point for elsewhere
    return type(base).restore(config, arrays | {"state_mean": mean})


def small(**changes):
    cfg = ResidualCfg(
        steps=120,
        warmup_steps=40,
        warmup_updates=20,
        refresh_every=50,
        refresh=BCCfg(steps=10, width=16),
        chooser=ChooserCfg(width=16),
        eval_every=60,
        checkpoint_every=35,
        batch=16,
        utd=1.0,
    )
    quick = replace(cfg.td3, width=16)
    return replace(cfg, td3=quick, **changes)


@pytest.fixture(scope="module")
def start():
    expert = PolicyDriver(CallablePolicy(aiming()))
    demos = [run_episode(PointEnv(), expert, None, seed=k) for k in range(6)]
    base = fit(BCCfg(chunk=4, members=3, width=16, steps=60), demos, seed=0)
    return Start(base=base, demos=demos, norm=fit_normaliser(demos, PointEnv()))


class Both:
    """Actor and learner of one run in this process, so that a test decides whose turn it is."""

    def __init__(self, path, cfg, start, env=None, **settings):
        self.run = RunFolder.create(path, {"same": True}, resume=True, keeps="status")
        self.folder = SplitFolder(path)
        if not self.folder.is_packed:
            self.folder.pack(start)
        self.cfg, self.start = cfg, self.folder.unpack()
        settings = {"seeds": range(900, 903), "max_lag": 0, "tend": self.tend} | settings
        self.actor = Actor(cfg, env or PointEnv(), self.start, self.folder, META, **settings)
        self.learner = None

    def learn(self):
        """The learner's turn; starts one if there is none."""
        if self.learner is None:
            self.learner = store_learner(self.cfg, self.folder)
        while self.learner.learn_next() is not None:
            pass

    def tend(self, is_waiting):
        if is_waiting:
            self.learn()


def store_learner(cfg, folder):
    start, logs = folder.unpack(), RunFolder(folder.run, keeps="logs")
    learner = ResidualLearner(cfg, None, start.base, start.demos, run=logs, norm=start.norm)
    found = StoreLearner(learner, logs, folder)
    found.resume()
    return found


def assert_same(ours: ResidualLearner, theirs: ResidualLearner):
    assert (ours.step, ours.episode) == (theirs.step, theirs.episode)
    there, here = theirs.agent.state_dict(), ours.agent.state_dict()
    for name in there:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    assert np.array_equal(ours.chooser.critic.flat, theirs.chooser.critic.flat)
    assert ours.evidence.state() == theirs.evidence.state()
    ensembles = [own.imitation.ensemble.net.flat for own in (ours, theirs)]
    assert np.array_equal(*ensembles)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, start):
    """A run in lockstep, uninterrupted."""
    both = Both(tmp_path_factory.mktemp("whole"), small(), start)
    both.actor.run()
    return both


def test_learning_from_the_store_is_learning_from_memory_to_the_bit(tmp_path, start, whole):
    cfg, demos = small(), start.demos
    run = RunFolder.create(tmp_path, {})
    inline = ResidualLearner(cfg, None, start.base, demos, run=run, norm=start.norm)
    for episode in EpisodeStore.open(whole.folder.store):
        if "evaluation" not in episode.attrs:
            inline.absorb(episode)
    assert_same(whole.learner.learner, inline)
    ours, theirs = ((path / "episodes.jsonl").read_bytes() for path in (whole.run.path, tmp_path))
    assert ours == theirs


def test_what_the_store_keeps_of_an_episode_is_all_that_learning_reads(tmp_path, start):
    candidates = Candidates(small(candidates=("base", "residual")), start.base, start.norm, None)
    with EpisodeStore.create(tmp_path / "s", META) as store:
        for episode in range(4):
            done = candidates.collect(PointEnv(), step=0, episode=episode, record=store.begin)
            read = store.read(store.ids()[-1])
            for name in ("executed", "requested", "base", "next_base", "reward"):
                np.testing.assert_array_equal(getattr(read, name), getattr(done, name), name)
            np.testing.assert_array_equal(read.obs["state"], done.obs["state"])
            assert (read.terminated, read.success) == (done.terminated, done.success)
            assert done.attrs.items() <= read.attrs.items()


def test_a_split_run_in_lockstep_with_a_restarted_learner_is_the_uninterrupted_one(
    tmp_path, start, whole
):
    both = Both(tmp_path, small(), start)

    def tend(is_waiting):
        if is_waiting and both.learner is not None and both.actor.episode % 4 == 3:
            both.learner = None  # as after kill -9: it goes on from checkpoint and store
        both.tend(is_waiting)

    both.actor._tend = tend
    both.actor.run()
    assert_same(both.learner.learner, whole.learner.learner)
    for log in LOGS:
        ours, theirs = (p / f"{log}.jsonl" for p in (tmp_path, whole.run.path))
        if log == "episodes":  # weights are numbered over restarts, but are the same
            rows = [[row | {"version": 0} for row in read_lines(path)] for path in (ours, theirs)]
            assert rows[0] == rows[1]
        else:
            assert ours.read_bytes() == theirs.read_bytes(), log


def test_an_actor_that_ends_anywhere_goes_on_from_the_store(tmp_path, start, whole):
    class Dying(PointEnv):
        left = 0

        def step(self, action):
            Dying.left -= 1
            if Dying.left < 0:
                raise ConnectionAbortedError
            return super().step(action)

    lives, kept = 0, []
    while True:
        Dying.left = 37 + 33 * lives
        both = Both(tmp_path, small(), start, env=Dying())
        try:
            both.actor.run()
            break
        except ConnectionAbortedError:
            lives += 1
        ids = EpisodeStore.open(both.folder.store).ids()
        assert ids[: len(kept)] == kept, "a sealed episode stays"
        kept = ids
    assert lives >= 2
    infos = [i for i in EpisodeStore.open(both.folder.store).infos()]
    salvaged = [info for info in infos if "salvaged" in info.facts]
    assert len(salvaged) >= 1, "what was cut off is kept, if it had a step"
    rows = read_lines(tmp_path / "episodes.jsonl")
    assert [row["episode"] for row in rows] == list(range(1, len(rows) + 1))
    evals = read_lines(tmp_path / "evals.jsonl")
    assert [row["seeds"] for row in evals] == [[900, 901, 902]] * len(evals)
    assert evals[0]["step"] == 0 and evals[-1]["step"] == rows[-1]["step"] >= 120
    first = [read_lines(p / "episodes.jsonl")[0] for p in (tmp_path, whole.run.path)]
    assert first[0]["length"] == first[1]["length"], "the same start, drawn anew"


def test_a_robot_that_breaks_off_is_tried_again_and_one_that_has_gone_is_an_error(
    tmp_path, start, monkeypatch
):
    monkeypatch.setattr("robot_rl.learn.actor._PAUSE_S", 0.0)

    class Shaky(PointEnv):
        steps, gone = 0, False

        def step(self, action):
            self.steps += 1
            if self.gone or self.steps in (15, 47, 48):
                raise PortError("the robot has been silent for 1.2 s.")
            return super().step(action)

    env = Shaky()
    both = Both(tmp_path, small(steps=30, eval_every=0), start, env=env)
    both.actor.run()
    rows = read_lines(tmp_path / "episodes.jsonl")
    assert [row["episode"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["seeds"] for row in read_lines(tmp_path / "evals.jsonl")] == [[900, 901, 902]] * 2
    env.gone = True
    (tmp_path / "more").mkdir()
    with pytest.raises(PortError, match=r"silent for 1\.2 s"):
        Both(tmp_path / "more", small(steps=30), start, env=env).actor.run()


def test_the_actor_goes_on_without_a_learner_and_counts_what_its_episodes_say(tmp_path, start):
    both = Both(tmp_path, small(eval_every=0), start, max_lag=None)
    learned = []

    def tend(is_waiting):
        if not learned or (is_waiting and both.actor.step >= 120):
            both.learn()  # once to begin with, then at the end
            learned.append(both.actor.step)

    both.actor._tend = tend
    both.actor.run()
    versions = [row["version"] for row in read_lines(tmp_path / "episodes.jsonl")]
    assert set(versions) == {1}, "no weights came in between"
    assert {row["behaviour"] for row in read_lines(tmp_path / "episodes.jsonl")} == {"base"}
    actor, learner = both.actor.candidates, both.learner.learner
    assert actor.evidence.state() == learner.evidence.state()


def test_actor_and_learner_agree_on_the_evidence_whatever_the_weights_know(tmp_path, start):
    both = Both(tmp_path, small(always="imitation", eval_every=0), start, max_lag=3)
    both.actor.run()
    actor, learner = both.actor.candidates, both.learner.learner
    for name, counts in learner.evidence.state().items():
        np.testing.assert_allclose(actor.evidence.state()[name], counts)


def test_weights_never_go_back_to_less_experience(tmp_path, start):
    both = Both(tmp_path, small(eval_every=0, checkpoint_every=0), start)
    positions = []

    def tend(is_waiting):
        if is_waiting and both.actor.episode in (5, 6):
            both.learner = None
        both.tend(is_waiting)
        found = newest_weights(both.folder.weights)
        positions.append((found.version, found.position))

    both.actor._tend = tend
    both.actor.run()
    assert positions == sorted(positions)


def test_candidates_made_of_weights_act_as_the_learner_would(whole):
    learner = whole.learner.learner
    arrays, state = learner.weights()
    copy = Candidates.from_weights(learner.cfg, whole.start.base, learner.norm, arrays, state)
    assert copy.deployed() == learner.deployed()
    for name in learner.cfg.candidates:
        ours, theirs = (
            run_episode(PointEnv(), own.driver(name, explore=False), own.anchor, seed=7)
            for own in (copy, learner)
        )
        np.testing.assert_array_equal(ours.requested, theirs.requested, err_msg=name)


def test_a_damaged_episode_is_left_out_and_named(tmp_path, start, caplog):
    both = Both(tmp_path, small(steps=60, eval_every=0), start, max_lag=None, tend=lambda _: None)
    both.learn()

    damaged = both.folder.store / "episodes" / "ep_000004"

    def tend(is_waiting):
        # Sealing is the recorder's process: an episode appears some time after its end.
        if is_waiting and both.actor.step >= 60 and damaged.exists():
            for file in damaged.rglob("c.*"):
                file.write_bytes(b"?")
            both.learn()

    both.actor._tend = tend
    both.actor.run()
    learner = both.learner.learner
    assert learner.episode == both.actor.episode - 1
    assert "ep_000004" in caplog.text and "left out" in caplog.text


def test_what_was_not_packed_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds nothing to learn from in another process"):
        SplitFolder(tmp_path).unpack()


@pytest.mark.slow
def test_a_split_run_learns_what_a_weak_base_misses(tmp_path):
    expert = PolicyDriver(CallablePolicy(aiming()))
    demos = [run_episode(PointEnv(), expert, None, seed=k) for k in range(20)]
    base = fit(BCCfg(chunk=2, members=3, width=32, steps=300), demos, seed=0)
    start = Start(base=weaker(base), demos=demos, norm=fit_normaliser(demos, PointEnv()))
    cfg = small(
        steps=1000,
        candidates=("base", "residual"),
        always="residual",
        warmup_noise=0.5,
        warmup_steps=150,
        warmup_updates=100,
        eval_every=0,
        checkpoint_every=0,
        batch=64,
        utd=4.0,
        demo_fraction=0.25,
    )
    quick = replace(cfg.td3, width=32, actor_lr=1e-3, critic_lr=1e-3, tau=0.02, pull=0.05)
    quick = replace(quick, caution=None)  # it has a thousand steps
    both = Both(tmp_path, replace(cfg, td3=quick), start, seeds=range(900, 920))
    both.actor.run()
    first, last = read_lines(tmp_path / "evals.jsonl")
    assert (first["policy"], last["policy"]) == ("base", "residual")
    assert sum(last["successes"]) > sum(first["successes"]) + 3


def test_images_are_kept_beside_what_is_learned_from(tmp_path):
    class Seen(PointEnv):
        observation_space = gym.spaces.Dict(
            {
                "state": PointEnv.observation_space,
                "wrist": gym.spaces.Box(0, 255, (8, 10, 3), np.uint8),
            }
        )

        def _observe(self):
            picture = np.full((8, 10, 3), 20 * self.step_count, np.uint8)
            return {"state": super()._observe(), "wrist": picture}

    class Eyes:
        features = 1

        def see(self, obs):
            return np.append(obs["state"], obs["wrist"].mean() / 255).astype(np.float32)

    camera = CameraMeta(name="wrist", width_px=10, height_px=8, codec="png")
    meta = StoreMeta(robot="point", control_hz=1.0, cameras=(camera,))
    still = PolicyDriver(CallablePolicy(lambda obs: np.zeros(2)))
    with EpisodeStore.create(tmp_path / "s", meta) as store:
        env = FeatureObservation(Seen(), Eyes())
        done = run_episode(env, still, None, seed=3, record=store.begin)
        read = store.read(store.ids()[0])
    assert done.obs.keys() == {"state"}, "memory holds numbers only"
    np.testing.assert_array_equal(read.obs["state"], done.obs["state"])
    assert read.obs["wrist"][:, 0, 0, 0].tolist() == [20 * k for k in range(len(done) + 1)]
