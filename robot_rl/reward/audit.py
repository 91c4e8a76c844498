"""Looks for what a judge takes for success and is none, before a learner finds it.

learning:  episode store → **progress model → audit** → whether it may drive learning

Attacks are made of recorded episodes, and only of parts in which the task was certainly not done:
whatever they score is score without success. Those that need a robot (or its twin) to act are
made elsewhere and audited here alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robot_rl.errors import DataError
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.episodes import RecordedEpisode, query_of, success_s
from robot_rl.reward.progress import ProgressEstimate, ProgressModel, ProgressQuery
from robot_rl.types import I64, U8

__all__ = ["RECORDED_ATTACKS", "Attack", "Finding", "audit", "recorded_attacks", "worst_of_each"]

RECORDED_ATTACKS = {
    "hovering": "stands still wherever a demonstration passed on its way",
    "backwards": "a success played backwards, from where it is not done yet",
    "occluded": "the lenses are covered while the arm goes on",
    "frozen": "the images stand still while the arm goes on to the end",
    "other scene": "the arm goes through the whole motion, the cameras show another episode's way",
    "random": "numbers and pixels drawn at random",
}
"""Attacks on recordings, and what happens in them."""

UNDONE_UNTIL = 0.7
"""Until this share of its time a success is certainly not done."""
_HOVER_FRAMES = 40
_ROUNDING_S = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Attack:
    """Frames in which the task is nowhere done.

    Attributes:
        kind: What is tried.
        name: Of what it was made.
        query: The frames.
    """

    kind: str
    name: str
    query: ProgressQuery


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """How far an attack came.

    Attributes:
        attack: What was tried.
        estimate: What the model said.
        score: The threshold that it would have passed, held; see `SuccessDetector.best_held`.
        is_fooled: Whether the detector called it a success.
        frame: Index of the frame that looked most like success; None if none was judged.
    """

    attack: Attack
    estimate: ProgressEstimate = field(repr=False)
    score: float
    is_fooled: bool
    frame: int | None


def audit(
    model: ProgressModel, detector: SuccessDetector, attacks: Sequence[Attack]
) -> list[Finding]:
    """Try all attacks; the worst finding first."""
    findings = []
    for attack, estimate in zip(attacks, model.score([a.query for a in attacks]), strict=True):
        probability = np.where(estimate.valid, estimate.success, -1.0)
        probability = np.where(np.isfinite(probability), probability, -1.0)
        frame = int(probability.argmax()) if probability.max() >= 0 else None
        findings.append(
            Finding(
                attack=attack,
                estimate=estimate,
                score=detector.best_held(attack.query, estimate),
                is_fooled=bool(detector.held(attack.query, estimate).any()),
                frame=frame,
            )
        )
    return sorted(findings, key=lambda found: (-found.is_fooled, -found.score))


def worst_of_each(findings: Sequence[Finding]) -> dict[str, tuple[int, int, Finding]]:
    """For each kind of attack: how many fooled the detector, of how many, and the worst one."""
    kinds: dict[str, list[Finding]] = {}
    for found in findings:
        kinds.setdefault(found.attack.kind, []).append(found)
    return {
        kind: (
            sum(found.is_fooled for found in part),
            len(part),
            max(part, key=lambda found: (found.is_fooled, found.score)),
        )
        for kind, part in kinds.items()
    }


def recorded_attacks(
    episodes: Mapping[str, RecordedEpisode], task: str, *, seed: int = 0
) -> list[Attack]:
    """All attacks that can be made of these recordings.

    Args:
        episodes: By name; successes among them, whose late parts serve as bait.
        task: The instruction.
        seed: Of what is drawn at random.

    Raises:
        DataError: There is no success among them.
    """
    wins = {name: episode for name, episode in episodes.items() if episode.success}
    if not wins:
        raise DataError("audit: no success to make attacks of. Give a store with demonstrations.")
    rng = np.random.default_rng(seed)
    whole = {name: _until_success(episode, task) for name, episode in wins.items()}
    found = []
    for name, query in whole.items():
        for kind, make in _MAKERS.items():
            other = whole[str(rng.choice(list(whole)))]
            found += [Attack(kind=kind, name=name, query=q) for q in make(query, other, rng)]
    return found


def _until_success(episode: RecordedEpisode, task: str) -> ProgressQuery:
    """An episode's frames, without those that it went on for after its success."""
    rows = np.flatnonzero(episode.t_s <= success_s(episode) + _ROUNDING_S)
    return query_of(episode, task, frames=rows)


def _undone(query: ProgressQuery) -> int:
    """Number of frames at the start in which the task is certainly not done."""
    return max(int(UNDONE_UNTIL * len(query)), 1)


def _taken(query: ProgressQuery, rows: I64) -> ProgressQuery:
    """These frames in this order, at the stamps of an episode that was recorded so."""
    period_s = float(np.median(np.diff(query.stamps_s))) if len(query) > 1 else 0.1
    return replace(
        query,
        stamps_s=period_s * np.arange(len(rows)),
        frames={name: shots[rows] for name, shots in query.frames.items()},
        proprio=None if query.proprio is None else query.proprio[rows],
    )


def _hovering(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    last = _undone(query)
    for stop in sorted({int(share * last) for share in (0.5, 0.75, 1.0)}):
        way = np.arange(stop)
        yield _taken(query, np.concatenate([way, np.full(_HOVER_FRAMES, max(stop - 1, 0))]))


def _backwards(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    yield _taken(query, np.arange(_undone(query))[::-1])


def _occluded(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    """Covered from half-way on, the arm as in the success: only the lens would know."""
    for shade in (0, 128, 255) if query.frames else ():
        frames = {}
        for name, shots in query.frames.items():
            covered = shots.copy()
            covered[_undone(query) // 2 :] = shade
            frames[name] = covered
        yield replace(query, frames=frames)


def _frozen(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    if query.frames:
        rows = np.minimum(np.arange(len(query)), _undone(query) // 2)
        yield replace(query, frames={name: shots[rows] for name, shots in query.frames.items()})


def _other_scene(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    if query.frames:
        rows = np.minimum(np.arange(len(query)), _undone(other) - 1)
        yield replace(query, frames={name: shots[rows] for name, shots in other.frames.items()})


def _random(
    query: ProgressQuery, other: ProgressQuery, rng: np.random.Generator
) -> Iterator[ProgressQuery]:
    """Every number anywhere in its own range, and noise for images."""
    proprio = query.proprio
    if proprio is not None:
        low, high = proprio.min(0), proprio.max(0)
        proprio = rng.uniform(low, high, proprio.shape).astype(np.float32)
    noise: dict[str, U8] = {
        name: rng.integers(0, 256, shots.shape, np.uint8) for name, shots in query.frames.items()
    }
    yield replace(query, proprio=proprio, frames=noise)


_Maker = Callable[[ProgressQuery, ProgressQuery, np.random.Generator], Iterator[ProgressQuery]]
_MAKERS: dict[str, _Maker] = {
    "hovering": _hovering,
    "backwards": _backwards,
    "occluded": _occluded,
    "frozen": _frozen,
    "other scene": _other_scene,
    "random": _random,
}
