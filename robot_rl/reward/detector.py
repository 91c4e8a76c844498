"""Decides whether a task is done, apart from progress, and rather too late than wrongly.

learning:  transition → episode store → **progress model → verdict** → replay → residual agent

A false success is learned from at once and for good, a missed one costs a few steps. So a success
must be sure (a threshold that lies near the demonstrations, not at one half), must last
(`hold_s`), must not come before it can, and must feel right where gates say how it feels. What a
person says overrules all of it, and every verdict says who gave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.reward.calibrator import Calibrator, logit
from robot_rl.reward.progress import Bool, ProgressEstimate, ProgressQuery
from robot_rl.types import F32, F64

__all__ = [
    "BarCfg",
    "DetectorCfg",
    "Evidence",
    "Gate",
    "SuccessDetector",
    "Verdict",
    "fit_detector",
]

_ABOVE_FAILURES = 0.1  # logits, at least
_ROUNDING_S = 1e-6  # stamps are sums of periods
HUMAN = "human"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A range that one number of the state vector must lie in for a success."""

    index: int
    """Which number of `ProgressQuery.proprio`."""
    low: float
    """Least value."""
    high: float
    """Greatest value."""

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if not self.low <= self.high or self.index < 0:
            raise ConfigError(
                f"gate on number {self.index}: low {self.low} must not exceed high {self.high}, "
                "and numbers count from 0."
            )

    @classmethod
    def around(cls, index: int, values: ArrayLike, margin: float = 0.25) -> "Gate":
        """The range of demonstrated values (n,), wider by `margin` of it at either end."""
        values = np.asarray(values, np.float64)
        low, high = float(values.min()), float(values.max())
        air = margin * (high - low) + 1e-6
        return cls(index=index, low=low - air, high=high + air)


@dataclass(frozen=True, kw_only=True)
class DetectorCfg:
    """What counts as success."""

    threshold: float = 0.8
    """Calibrated probability of success that a frame needs."""
    hold_s: float = 0.25
    """How long every frame must need it."""
    min_s: float = 0.0
    """No success is believed earlier than this in an episode."""
    gates: tuple[Gate, ...] = ()
    """What the robot must feel."""
    calibrator: Calibrator = field(default_factory=Calibrator)
    """From the model's score to a probability."""
    most_false: float = 1.0
    """Chance that what is not done is ever called success, at most, if it is like what the
    detector was fitted on; 1 if it was not fitted."""

    def __post_init__(self) -> None:
        """Refuse a detector that says yes to everything."""
        if not 0 < self.threshold < 1:
            raise ConfigError(
                f"detector: threshold is {self.threshold}, but must be within 0 and 1."
            )
        if not (self.hold_s >= 0 and self.min_s >= 0):
            raise ConfigError(
                f"detector: hold_s {self.hold_s} and min_s {self.min_s} must be at least 0."
            )


