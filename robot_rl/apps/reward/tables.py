"""Names, words and bars of the figures that an evaluation of a judge gives."""

import math
from collections.abc import Mapping

from robot_rl.intervals import Interval
from robot_rl.reward.evaluation import GATES

__all__ = ["EXPLAINED", "figure_rows", "figure_text", "mood_of"]

EXPLAINED = {
    "voc": "order: rank correlation of progress with time, successes",
    "voc_linear": "the same, linear",
    "voc_reversed": "on reversed episodes: -1 if it looks, 1 if it counts",
    "voc_reversed_linear": "the same, linear",
    "mae": "mean distance from true progress, where that is known",
    "mae_success": "the same, successes only",
    "kendall_tau": "order of failures, partial failures and successes",
    "success_failure_gap": "final progress of successes minus that of failures",
    "roc_auc": "chance that a success scores above a failure",
    "f1": "of verdicts at the end, at the deployed threshold",
    "recall": "successes that are seen by their last frame",
    "false_positive": "failures that are called success at their end",
    "any_time_false_positive": "failures that are called success at any time",
    "too_early": "successes that are called so before they are",
    "calibration_error": "distance between probability and truth",
    "judged": "share of frames that were judged at all",
    "latency_p50_ms": "time per episode, half of them [ms]",
    "latency_p95_ms": "time per episode, all but one of twenty [ms]",
}


def figure_text(value: float) -> str:
    """A figure in few characters; a dash where it does not exist."""
    return "–" if math.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def mood_of(name: str, value: float) -> str:
    """Colour of a figure that has a bar to pass, "good" or "bad"; "" for others."""
    if name not in GATES or math.isnan(value):
        return ""
    passed = value >= GATES[name] if name == "voc" else value <= GATES[name]
    return "good" if passed else "bad"


def figure_rows(figures: Mapping[str, Interval]) -> list[tuple[str, str, str]]:
    """Name with its meaning, value and interval of each figure."""
    return [
        (
            f"{name}: {EXPLAINED[name]}",
            figure_text(found.mean),
            f"{figure_text(found.low)} … {figure_text(found.high)}",
        )
        for name, found in figures.items()
    ]
