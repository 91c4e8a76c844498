"""What a written function is worth on recorded episodes, and where it goes wrong.

learning:  sandbox → **figures** → language model (again) → progress model

A function must order the frames of a success by time (VOC), must end higher on successes than any
failure ever holds, and must not be had by the attacks that recordings can be made into (hovering,
a success played backwards, noise). What is measured is also told back, part by part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_rl.errors import DataError
from robot_rl.reward.audit import audit, recorded_attacks, worst_of_each
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.episodes import RecordedEpisode, query_of, success_s
from robot_rl.reward.metrics import roc_auc, spearman
from robot_rl.reward.progress import ProgressQuery
from robot_rl.reward.written.model import Range, WrittenModel
from robot_rl.reward.written.sandbox import Said, Sandbox
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.syntax import CandidateError, Written
from robot_rl.types import F64

__all__ = ["TOTAL", "ComponentFigures", "Examples", "Figures", "examine"]

BAR_QUANTILE = 0.25
"""An attack has fooled a function if it holds what three of four successes end with."""
TOTAL = "total"
"""Name under which progress itself stands among its components."""
_CLOSE = 1e-6
_ROUNDING_S = 1e-6  # stamps are sums of periods
_DRAW = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Recorded episodes of one task, whose outcome is known.

    Attributes:
        names: Of each episode.
        queries: Their frames.
        success: bool (E,).
        ends_s: float64 (E,), stamps at which successes were complete; some are recorded on.
        episodes: By name, as they were recorded.
        task: The instruction.
    """

    names: tuple[str, ...]
    queries: tuple[ProgressQuery, ...]
    success: np.ndarray
    ends_s: F64
    episodes: Mapping[str, RecordedEpisode]
    task: str

    @classmethod
    def of(cls, episodes: Mapping[str, RecordedEpisode], task: str) -> "Examples":
        """From episodes by name.

        Raises:
            DataError: There is no success among them: nothing says where progress leads.
        """
        if not any(episode.success for episode in episodes.values()):
            raise DataError(
                f"{len(episodes)} episodes without a success among them. Record a few "
                "demonstrations first: robot-rl collect or robot-rl record."
            )
        return cls(
            names=tuple(episodes),
            queries=tuple(query_of(episode, task) for episode in episodes.values()),
            success=np.array([bool(episode.success) for episode in episodes.values()]),
            ends_s=np.array([success_s(episode) for episode in episodes.values()]),
            episodes=episodes,
            task=task,
        )

    @property
    def vectors(self) -> np.ndarray:
        """All state vectors (n, D), episode after episode."""
        return np.concatenate([q.proprio for q in self.queries if q.proprio is not None])

    def at_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """State vectors (n, D) with which successes began, and with which they were complete."""
        begun, done = [], []
        for k in np.flatnonzero(self.success).tolist():
            query = self.queries[k]
            assert query.proprio is not None  # of a recorded episode
            last = np.searchsorted(query.stamps_s, self.ends_s[k] + _ROUNDING_S, "right") - 1
            begun.append(query.proprio[0])
            done.append(query.proprio[last])
        return np.array(begun), np.array(done)

    def order(self, values: F64, k: int) -> float:
        """Rank correlation of values (T,) of success `k` with time; 0 for what does not vary."""
        stamps_s = self.queries[k].stamps_s
        way = stamps_s <= self.ends_s[k] + _ROUNDING_S
        found = spearman(values[way], stamps_s[way])
        return 0.0 if np.isnan(found) else found

    def by_episode(self, values: F64) -> list[F64]:
        """Values (n,) of all states as one array an episode."""
        return np.split(values, np.cumsum([len(query) for query in self.queries])[:-1])


