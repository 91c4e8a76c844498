"""Measures a progress model and its detector on judged episodes, every figure with its interval.

learning:  episode store → **progress model → figures** → whether it may drive learning
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robot_rl.errors import DataError, ShapeError
from robot_rl.intervals import Interval, bootstrap, wilson
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.metrics import (
    calibration_bins,
    expected_calibration_error,
    kendall_tau_a,
    pearson,
    roc_auc,
    spearman,
)
from robot_rl.reward.progress import Bool, ProgressEstimate, ProgressModel, ProgressQuery
from robot_rl.types import F64, I64

__all__ = ["GATES", "Case", "Evaluation", "evaluate", "judge", "reversed_query"]

GATES = {"voc": 0.9, "mae": 0.15, "false_positive": 0.05, "any_time_false_positive": 0.05}
"""What a model must reach before it may drive learning: VOC at least, the others at most."""

PARTIAL_FROM = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One episode whose truth is known, as a model judged it.

    Attributes:
        name: Which episode.
        kind: "success", or what kind of failure.
        query: The question.
        estimate: The answer.
        backwards: The answer to the same frames in reverse order; None if nobody asked.
        success: Whether the episode truly ended in success.
        progress: float64 (T,), true progress; NaN where unknown.
        achieved: bool (T,), whether the goal was truly met at each frame; None if unknown.
    """

    name: str
    kind: str
    query: ProgressQuery
    estimate: ProgressEstimate
    success: bool
    progress: F64
    backwards: ProgressEstimate | None = None
    achieved: Bool | None = None

    def __post_init__(self) -> None:
        """Refuse parts of different lengths."""
        for name, part in (("estimate", self.estimate), ("progress", self.progress)):
            if len(part) != len(self.query):
                raise ShapeError(f"case: {name}", (len(part),), (len(self.query),))


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a model is worth.

    Attributes:
        figures: Each metric by name, with its bootstrap interval over episodes; NaN where the
            episodes cannot tell.
        held: For each case, the highest threshold that would have called success somewhere;
            see `SuccessDetector.best_held`.
        first_frame: For each case, when the detector would have ended it, or None.
        verdict: For each case, what the detector says of it at its end.
        calibration: (probability, share that was truly done, frames) of each bin.
    """

    figures: dict[str, Interval]
    held: F64
    first_frame: list[int | None]
    verdict: Bool
    calibration: list[tuple[float, float, int]] = field(default_factory=list)

    def failed_gates(self) -> list[str]:
        """The gates that are not passed, in words."""
        failed = []
        for name, bar in GATES.items():
            value, least = self.figures[name].mean, name == "voc"
            if not (value >= bar if least else value <= bar):
                failed.append(f"{name} is {value:.3f}, but must be {'≥' if least else '≤'} {bar}")
        return failed


def reversed_query(query: ProgressQuery) -> ProgressQuery:
    """The same frames shown in reverse order, at the same stamps, from the new first frame on."""
    proprio = None if query.proprio is None else query.proprio[::-1].copy()
    return replace(
        query,
        frames={name: rows[::-1].copy() for name, rows in query.frames.items()},
        proprio=proprio,
        initial={name: rows[-1] for name, rows in query.frames.items()},
        initial_proprio=None if proprio is None else proprio[0],
    )


def judge(model: ProgressModel, cases: Sequence[Case]) -> list[Case]:
    """The cases as this model judges them, forwards and (the successes) backwards."""
    estimates = model.score([case.query for case in cases])
    wins = [k for k, case in enumerate(cases) if case.success]
    back = model.score([reversed_query(cases[k].query) for k in wins])
    backwards = dict(zip(wins, back, strict=True))
    return [
        replace(case, estimate=estimate, backwards=backwards.get(k))
        for k, (case, estimate) in enumerate(zip(cases, estimates, strict=True))
    ]


def evaluate(
    cases: Sequence[Case], detector: SuccessDetector, *, seed: int = 0, resamples: int = 1000
) -> Evaluation:
    """Every figure of a judged test set.

    Args:
        cases: Episodes that model and detector were not fitted on.
        detector: As it would be deployed.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Raises:
        DataError: There are no cases.
    """
    if not cases:
        raise DataError("evaluation: no episodes. Give a store with labelled episodes.")
    table = _Table.of(cases, detector)
    rows = np.arange(len(cases), dtype=np.float64)

    def interval(values: F64, statistic: Callable[[F64], float]) -> Interval:
        return _interval(values, statistic, resamples=resamples, seed=seed)

    figures = {
        name: interval(rows, lambda idx, f=figure: f(table, idx.astype(int)))
        for name, figure in _FIGURES.items()
    }
    for name, (column, of_success) in _RATES.items():
        # Not a bootstrap: resamples of no false success never hold one.
        hits = getattr(table, column)[table.success == of_success]
        figures[name] = wilson(int(hits.sum()), len(hits))
    latency_ms = 1e3 * np.array([case.estimate.latency_s for case in cases])
    for name, share in (("latency_p50_ms", 0.5), ("latency_p95_ms", 0.95)):
        figures[name] = interval(latency_ms, lambda v, q=share: float(np.quantile(v, q)))
    return Evaluation(
        figures=figures,
        held=table.held,
        first_frame=table.first,
        verdict=table.verdict,
        calibration=calibration_bins(*_frames(table, np.arange(len(cases)))),
    )


def _interval(
    values: F64, statistic: Callable[[F64], float], *, resamples: int, seed: int
) -> Interval:
    """A bootstrap interval that leaves out resamples in which the figure does not exist."""
    value = statistic(values)
    if np.isnan(value):
        return Interval(mean=value, low=value, high=value)

    def known(row: F64) -> float:
        found = statistic(row)
        return value if np.isnan(found) else found

    return bootstrap(values, known, resamples=resamples, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """One number a case, so that a resample is an index; NaN where a case cannot tell."""

    success: Bool
    voc: F64
    voc_linear: F64
    voc_back: F64
    voc_back_linear: F64
    error: F64
    error_success: F64
    final: F64
    grade: F64
    held: F64
    verdict: Bool
    is_any: Bool
    is_early: Bool
    valid: F64
    first: list[int | None]
    frames: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, cases: Sequence[Case], detector: SuccessDetector) -> "_Table":
        """Work out each case."""
        verdicts = [detector.decide(c.query, c.estimate) for c in cases]
        first = [v.first_frame for v in verdicts]
        success = np.array([case.success for case in cases])
        too_early = np.array([_is_wrong(c, detector) for c in cases])
        error = np.array([_error(c) for c in cases])
        return cls(
            success=success,
            voc=np.array([_order(c, c.estimate, spearman) for c in cases]),
            voc_linear=np.array([_order(c, c.estimate, pearson) for c in cases]),
            voc_back=np.array([_order(c, c.backwards, spearman) for c in cases]),
            voc_back_linear=np.array([_order(c, c.backwards, pearson) for c in cases]),
            error=error,
            error_success=np.where(success, error, np.nan),
            final=np.array([_final(c) for c in cases]),
            grade=np.array([_grade(c) for c in cases]),
            held=np.array([detector.best_held(c.query, c.estimate) for c in cases]),
            verdict=np.array([v.success for v in verdicts]),
            is_any=too_early & ~success,
            is_early=too_early & success,
            valid=np.array([c.estimate.valid.mean() for c in cases]),
            first=first,
            frames=[_labelled(c, detector) for c in cases],
        )


def _order(
    case: Case, estimate: ProgressEstimate | None, how: Callable[[F64, F64], float]
) -> float:
    """Correlation of progress with time, of a success."""
    if not case.success or estimate is None or estimate.valid.sum() < 3:
        return float("nan")
    judged = estimate.progress[estimate.valid].astype(np.float64)
    return how(judged, case.query.stamps_s[estimate.valid])


def _error(case: Case) -> float:
    """Mean distance from true progress, over the frames that were judged."""
    off = np.abs(case.estimate.progress - case.progress)
    known = off[np.isfinite(off)]
    return float(known.mean()) if len(known) else float("nan")


def _final(case: Case) -> float:
    """Progress at the last frame that was judged."""
    judged = case.estimate.progress[case.estimate.valid]
    return float(judged[-1]) if len(judged) else float("nan")


def _grade(case: Case) -> float:
    """2 for a success, 1 for a failure that came far, 0 for one that did not."""
    if case.success:
        return 2.0
    known = case.progress[np.isfinite(case.progress)]
    return float(len(known) > 0 and known[-1] >= PARTIAL_FROM)


def _is_wrong(case: Case, detector: SuccessDetector) -> bool:
    """Whether success was ever called where the goal was not met."""
    held = detector.held(case.query, case.estimate)
    if case.achieved is not None:
        return bool((held & ~case.achieved).any())
    return bool(held.any()) and not case.success


def _labelled(case: Case, detector: SuccessDetector) -> tuple[np.ndarray, np.ndarray]:
    """Probability and truth of the frames of which both are known."""
    probability = detector.probability(case.estimate)
    if case.achieved is not None:
        truth = case.achieved
    elif case.success:
        return np.zeros(0), np.zeros(0)
    else:
        truth = np.zeros(len(case.query), bool)
    known = np.isfinite(probability)
    return probability[known], truth[known]


def _frames(table: _Table, rows: I64) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truths of all frames of these cases."""
    parts = [table.frames[k] for k in rows]
    return np.concatenate([p for p, _ in parts]), np.concatenate([t for _, t in parts])