@dataclass(frozen=True, kw_only=True)
class BarCfg:
    """Where a fitted threshold lies between what failures and what successes hold."""

    demo_quantile: float = 0.1
    """Share of successes that may be missed for safety's sake."""
    near_miss_quantile: float = 0.5
    """Which near miss counts, from the mildest (0) to the worst (1)."""
    nearness: float = 0.5
    """Place on the way from failures and near misses (0) to successes (1), in logits."""
    least: float = 0.5
    """Lowest threshold."""

    def __post_init__(self) -> None:
        """Refuse a place that is none."""
        for name in ("demo_quantile", "near_miss_quantile", "nearness", "least"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"detector: {name} is {value}, but must be within 0 and 1.")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an episode succeeded, and who says so.

    Attributes:
        success: At its last frame, held; what an episode's label is.
        first_frame: The first frame at which success held, None if it never did; where a running
            episode would have been ended.
        label_source: "human", or "reward_model:" and the model's id and version.
    """

    success: bool
    first_frame: int | None
    label_source: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """A judged episode whose outcome is known: what a detector is fitted and evaluated on.

    Attributes:
        query: The question.
        estimate: The answer, from a model that was not trained on this episode.
        success: Whether the episode truly ended in success.
        done: int8 (T,): 1 where the task is truly done, 0 where not, -1 where nobody can say.
        progress: float64 (T,), true progress, NaN where unknown; None if nobody knows any.
    """

    query: ProgressQuery
    estimate: ProgressEstimate
    success: bool
    done: np.ndarray
    progress: F64 | None = None

    def __post_init__(self) -> None:
        """Refuse parts of different lengths."""
        for name, part in (("estimate", self.estimate), ("done", self.done)):
            if len(part) != len(self.query):
                raise ShapeError(f"evidence: {name}", (len(part),), (len(self.query),))


class SuccessDetector:
    """Turns judged frames into verdicts. Pure: the same frames give the same verdict."""

    def __init__(self, cfg: DetectorCfg) -> None:
        self.cfg = cfg

    def probability(self, estimate: ProgressEstimate) -> F32:
        """Calibrated probability of success (T,); NaN where the frame was not judged."""
        return self.cfg.calibrator(estimate.success)

    def held(self, query: ProgressQuery, estimate: ProgressEstimate) -> Bool:
        """Whether success has held at each frame (T,), up to and including it.

        Raises:
            DataError: A gate asks for a number that the query does not have.
            ShapeError: Query and estimate differ in length.
        """
        if len(estimate) != len(query):
            raise ShapeError("detector: estimate", (len(estimate),), (len(query),))
        since_s = query.stamps_s - query.stamps_s[0]
        # NaN compares as False: what was not judged breaks a hold.
        hits = (self.probability(estimate) >= self.cfg.threshold) & estimate.valid
        hits &= self._gated(query) & (since_s >= self.cfg.min_s - _ROUNDING_S)
        return _held_for(hits, query.stamps_s, self.cfg.hold_s)

    def _gated(self, query: ProgressQuery) -> Bool:
        """Whether every gate is open, (T,)."""
        is_open = np.ones(len(query), bool)
        for gate in self.cfg.gates:
            if query.proprio is None or gate.index >= query.proprio.shape[1]:
                width = 0 if query.proprio is None else query.proprio.shape[1]
                raise DataError(
                    f"detector: a gate reads number {gate.index} of a state vector of {width}. "
                    "Fit the detector on episodes of this robot."
                )
            value = query.proprio[:, gate.index]
            is_open &= (value >= gate.low) & (value <= gate.high)
        return is_open

    def best_held(self, query: ProgressQuery, estimate: ProgressEstimate) -> float:
        """The highest threshold that would have called success somewhere: how near it came.

        In [0, 1]; 0 if gates, holding or what could not be judged rule it out altogether.
        """
        score = np.where(estimate.valid & self._gated(query), self.probability(estimate), 0.0)
        since_s = query.stamps_s - query.stamps_s[0]
        score = np.where(since_s >= self.cfg.min_s - _ROUNDING_S, np.nan_to_num(score), 0.0)
        return _best_held(score.astype(np.float64), query.stamps_s, self.cfg.hold_s)

    def decide(
        self, query: ProgressQuery, estimate: ProgressEstimate, *, human: bool | None = None
    ) -> Verdict:
        """The verdict on a whole episode; a person's word overrules the model's.

        Args:
            query: The episode's frames.
            estimate: Their judgement.
            human: What a person said of the episode, None if nobody did.
        """
        held = self.held(query, estimate)
        first = int(held.argmax()) if held.any() else None
        if human is not None:
            return Verdict(success=human, first_frame=first, label_source=HUMAN)
        source = f"reward_model:{estimate.model_id}@{estimate.version}"
        return Verdict(success=bool(held[-1]), first_frame=first, label_source=source)


def fit_detector(
    evidence: Sequence[Evidence], cfg: DetectorCfg | None = None, bar: BarCfg | None = None
) -> DetectorCfg:
    """Calibrate, then put the threshold between what failures reach and what successes hold.

    The bar is anchored at both sides: it lies on the way, in logits, from the best that any
    stretch short of success holds to what all but a few of the successes hold. If some such
    stretch looks better than a success, it lies just above that.

    The farther off known failures are, the less they say of a near miss, and the lower half-way to
    them: on the peg every second one passed. But a success passes by its own near misses, for who
    stops there holds its score. So the bar lies half-way from a typical one's best undone frame.

    Of n stretches none passes, so another one of their kind does with a chance of 1 / (n + 1) at
    most (split conformal prediction): `most_false`. It says nothing of other kinds, which is why
    the bar does not lie at the failures.

    Args:
        evidence: Judged episodes that the model was not trained on; at least one success.
        cfg: Hold time, gates and earliest success, which are kept.
        bar: Where the threshold lies.

    Raises:
        DataError: There is no success to anchor to.
    """
    cfg, bar = cfg or DetectorCfg(), bar or BarCfg()
    if not any(item.success for item in evidence):
        raise DataError("detector: no success to anchor the threshold to. Give demonstrations.")
    calibrator = _calibrated(evidence)
    good, bad, near = [], [], []
    for item in evidence:
        score = np.where(item.estimate.valid, calibrator(item.estimate.success), 0.0)
        score = np.nan_to_num(score)
        if item.success:
            good.append(_best_held(score, item.query.stamps_s, cfg.hold_s))
        early = np.where(item.done == 0, score, 0.0)
        if item.success:
            near.append(early.max())
        bad.append(_best_held(early, item.query.stamps_s, cfg.hold_s))
    anchor, worst = logit(np.quantile(good, bar.demo_quantile)), logit(max(bad))
    missed = logit(np.quantile(near, bar.near_miss_quantile))
    between = max(
        worst + max(bar.nearness * (anchor - worst), _ABOVE_FAILURES),
        missed + bar.nearness * (anchor - missed),
    )
    threshold = float(np.clip(1 / (1 + np.exp(-between)), bar.least, 1 - 1e-6))
    passed = int((np.array(bad) >= threshold).sum())
    most_false = (passed + 1) / (len(bad) + 1)
    return replace(cfg, calibrator=calibrator, threshold=threshold, most_false=most_false)


def _calibrated(evidence: Sequence[Evidence]) -> Calibrator:
    """From scores to probabilities, by the frames of which the truth is known."""
    scores = np.concatenate([item.estimate.success for item in evidence])
    labels = np.concatenate([item.done for item in evidence])
    usable = np.isfinite(scores) & (labels >= 0)
    return Calibrator.fit(scores[usable], labels[usable])


def _held_for(hits: Bool, stamps_s: F64, hold_s: float) -> Bool:
    """Whether each frame and all before it, back to `hold_s` ago, are hits."""
    misses = np.concatenate([[-1], np.flatnonzero(~hits)])
    last_miss = misses[np.searchsorted(misses, np.arange(len(hits)), side="right") - 1]
    first_hit = np.minimum(last_miss + 1, len(hits) - 1)
    return hits & (stamps_s - stamps_s[first_hit] >= hold_s - _ROUNDING_S)


def _best_held(score: F64, stamps_s: F64, hold_s: float) -> float:
    """The highest threshold at which the episode would count as success at some frame."""
    levels = np.unique(score)
    low, high = 0, len(levels)  # holds at levels[:low], not at levels[high:]
    while low < high:
        middle = (low + high) // 2
        if _held_for(score >= levels[middle], stamps_s, hold_s).any():
            low = middle + 1
        else:
            high = middle
    return float(levels[low - 1]) if low else 0.0
