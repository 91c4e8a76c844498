"""Verdicts that come late: a slow judge labels episodes in a thread, and nobody waits for it.

learning:  **episode → (a thread: progress model)** → verdict and potentials → replay → agent

A judge that takes seconds cannot end an episode; it runs to its time-out or a person's word, and
counts for nothing until the judge has spoken. Images are kept in memory until then, no longer;
for a run that is killed meanwhile they lie on disk (`films.py`).
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.errors import DataError
from robot_rl.learn.films import Films
from robot_rl.learn.lived import LivedEpisode
from robot_rl.reward.episodes import RecordedEpisode, query_of
from robot_rl.reward.judge import Judge
from robot_rl.reward.labeler import AsyncLabeler, LabelerCfg
from robot_rl.reward.potentials import FramePotentials
from robot_rl.reward.progress import ProgressEstimate

__all__ = ["LateLabels", "LateVerdict", "Reel"]

logger = logging.getLogger(__name__)


class Reel:
    """Keeps what is observed in an episode, in place of a `Watch`; it never ends one.

    Args:
        judge: Who will judge it.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.begin()

    def begin(self) -> None:
        """Forget the last episode."""
        self._obs: list[Mapping[str, Any]] = []
        self._stamps_s: list[float] = []

    def see(self, obs: Mapping[str, Any], t_s: float) -> bool:
        """Keep the next observation; success is for later."""
        self._obs.append({name: np.array(value) for name, value in obs.items()})
        self._stamps_s.append(t_s)
        return False

    def __len__(self) -> int:
        """Frames so far."""
        return len(self._stamps_s)

    def episode(self) -> LivedEpisode:
        """All frames so far."""
        obs = {name: np.stack([seen[name] for seen in self._obs]) for name in self._obs[0]}
        obs["state"] = obs["state"].astype(np.float32)
        attrs = {"task": self.judge.task}
        return LivedEpisode(obs=obs, t_s=np.array(self._stamps_s), attrs=attrs)


@dataclass(frozen=True, kw_only=True, eq=False)
class LateVerdict:
    """What the judge said of the episode of this number."""

    episode: int
    potentials: FramePotentials
    success: bool


@dataclass(frozen=True)
class _Identity:
    uuid: str


class _Desk:
    """Episodes in memory, as an `AsyncLabeler` looks for them; those with a label are let go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, RecordedEpisode] = {}

    def put(self, name: str, episode: RecordedEpisode) -> None:
        with self._lock:
            self._waiting[name] = episode

    def ids(self) -> list[str]:
        with self._lock:
            return sorted(self._waiting)

    def info(self, name: str) -> _Identity:
        return _Identity(name)

    def read(self, name: str) -> RecordedEpisode:
        with self._lock:
            if name not in self._waiting:
                raise DataError(f"episode {name} has been labelled already.")
            return self._waiting[name]

    def annotate(
        self, kind: str, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Nothing is kept here: the labeler hands potentials on by `on_label`."""

    def annotation(self, kind: str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        raise DataError(f"episode {name} has no {kind}. Label it.")

    def take(self, name: str) -> RecordedEpisode:
        with self._lock:
            return self._waiting.pop(name)


class LateLabels:
    """Labels episodes beside the learner, newest first; `take` brings what is done.

    Args:
        judge: May be slow, remote, or gone for a while.
        cfg: How closely episodes are looked at.
        films: Where what waits is kept for a run that is killed; None loses it then.
    """

    def __init__(
        self, judge: Judge, cfg: LabelerCfg | None = None, *, films: Films | None = None
    ) -> None:
        self._judge, self._desk, self._films = judge, _Desk(), films
        self._done: deque[LateVerdict] = deque()
        self._labeler = AsyncLabeler(
            self._desk, judge.model, cfg or LabelerCfg(), on_label=self._label
        ).start()

    def submit(self, episode: int, recorded: RecordedEpisode) -> None:
        """Have an episode judged; returns once it is safe."""
        if self._films is not None:
            self._films.put(episode, recorded)
        self._show(episode, recorded)

    def submit_again(self, episodes: Sequence[int]) -> None:
        """Have these judged, which were submitted before the run was killed.

        What is no longer there, or damaged, stays open, and is said in the log.
        """
        if self._films is None:
            return
        for episode in episodes:
            try:
                self._show(episode, self._films.read(episode, self._judge.task))
            except DataError as error:
                logger.warning("%s", error)

    def checkpoint(self, waiting: Sequence[int]) -> None:
        """Keep what a checkpoint in which these episodes wait needs, and let older ones go."""
        if self._films is not None:
            self._films.checkpoint(waiting)

    def _show(self, episode: int, recorded: RecordedEpisode) -> None:
        name = f"ep_{episode:08d}"
        self._desk.put(name, recorded)
        self._labeler.submit(name)

    def take(self) -> Sequence[LateVerdict]:
        """Verdicts since the last call."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all that was submitted has been dealt with; False if that took too long."""
        return self._labeler.wait_idle(timeout_s)

    def close(self) -> None:
        """Finish the episode under way, and stop."""
        self._labeler.close()

    def _label(self, name: str, potentials: FramePotentials) -> None:
        """Make a verdict of what was said of the keyframes; in the labeler's thread."""
        recorded = self._desk.take(name)
        frames = np.flatnonzero(np.isfinite(potentials.success_p))
        success = False
        if len(frames) and frames[-1] == len(potentials) - 1:
            query = query_of(recorded, self._judge.task, frames=frames)
            estimate = ProgressEstimate(
                progress=potentials.phi[frames],
                success=potentials.success_p[frames],
                sigma=potentials.phi_sigma[frames],
                valid=np.ones(len(frames), bool),
                model_id=self._judge.model.model_id,
                version=self._judge.model.version,
            )
            success = self._judge.detector.decide(query, estimate).success
        number = int(name.removeprefix("ep_"))
        self._done.append(LateVerdict(episode=number, potentials=potentials, success=success))