@dataclass(frozen=True, kw_only=True)
class ComponentFigures:
    """One part of a function, on average over episodes.

    Attributes:
        start, middle, end: Values on successes.
        failed: Value at the end of failures; NaN without any.
        order: Rank correlation with time on successes; 0 if it does not vary.
    """

    start: float
    middle: float
    end: float
    failed: float
    order: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a function is worth on episodes.

    Attributes:
        voc: Rank correlation of progress with time on successes, mean.
        auc: Chance that a success ends above what a failure holds; NaN without failures.
        gap: Final progress of successes minus what failures hold; NaN without failures.
        fooled: Share of attacks that hold what three of four successes end with.
        fooled_by: The same by kind of attack.
        drop: Longest fall of progress on a success, mean.
        final: Progress at the end of successes, mean.
        components: By name; `TOTAL` is what they sum up to.
        took_ms: Time in the sandbox for all states.
        states: Number of those.
    """

    voc: float
    auc: float
    gap: float
    fooled: float
    fooled_by: dict[str, float] = field(default_factory=dict)
    drop: float
    final: float
    components: dict[str, ComponentFigures] = field(default_factory=dict)
    took_ms: float
    states: int

    @property
    def worth(self) -> float:
        """In [0, 1]: the mean of order, separation (if there are failures) and resistance."""
        parts = [max(self.voc, 0.0), 1.0 - self.fooled]
        if np.isfinite(self.auc):
            parts.append(max(2 * self.auc - 1, 0.0))
        return float(np.mean(parts))


def examine(
    written: Written, schema: StateSchema, examples: Examples, sandbox: Sandbox, *, seed: int = 0
) -> tuple[Range, Figures]:
    """Run a function over episodes and attacks made of them.

    Args:
        written: The function, checked.
        schema: What it reads.
        examples: Episodes with their outcome.
        sandbox: Where it runs.
        seed: Of the attacks, and of the states that it is asked about again.

    Raises:
        CandidateError: It fails, is no function of the state, or does not rise on successes.
    """
    columns = schema.columns(examples.vectors)
    said = sandbox.run(written, columns)
    _check_pure(written, columns, said.progress, sandbox, seed)
    per_episode = examples.by_episode(said.progress)
    wins = [values for values, won in zip(per_episode, examples.success, strict=True) if won]
    starts, ends = (np.array([values[at] for values in wins]) for at in (0, -1))
    if np.ptp(said.progress) <= _CLOSE * (1 + np.abs(said.progress).max()):
        raise CandidateError("the progress of all recorded states is the same")
    scale = Range.of(said.progress, starts, ends)
    model = WrittenModel(written, schema, scale, sandbox=sandbox)
    return scale, _figures(model, examples, said, seed)


def _check_pure(
    written: Written, columns: dict[str, F64], values: F64, sandbox: Sandbox, seed: int
) -> None:
    """Refuse what depends on the states that are asked beside one: that is no potential.

    Raises:
        CandidateError: Some state among others, or alone, has another value.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(values))[: max(min(_DRAW, len(values) // 2), 1)]
    for part in (rows, rows[:1]):
        again = sandbox.run(written, {name: array[part] for name, array in columns.items()})
        if not np.allclose(again.progress, values[part], rtol=_CLOSE, atol=_CLOSE):
            raise CandidateError(
                "the progress of a state depends on the other states that it is asked with; "
                "reduce along axis=-1 only"
            )


def _figures(model: WrittenModel, examples: Examples, said: Said, seed: int) -> Figures:
    """What the function is worth, all in all and part by part.

    Raises:
        CandidateError: It fails on an attack.
    """
    wins = np.flatnonzero(examples.success).tolist()
    losses = np.flatnonzero(~examples.success).tolist()
    progress = examples.by_episode(model.scale(said.progress))
    finals = np.array([progress[k][-1] for k in wins])
    detector = SuccessDetector(DetectorCfg(threshold=_bar(finals)))
    estimates = model.score([examples.queries[k] for k in losses])
    held = np.array(
        [
            detector.best_held(examples.queries[k], e)
            for k, e in zip(losses, estimates, strict=True)
        ]
    )
    scores, labels = np.concatenate([finals, held]), np.arange(len(examples.success)) < len(wins)
    attacks = recorded_attacks(examples.episodes, examples.task, seed=seed)
    findings = audit(model, detector, attacks)
    for finding in findings:
        if not finding.estimate.valid.all():
            raise CandidateError(
                f"at states unlike the recorded ones, {finding.estimate.raw_text}"
            )
    by_kind = worst_of_each(findings)
    tried = sum(count for _, count, _ in by_kind.values())
    falls = [float((np.maximum.accumulate(progress[k]) - progress[k]).max()) for k in wins]
    return Figures(
        voc=_mean([examples.order(progress[k], k) for k in wins]),
        auc=roc_auc(scores, labels),
        gap=float(finals.mean() - held.mean()) if len(held) else float("nan"),
        fooled=sum(fooled for fooled, _, _ in by_kind.values()) / max(tried, 1),
        fooled_by={kind: fooled / count for kind, (fooled, count, _) in by_kind.items()},
        drop=_mean(falls),
        final=float(finals.mean()),
        components={
            name: _component(examples, part, wins, losses)
            for name, part in {**said.components, TOTAL: said.progress}.items()
        },
        took_ms=1e3 * said.took_s,
        states=len(said.progress),
    )


def _bar(finals: F64) -> float:
    """What three of four successes end with, where a detector can have it."""
    return float(np.clip(np.quantile(finals, BAR_QUANTILE), 1e-3, 1 - 1e-3))


def _component(
    examples: Examples, values: F64, wins: Sequence[int], losses: Sequence[int]
) -> ComponentFigures:
    parts = examples.by_episode(values)
    won = [parts[k] for k in wins]
    return ComponentFigures(
        start=_mean([float(part[0]) for part in won]),
        middle=_mean([float(part[len(part) // 2]) for part in won]),
        end=_mean([float(part[-1]) for part in won]),
        failed=_mean([float(part[-1]) for part in (parts[k] for k in losses)]),
        order=_mean([examples.order(parts[k], k) for k in wins]),
    )


def _mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
