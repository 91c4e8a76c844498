"""The actor of a run whose learner is another process: it acts, records, and never waits for it.

command:   observe → **policy: the newest weights** → decode → safety → send
learning:  **transition → episode store** → … in the learner's process (`learner.py`)

Every episode, of training and evaluation alike, goes step by step into the run's episode store,
and where the actor is follows from that store alone: killed at any moment, it goes on from the
last episode. New weights are read in a thread and taken over between two episodes. Without any it
goes on with those it has, and with what its own episodes say about them.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium

from robot_rl.errors import DataError, PortError
from robot_rl.learn.candidates import Candidates
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.progress import Progress
from robot_rl.learn.rollout import run_episode
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.learn.weights import Weights, WeightsFollower
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import EpisodeInfo, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.replay.writer import EpisodeWriter

__all__ = ["Actor", "Tend"]

Tend = Callable[[bool], None]
"""Called between episodes, to look after the learner; told whether it is being waited for."""

_LOOK_S = 0.02  # between looks for weights, while waiting for them
_FREE_S = 30.0  # for a killed actor's recorder to finish what it has
_TRIES = 3  # of an episode that the robot breaks off: a hiccup must not end a night's training
_PAUSE_S = 1.0  # before it is tried again
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Executed:
    """A training episode in the store, as evidence."""

    index: int
    name: str
    success: bool
    noisy: bool


class Actor:
    """Acts in one env until the run's steps are done and what came of them is judged.

    Args:
        cfg: The configuration that the learner has, too.
        env: Where to act; evaluations run in it, too, between training episodes.
        start: What the learner starts from, too.
        folder: Where episodes go and weights come from.
        meta: Of the store of episodes.
        seeds: Evaluation starts.
        max_lag: Episodes that the learner may be behind before the actor waits for it; None on
            a robot, whose time is dearer. A simulator would outrun every learner.
        tend: See `Tend`.
        judged_in: Where evaluations run, if not in `env`: one that knows the truth where a judge
            ends the episodes of the other.

    Attributes:
        candidates: Who acts, as of the newest weights.
        step, episode: Training done so far.
        version, position: Of the weights, see `Weights`; 0 and -1 before the first.
    """

    candidates: Candidates

    def __init__(
        self,
        cfg: ResidualCfg,
        env: gymnasium.Env[Any, Any],
        start: Start,
        folder: SplitFolder,
        meta: StoreMeta,
        *,
        seeds: Sequence[int],
        max_lag: int | None = None,
        tend: Tend = lambda is_waiting: None,
        judged_in: gymnasium.Env[Any, Any] | None = None,
    ) -> None:
        self.cfg, self.env, self._start, self._folder, self._meta = cfg, env, start, folder, meta
        self._seeds, self._max_lag, self._tend = tuple(seeds), max_lag, tend
        self._judged_in = env if judged_in is None else judged_in
        self.step = self.episode = self.version = 0
        self.position = self._last = -1  # `_last` is the index of the last episode recorded
        self._before = 0  # steps before the last training episode
        self._executed: list[_Executed] = []
        self._judged: dict[int, list[tuple[str, bool]]] = {}  # by step: who, and its successes
        self._progress: Progress | None = None

    def run(self, progress: Progress | None = None) -> None:
        """Go on from where the store says, to the end.

        Raises:
            DataError: The episodes cannot be recorded.
            CheckpointError: The learner has another configuration.
            PortError: The robot has gone, and stays away.
        """
        self._progress = progress
        self._open_store()
        with (
            Recorder(self._folder.store) as self._recorder,
            WeightsFollower(self._folder.weights, self._built) as self._news,
        ):
            self._wait(lambda: self.version > 0)
            while True:
                self._renew()
                if self._is_evaluation_due():
                    self._evaluate()
                elif self.step < self.cfg.steps:
                    self._act()
                else:
                    break
            self._wait(lambda: self.position >= self._last)  # for the log of the last evaluation

    # Where it is ------------------------------------------------------------------------------

    def _open_store(self) -> None:
        """Make the store, or see what earlier actors have left in it."""
        path = self._folder.store
        if not path.exists():
            EpisodeStore.create(path, self._meta).close()
        with _opened_when_free(path) as store:
            store.repair()  # an episode that was cut off is kept, but not learned from
            for info in store.infos():
                self._recall(info)

    def _recall(self, info: EpisodeInfo) -> None:
        """Count an episode that is in the store."""
        facts = info.facts
        self._last = int(info.id[3:])
        if "salvaged" in facts:
            return
        success = info.outcome == "success"
        if "evaluation" in facts:
            self._judged.setdefault(facts["evaluation"], []).append((facts["behaviour"], success))
        else:
            self._count(facts["behaviour"], info.length, success=success, noisy=facts["noisy"])

    def _count(self, name: str, length: int, *, success: bool, noisy: bool) -> None:
        self._before, self.step = self.step, self.step + length
        self.episode += 1
        done = _Executed(index=self._last, name=name, success=success, noisy=noisy)
        self._executed.append(done)

    def _is_evaluation_due(self) -> bool:
        """Whether this step is one to evaluate at, and that is not done."""
        every = self.cfg.eval_every
        is_time = every > 0 and self._before // every < self.step // every
        is_end = self.step == 0 or self.step >= self.cfg.steps
        return (is_time or is_end) and len(self._judged.get(self.step, ())) < len(self._seeds)

    # Acting -----------------------------------------------------------------------------------

    def _act(self) -> None:
        """Run and record one training episode."""
        self._tend(False)
        allowed = self._max_lag
        if allowed is not None:
            self._wait(lambda: self._behind() <= allowed)
        facts = {"episode": self.episode, "version": self.version}

        def collect() -> Trajectory:
            self.candidates.reseed(self.episode)
            return self.candidates.collect(
                self.env, step=self.step, episode=self.episode, facts=facts, record=self._begin
            )

        done = self._tried(collect)
        name, noisy, success = done.attrs["behaviour"], done.attrs["noisy"], bool(done.success)
        self._count(name, len(done), success=success, noisy=noisy)
        self.candidates.count(name, success=success, noisy=noisy)
        self._say(name)

    def _evaluate(self) -> None:
        """Run and record what is left of the evaluation at this step."""
        is_last = self.step >= self.cfg.steps
        if is_last:
            self._wait(lambda: self._behind() == 0)
        judged = self._judged.setdefault(self.step, [])
        name = self.candidates.first_judged if self.step == 0 else self.candidates.deployed()
        name = judged[0][0] if judged else name  # who it began with
        driver, anchor = self.candidates.driver(name, explore=False), self.candidates.anchor
        facts = {
            "behaviour": name,
            "evaluation": self.step,
            "of": len(self._seeds),
            "last": is_last,
            "version": self.version,
        }
        judge = partial(
            run_episode, self._judged_in, driver, anchor, attrs=facts, record=self._begin
        )
        for seed in self._seeds[len(judged) :]:
            self._tend(False)
            done = self._tried(partial(judge, seed=seed))
            judged.append((name, bool(done.success)))
            self._say(f"evaluating {name}")
        rate = sum(success for _, success in judged) / len(judged)
        self._say(name, success=rate)

    def _tried(self, run: Callable[[], Trajectory]) -> Trajectory:
        """Run an episode, and again if the robot breaks it off; what was cut off is kept aside."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return run()
            except PortError as error:
                if not tries_left:
                    raise
                logger.warning("an episode was broken off, and is run again: %s", error)
                time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def _begin(self, facts: Mapping[str, Any]) -> EpisodeWriter:
        """Begin the record of an episode."""
        self._listen()
        writer = self._recorder.begin(facts)
        self._last = int(writer.id[3:])
        return writer

    def _listen(self) -> None:
        """Hear whether all episodes so far were kept."""
        for report in self._recorder.poll():
            if report.error:
                raise DataError(f"an episode was not recorded: {report.error}")

    # Weights ----------------------------------------------------------------------------------

    def _built(self, weights: Weights) -> Candidates:
        """What acts by these weights; in the thread that follows them."""
        base, norm = self._start.base, self._start.norm
        return Candidates.from_weights(self.cfg, base, norm, weights.arrays, weights.state)

    def _renew(self) -> None:
        """Take over the newest weights; what they do not know of yet is counted on top."""
        news = self._news.take()
        if news is None:
            return
        weights, self.candidates = news
        self.version, self.position = weights.version, weights.position
        for done in self._executed[len(self._executed) - self._behind() :]:
            self.candidates.count(done.name, success=done.success, noisy=done.noisy)

    def _behind(self) -> int:
        """Training episodes that are not in the weights."""
        return sum(done.index > self.position for done in self._executed)

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Wait for weights."""
        self._renew()
        while not is_done():
            self._listen()
            self._tend(True)
            self._say("waiting for the learner")
            time.sleep(_LOOK_S)
            self._renew()

    def _say(self, stage: str, **figures: float | str) -> None:
        if self._progress is not None:
            figures |= {"stage": stage, "weights": str(self.version), "lag": str(self._behind())}
            self._progress.update(self.step, **figures)


def _opened_when_free(path: Any) -> EpisodeStore:
    """The store for writing, once the recorder of a killed actor has let go of it."""
    EpisodeStore.open(path)  # what is wrong beside that will not get better by waiting
    end_s = time.monotonic() + _FREE_S
    while True:
        try:
            return EpisodeStore.open(path, mode="a")
        except DataError:
            if time.monotonic() > end_s:
                raise
            time.sleep(_LOOK_S)