def _mean(values: F64) -> float:
    """Mean of what is known; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _f1(table: _Table, rows: I64) -> float:
    said, true = table.verdict[rows], table.success[rows]
    hits = int((said & true).sum())
    total = int(said.sum() + true.sum())
    return 2 * hits / total if total else float("nan")


def _tau(table: _Table, rows: I64) -> float:
    known = rows[np.isfinite(table.final[rows])]
    return kendall_tau_a(table.final[known], table.grade[known])


def _gap(table: _Table, rows: I64) -> float:
    final, success = table.final[rows], table.success[rows]
    return _mean(final[success]) - _mean(final[~success])


_RATES = {
    "recall": ("verdict", True),
    "false_positive": ("verdict", False),
    "any_time_false_positive": ("is_any", False),
    "too_early": ("is_early", True),
}
"""Rates over episodes: a column of `_Table`, and whether over successes or failures."""

_FIGURES: dict[str, Callable[[_Table, I64], float]] = {
    "voc": lambda t, r: _mean(t.voc[r]),
    "voc_linear": lambda t, r: _mean(t.voc_linear[r]),
    "voc_reversed": lambda t, r: _mean(t.voc_back[r]),
    "voc_reversed_linear": lambda t, r: _mean(t.voc_back_linear[r]),
    "mae": lambda t, r: _mean(t.error[r]),
    "mae_success": lambda t, r: _mean(t.error_success[r]),
    "kendall_tau": _tau,
    "success_failure_gap": _gap,
    "roc_auc": lambda t, r: roc_auc(t.held[r], t.success[r]),
    "f1": _f1,
    "calibration_error": lambda t, r: expected_calibration_error(*_frames(t, r)),
    "judged": lambda t, r: _mean(t.valid[r]),
}
"""Each figure of a resample: from the table and the indices of its cases."""
