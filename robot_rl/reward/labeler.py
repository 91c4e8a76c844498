"""Labels episodes while others drive and learn: nobody ever waits for a progress model.

learning:  transition → **episode store → progress model → potentials** → residual agent → weights

A thread of its own takes finished episodes, newest first, asks the model about keyframes, and
keeps the potentials beside the episode, whole or not at all: after `kill -9` the next labeler goes
on where this one was. A new model makes every label stale, and they are made again in the same
order. An episode's potentials are always of one version, so no TD pair mixes two.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from robot_rl.errors import ConfigError, DataError, RobotRLError
from robot_rl.reward.episodes import Goal, RecordedEpisode, query_of
from robot_rl.reward.potentials import FramePotentials
from robot_rl.reward.progress import ProgressEstimate, ProgressModel
from robot_rl.types import F64, I64

__all__ = ["AsyncLabeler", "EpisodeShelf", "LabelCounts", "LabelerCfg", "keyframes_of"]

logger = logging.getLogger(__name__)


_LONGEST_RETRY_S = 3600.0
_JITTER_S = 1e-6
"""Stamps that are this little early count as in time: a rate is never met to the last bit."""


class Identity(Protocol):
    """What an index line says about which episode it is."""

    @property
    def uuid(self) -> str:
        """Never changes, unlike the episode's place in a store."""
        ...


