"""The learner of a run whose actor is another process: it absorbs what is recorded, and publishes.

learning:  **episode store → … → residual agent → weights** → the actor (`actor.py`)

It reads sealed episodes in their order and does for each what the one-process loop does, to the
bit. Killed at any moment it goes on from its last checkpoint and reads on from there. It drives
nothing and needs no environment, so that it can run on any machine that sees the folder.
"""

import logging
import time
from collections.abc import Callable

from robot_rl.errors import DataError
from robot_rl.learn.progress import Progress
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder
from robot_rl.learn.weights import newest_weights, publish_weights
from robot_rl.replay.schema import EpisodeInfo
from robot_rl.replay.store import EpisodeStore

__all__ = ["StoreLearner"]

_LOOK_S = 0.1  # between looks for new episodes
logger = logging.getLogger(__name__)


class StoreLearner:
    """Feeds a learner from the episode store of a run, and publishes what it has learned.

    Args:
        learner: A fresh one, of the run's configuration, that logs into `run`.
        run: The run's logs.
        folder: Where episodes come from and weights go.

    Attributes:
        is_over: Whether the run's last evaluation has been logged.
    """

    def __init__(self, learner: ResidualLearner, run: RunFolder, folder: SplitFolder) -> None:
        self.learner, self._run, self._folder = learner, run, folder
        self.is_over = False
        self._judged: dict[int, list[EpisodeInfo]] = {}  # evaluation episodes by step
        self._published = -1  # position of the newest weights
        self._reader: EpisodeStore | None = None

    def run(self, *, stop: Callable[[], bool], progress: Progress | None = None) -> None:
        """Learn until the run is over or `stop()` says so, then save.

        Raises:
            CheckpointError: There are checkpoints, but none fits.
        """
        self.resume()
        if progress is not None:
            progress.start = self.learner.step
        while not (self.is_over or stop()):
            left = self.learn_next()
            if left is None:
                time.sleep(_LOOK_S)
            elif progress is not None:
                progress.update(self.learner.step, behind=str(left))
        self.learner.save()
        self._run.tensorboard.close()

    def resume(self) -> None:
        """Go on from the last checkpoint, and publish weights if there are none yet."""
        self.learner.resume()
        store = self._store()
        for info in [] if store is None else store.infos():
            if _part(info) == "evaluation" and _index(info.id) <= self.learner.position:
                self._gather(info)
        newest = newest_weights(self._folder.weights)
        if newest is None:
            self._publish()
        else:
            self._published = newest.position

    def learn_next(self) -> int | None:
        """Take the next sealed episode; returns how many are left, or None if there is none."""
        store = self._store()
        names = [] if store is None else store.ids()
        self._hear(store)
        fresh = [name for name in names if _index(name) > self.learner.position]
        if store is None or not fresh:
            return None
        before, position = self.learner.step, _index(fresh[0])
        is_news = self._take(store, fresh[0])
        self.learner.position = position
        # After a restart the weights that the actor has are newer, until this has caught up.
        if (is_news or len(fresh) == 1) and position >= self._published:
            self._publish()
        if self.learner.passed(before, self.learner.cfg.checkpoint_every):
            self.learner.save()
        return len(fresh) - 1

    def _hear(self, store: EpisodeStore | None) -> None:
        """Let what people said later of episodes overrule what a judge had said."""
        if store is None or self.learner.reward is None:
            return
        for info in store.infos():
            if info.label_source.startswith("human"):
                self.learner.reward.overrule(info.uuid, success=info.outcome == "success")

    def _store(self) -> EpisodeStore | None:
        """The store; None before the actor has made it."""
        path = self._folder.store
        if self._reader is None and path.exists():
            self._reader = EpisodeStore.open(path)
        return self._reader

    def _take(self, store: EpisodeStore, name: str) -> bool:
        """Learn from one episode, or count it for an evaluation; whether the actor should know."""
        try:
            info = store.info(name)
            if _part(info) == "training":
                self.learner.absorb(store.read(name, cameras=()))
                return True
            if _part(info) == "evaluation" and self._gather(info):
                self._log_evaluation(self._judged[info.facts["evaluation"]])
                return True
        except DataError as error:
            logger.warning("left out: %s", error)
        return False

    def _gather(self, info: EpisodeInfo) -> bool:
        """Add an evaluation episode; True if its evaluation is complete with it."""
        judged = self._judged.setdefault(info.facts["evaluation"], [])
        judged.append(info)
        is_complete = len(judged) == info.facts["of"]
        self.is_over |= is_complete and info.facts["last"]
        return is_complete

    def _log_evaluation(self, judged: list[EpisodeInfo]) -> None:
        facts = judged[-1].facts
        self._run.log_eval(
            facts["evaluation"],
            facts["behaviour"],
            [info.facts["seed"] for info in judged],
            [info.outcome == "success" for info in judged],
            [info.length for info in judged],
        )

    def _publish(self) -> None:
        """Give the actor what there is now."""
        arrays, state = self.learner.weights()
        position = self.learner.position
        publish_weights(self._folder.weights, arrays, state, position=position)
        self._published = position


def _part(info: EpisodeInfo) -> str:
    """What an episode is a part of."""
    if "salvaged" in info.facts:
        return "nothing"  # it was cut off: it has no end to learn from, and was run again
    return "evaluation" if "evaluation" in info.facts else "training"


def _index(name: str) -> int:
    """Where an episode of this id is in its store."""
    return int(name[3:])
