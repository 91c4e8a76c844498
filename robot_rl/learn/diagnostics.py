"""What the curves of offline learning say, in words: over- and underfitting, too much caution.

learning:  replay → offline updates → **their curves, read** → report

After "A workflow for offline model-free robotic reinforcement learning" (Kumar et al. 2021, arXiv
2109.10813): with no robot to try a policy on, the mean value of the data, the squared TD error and
the conservative term are what can be looked at. Values that rise and then fall are overfitting;
errors that stay high are underfitting. With Cal-QL there is a third thing to see: where values
stand beside the return that the data really earned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from robot_rl.types import F64

__all__ = ["FEWEST_ROWS", "Finding", "diagnose"]

FEWEST_ROWS = 8
"""Rows of the log below which its curves say nothing."""
_FELL = 0.15  # of the peak: a value of the data that has fallen
_STUCK = 0.5  # of the targets' variance: a TD error that explains little
_APART = 0.25  # between values and returns in [0, 1]: more than an error of a critic

Mood = Literal["good", "warning", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the curves say."""

    title: str
    mood: Mood
    words: str


def diagnose(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Read the log of offline updates.

    Args:
        rows: Of `offline.jsonl`: `dataset_q`, `policy_q`, `td_error`, `regulariser`,
            `bound_rate`, `return`.

    Returns:
        What there is to say, most important first; nothing for a log without rows.
    """
    if not rows:
        return []
    if len(rows) < FEWEST_ROWS:
        return [
            Finding(
                title="Too few updates to judge",
                mood="unknown",
                words=f"There are {len(rows)} rows in the log, and {FEWEST_ROWS} are needed. "
                "Give more offline updates.",
            )
        ]
    found = [_overfitting(rows), _underfitting(rows), _caution(rows)]
    return sorted(found, key=lambda finding: finding.mood == "good")


def _overfitting(rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether the value of the data has fallen from its peak."""
    value = _smooth(_curve(rows, "dataset_q"))
    peak = int(value.argmax())
    fall = float(value[peak] - value[-1]) / max(abs(float(value[peak])), 0.05)
    if peak < len(value) - 1 and fall > _FELL:
        at = int(rows[peak]["update"])
        return Finding(
            title="Overfitting",
            mood="warning",
            words=f"The value of the data rose to {value[peak]:.2f} at update {at:,} and fell to "
            f"{value[-1]:.2f}: critics begin to tell the rows apart instead of learning from "
            f"them. Stop near the peak (--offline-updates {at}), or give more episodes.",
        )
    return Finding(
        title="No overfitting",
        mood="good",
        words=f"The value of the data rose and stayed ({value[0]:.2f} to {value[-1]:.2f}).",
    )


def _underfitting(rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether the TD error is still high against how far values differ at all."""
    error = _smooth(_curve(rows, "td_error"))
    returns = float(np.clip(_curve(rows, "return")[-len(rows) // 4 :].mean(), 0.0, 1.0))
    spread = max(returns * (1 - returns), 1e-3)
    share, drop = float(error[-1]) / spread, float(error[-1]) / max(float(error[0]), 1e-9)
    if share > _STUCK:
        return Finding(
            title="Underfitting",
            mood="warning",
            words=f"The TD error ends at {error[-1]:.4f}, {share:.0%} of what a critic that knows "
            "no difference between rows would make. Give more updates (--offline-updates), wider "
            "critics (--td3.width), or a smaller --calql.weight.",
        )
    return Finding(
        title="No underfitting",
        mood="good",
        words=f"The TD error ends at {error[-1]:.4f}, {drop:.0%} of where it began and "
        f"{share:.0%} of the spread of returns.",
    )


def _caution(rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Where values of the policy's actions stand, beside those of the data and its return."""
    data, policy, returns = (
        float(_smooth(_curve(rows, name))[-1]) for name in ("dataset_q", "policy_q", "return")
    )
    bound, gap = float(_smooth(_curve(rows, "bound_rate"))[-1]), policy - data
    facts = (
        f"policy {policy:.2f}, data {data:.2f} (gap {gap:+.2f}), return of the data "
        f"{returns:.2f}, {bound:.0%} of the policy's values at the bound"
    )
    if gap > 0.5 * _APART:
        return Finding(
            title="Too little caution",
            mood="warning",
            words=f"The policy's actions are valued above what was ever done: {facts}. On the "
            "robot such values are tried first and fail. Raise --calql.weight.",
        )
    if data < returns - _APART or gap < -2 * _APART:
        return Finding(
            title="Too much caution",
            mood="warning",
            words=f"Values stand below what the data earned, and learning on the robot would "
            f"begin by lifting them: {facts}. Lower --calql.weight.",
        )
    return Finding(title="Calibrated", mood="good", words=f"Values fit the data: {facts}.")


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> F64:
    """A column; what was not logged, or was NaN, counts as 0."""
    return np.array([float(row.get(name) or 0.0) for row in rows])


def _smooth(curve: F64) -> F64:
    """Running mean over a tenth of the curve: single rows are noise."""
    width = max(1, len(curve) // 10)
    padded = np.concatenate([np.full(width - 1, curve[0]), curve])
    return np.convolve(padded, np.ones(width) / width, "valid")