class EpisodeShelf(Protocol):
    """The part of a `replay.store.EpisodeStore` that labelling uses."""

    def ids(self) -> list[str]:
        """Sealed episodes, oldest first."""
        ...

    def info(self, name: str) -> Identity:
        """An episode's index line."""
        ...

    def read(self, name: str) -> RecordedEpisode:
        """An episode in memory."""
        ...

    def annotate(
        self, kind: str, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Keep arrays beside an episode, in one step, in place of earlier ones."""
        ...

    def annotation(self, kind: str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays and facts kept."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelerCfg:
    """How closely episodes are looked at, and how stubbornly."""

    kind: str = "progress"
    """Name of the annotation that holds the potentials."""
    keyframe_every_s: float = 0.5
    """Time between frames that the model judges; those between are interpolated. 0: every one."""
    queue: int = 256
    """Episodes that may wait; the oldest give way and are found again when there is time."""
    retry_s: float = 10.0
    """Pause before an episode that could not be labelled is due again; doubles each time, up to an
    hour."""
    rescan_s: float = 30.0
    """How long an idle labeler rests before it looks for episodes without a label again. 0: it
    waits to be told."""

    def __post_init__(self) -> None:
        """Refuse what would label nothing."""
        for name in ("keyframe_every_s", "retry_s", "rescan_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}, but must be >= 0.")
        if self.queue < 1:
            raise ConfigError(f"queue is {self.queue}, but must be >= 1.")


@dataclass(kw_only=True)
class LabelCounts:
    """What became of the episodes.

    Attributes:
        labelled: Labels written, repeated ones included.
        frames: Keyframes judged in them.
        invalid: Keyframes among them that the model could not judge.
        failed: Attempts that gave no label at all.
        displaced: Episodes that gave way in a full queue.
        latency_s: Time the model took for each of the last 1000 labels.
    """

    labelled: int = 0
    frames: int = 0
    invalid: int = 0
    failed: int = 0
    displaced: int = 0
    latency_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


def keyframes_of(t_s: F64, every_s: float) -> I64:
    """Indices of the frames to judge: the first, the last, and one for each `every_s` between.

    Args:
        t_s: (R,) stamps of all frames, rising.
        every_s: Time between keyframes; 0 for all frames.
    """
    rows = [0]
    for row, stamp_s in enumerate(t_s[1:], 1):
        if stamp_s >= t_s[rows[-1]] + every_s - _JITTER_S or row == len(t_s) - 1:
            rows.append(row)
    return np.array(rows)


class AsyncLabeler:
    """A thread that keeps the labels of a store fresh; start it with `start` or `with`.

    Args:
        store: Where episodes and their labels are; open for writing.
        model: Judges them; see `update_model`.
        cfg: How.
        goal: How it looks when done; None leaves that to the model.
        on_label: Called from the labeler's thread with an episode's id and its potentials, such as
            to put them into a `PotentialTable` in one step.
    """

    def __init__(
        self,
        store: EpisodeShelf,
        model: ProgressModel,
        cfg: LabelerCfg,
        *,
        goal: Goal | None = None,
        on_label: Callable[[str, FramePotentials], None] | None = None,
    ) -> None:
        self._store, self._model, self._cfg = store, model, cfg
        self._goal, self._on_label = goal, on_label
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque(maxlen=cfg.queue)
        self._failures: dict[str, tuple[int, float]] = {}  # how many, and when it is due again
        self._labels: dict[str, dict[str, Any]] = {}  # the facts of labels, as far as read
        self._rescan = True
        self._idle = self._closed = self._stopped = False
        self._thread: threading.Thread | None = None
        self.counts = LabelCounts()

    def start(self) -> "AsyncLabeler":
        """Begin with the episodes of the store that have no fresh label."""
        self._thread = threading.Thread(target=self._run, name="labeler", daemon=True)
        self._thread.start()
        return self

    def submit(self, episode: str) -> None:
        """Label this episode next; returns at once, however busy the model is."""
        with self._changed:
            if episode in self._waiting:
                self._waiting.remove(episode)
            elif len(self._waiting) == self._cfg.queue:
                self.counts.displaced += 1
                self._rescan = True
            self._waiting.append(episode)  # a full deque drops its oldest end
            self._idle = False
            self._changed.notify_all()

    def update_model(self, model: ProgressModel) -> None:
        """Judge by another model, or another version, from now on; all labels are made again."""
        with self._changed:
            self._model = model
            self._failures.clear()
            self._rescan, self._idle = True, False
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every episode has been dealt with; False if that took too long."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._stopped, timeout_s)
            return self._idle

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and not self._stopped

    def close(self, timeout_s: float = 60.0) -> None:
        """Finish the episode under way and stop. Calling it twice is harmless.

        Raises:
            RobotRLError: The model did not answer in time; the thread is left behind.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise RobotRLError(f"labeler: the model did not answer within {timeout_s} s.")

    def __enter__(self) -> "AsyncLabeler":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- the labeler's thread

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                episode, model = job
                if self._is_due(episode, model):
                    self._attempt(episode, model)
        finally:  # whoever waits must learn that nothing more will come
            with self._changed:
                self._stopped = True
                self._changed.notify_all()

    def _next(self) -> tuple[str, ProgressModel] | None:
        """The newest episode that waits, and the model of this moment; None when closed."""
        while True:
            with self._changed:
                if self._closed:
                    return None
                if self._waiting:
                    return self._waiting.pop(), self._model
                model, looked = self._model, self._rescan
                self._rescan = False
            found = self._backlog(model) if looked else []
            with self._changed:
                # What was submitted meanwhile is newer and stays on top.
                room = self._cfg.queue - len(self._waiting)
                if len(found) > room:
                    self._rescan, found = True, found[len(found) - room :]
                self._waiting.extendleft(reversed(found))
                if self._waiting or self._rescan or self._closed:
                    continue
                self._idle = True
                self._changed.notify_all()
                woken = self._changed.wait(self._cfg.rescan_s or None)
                self._rescan |= not woken

    def _backlog(self, model: ProgressModel) -> list[str]:
        """Episodes whose label is missing or stale, oldest first."""
        return [name for name in self._store.ids() if self._is_due(name, model)]

    def _is_due(self, episode: str, model: ProgressModel) -> bool:
        if self._failures.get(episode, (0, 0.0))[1] > time.monotonic():
            return False
        if episode not in self._labels:
            try:
                facts = self._store.annotation(self._cfg.kind, episode)[1]
                if facts.get("uuid") != self._store.info(episode).uuid:
                    return True  # of another episode, from before stores were merged
            except DataError:
                return True  # no label, or a damaged one
            self._labels[episode] = facts
        self._failures.pop(episode, None)
        known = self._labels[episode]
        try:
            return any(known.get(name) != value for name, value in self._fresh(model).items())
        except RobotRLError:
            return True  # the model cannot even say who it is: the attempt will tell why

    def _fresh(self, model: ProgressModel) -> dict[str, Any]:
        """What a label must say to be fresh."""
        return {
            "model_id": model.model_id,
            "version": model.version,
            "keyframe_every_s": self._cfg.keyframe_every_s,
        }

    def _attempt(self, episode: str, model: ProgressModel) -> None:
        """Label one episode; what cannot be labelled is counted and left for later."""
        try:
            facts = {"uuid": self._store.info(episode).uuid, **self._fresh(model)}
            recorded = self._store.read(episode)
            rows = keyframes_of(recorded.t_s, self._cfg.keyframe_every_s)
            estimate = self._judge(recorded, rows, model)
            if estimate.version != facts["version"] or not estimate.valid.any():
                raise DataError(f"nothing could be judged: {estimate.raw_text[:200]!r}")
            found = FramePotentials.of(estimate, frames=rows, count=len(recorded.t_s))
            more = {"keyframes": rows.tolist(), "latency_s": estimate.latency_s}
            self._store.annotate(self._cfg.kind, episode, found.arrays(), {**facts, **more})
        except (RobotRLError, OSError) as error:
            logger.warning("labeler: %s: %s", episode, error)
            self.counts.failed += 1
            with self._changed:
                if model is self._model:
                    times = self._failures.get(episode, (0, 0.0))[0] + 1
                    pause_s = min(self._cfg.retry_s * 2 ** (times - 1), _LONGEST_RETRY_S)
                    self._failures[episode] = (times, time.monotonic() + pause_s)
            return
        self._labels[episode] = facts
        self._failures.pop(episode, None)
        self.counts.labelled += 1
        self.counts.frames += len(rows)
        self.counts.invalid += int((~estimate.valid).sum())
        self.counts.latency_s.append(estimate.latency_s)
        if self._on_label is not None:
            self._on_label(episode, found)

    def _judge(
        self, recorded: RecordedEpisode, rows: I64, model: ProgressModel
    ) -> ProgressEstimate:
        """The judgement of all keyframes (K,), in as many queries as the model needs.

        Raises:
            DataError: The model was retrained in between.
        """
        task = str(recorded.attrs.get("task", ""))
        most = model.capabilities.max_frames or len(rows)
        parts = np.array_split(rows, range(most, len(rows), most))
        queries = [query_of(recorded, task, goal=self._goal, frames=part) for part in parts]
        start_s = time.monotonic()
        found = model.score(queries)
        took_s = time.monotonic() - start_s
        if len({(each.model_id, each.version) for each in found}) != 1:
            raise DataError("the model changed while it judged an episode")
        return ProgressEstimate(
            progress=np.concatenate([each.progress for each in found]),
            success=np.concatenate([each.success for each in found]),
            sigma=np.concatenate([each.sigma for each in found]),
            valid=np.concatenate([each.valid for each in found]),
            model_id=found[0].model_id,
            version=found[0].version,
            latency_s=took_s,
            raw_text=found[0].raw_text,
        )
