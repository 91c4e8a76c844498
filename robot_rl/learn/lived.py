"""Own episodes: what a learner holds of each, and how a judge is shown one.

learning:  transition → **episode → verdict** → replay → residual agent → weights
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from robot_rl.replay.buffer import TransitionBuffer
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F64

__all__ = ["Ledger", "Lived", "LivedEpisode"]


@dataclass(kw_only=True)
class Lived:
    """An own episode: its rows in the replay, and what is held of it.

    Attributes:
        start, stop: Rows of `MixedReplay.own`, the last observation included.
        behaviour, noisy: Who acted, and whether otherwise than it would be deployed.
        success: The verdict in force.
        stopped: Whether it ended by a safety stop.
        source: Who gave the verdict, see `Verdict.label_source`.
        seen: Whether the judge itself ended it as a success, so that it ends where it was done.
        uuid: Of the record in a store, if there is one.
        score: How near to success the judge of that time saw it, if it is learned from.
        judged: Share of its frames that the judge could say something about.
        pending: Whether nobody has decided on it yet.
        waits: Whether a slow judge has yet to look at it, decided or not.
    """

    start: int
    stop: int
    behaviour: str
    noisy: bool
    success: bool
    stopped: bool
    source: str
    seen: bool = False
    uuid: str = ""
    score: float | None = None
    judged: float = 0.0
    pending: bool = False
    waits: bool = False

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class LivedEpisode:
    """An own episode as a judge sees it: see `RecordedEpisode`."""

    obs: Mapping[str, np.ndarray]
    t_s: F64
    success: bool | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """All own episodes in their order, beside the replay that holds their rows.

    Args:
        own: That replay.
    """

    def __init__(self, own: TransitionBuffer) -> None:
        self._own, self._lived = own, list[Lived]()
        self._stamps_s = np.zeros(own.capacity)

    def add(self, rows: slice, episode: Trajectory) -> Lived:
        """Take note of an episode with a verdict that lies in these rows."""
        self._stamps_s[rows] = episode.t_s
        lived = Lived(
            start=rows.start,
            stop=rows.stop,
            behaviour=str(episode.attrs["behaviour"]),
            noisy=bool(episode.attrs["noisy"]),
            success=bool(episode.success),
            stopped=episode.terminated and not episode.success,
            source=str(episode.attrs["label_source"]),
            seen=bool(episode.attrs["seen"]),
            uuid=str(episode.attrs.get("uuid", "")),
        )
        self._lived.append(lived)
        return lived

    def decide(self, lived: Lived, *, success: bool) -> None:
        """Let another verdict be in force."""
        lived.success = success and not lived.stopped
        terminated = lived.success or lived.stopped
        self._own.correct(lived.rows, success=lived.success, terminated=terminated)

    def recorded(self, lived: Lived) -> LivedEpisode:
        """An episode as the replay has it, which keeps no images."""
        return LivedEpisode(
            obs={"state": self._own.state[lived.rows].copy()},
            t_s=self._stamps_s[lived.rows].copy(),
            success=lived.success,
        )

    @property
    def successes(self) -> list[list[int]]:
        """Successes as the verdicts in force have it, as rows [start, stop)."""
        return [[lived.start, lived.stop] for lived in self._lived if lived.success]

    @property
    def waiting(self) -> list[int]:
        """Numbers of the episodes that a slow judge has yet to look at."""
        return [number for number, lived in enumerate(self._lived) if lived.waits]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lived)

    def __iter__(self) -> Iterator[Lived]:
        """The oldest first."""
        return iter(self._lived)

    def __getitem__(self, number: int) -> Lived:
        """The episode of this number."""
        return self._lived[number]

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps beside `state`."""
        return {"stamps_s": self._stamps_s[: self._own.rows].copy()}

    def state(self) -> list[dict[str, Any]]:
        """The JSON-able rest."""
        return [asdict(lived) for lived in self._lived]

    def load(self, arrays: Mapping[str, np.ndarray], state: Sequence[Mapping[str, Any]]) -> None:
        """Be as another was, once the replay is."""
        self._lived = [Lived(**kept) for kept in state]
        stamps_s = arrays["stamps_s"]
        self._stamps_s[: len(stamps_s)] = stamps_s
