"""The part of a report that holds a judge's verdicts against the truth, where that is known."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.apps.page import card, interval, legend, table, wide_plot
from robot_rl.apps.svg import Curve, thin_out
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import wilson

__all__ = ["verdicts"]

WINDOW = 50


def verdicts(record: RunRecord) -> str:
    """What the judge said of executed episodes; "" for a run without one."""
    rows = [row for row in record.episodes if "label_source" in row]
    if not rows:
        return ""
    curves, marks = _curves(rows)
    picture = wide_plot(curves, "share of the latest episodes", x_max=record.step, height=220)
    note = (
        "What the run learned from: no success of the simulator, but the judge's. The truth is "
        "known to this page alone, and to nobody on a robot."
    )
    return card("The judge", legend(marks) + picture + _confusion(rows) + _sources(rows), note)


def _curves(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Curve], dict[str, str]]:
    """Success as judged and as it was, and the trust in progress, over the run."""
    found = {
        "judged a success": ("c1", [float(row["success"]) for row in rows]),
        "truly one": ("soft", [float(row.get("true_success") or 0) for row in rows]),
        "frames judged at all": ("c3", [float(row["judged"]) for row in rows]),
        "trust in progress": ("c2", [float(row["trust"]) for row in rows]),
    }
    if not any("true_success" in row for row in rows):
        del found["truly one"]
    steps = np.array([row["step"] for row in rows], float)
    curves = []
    for color, values in found.values():
        total = np.concatenate([[0.0], np.cumsum(values)])
        ends = np.arange(1, len(values) + 1)
        starts = np.maximum(ends - WINDOW, 0)
        x, y = thin_out(steps, (total[ends] - total[starts]) / (ends - starts))
        curves.append(Curve(x=x, y=y, color=color))
    return curves, {name: color for name, (color, _) in found.items()}


def _confusion(rows: Sequence[Mapping[str, Any]]) -> str:
    """Verdicts of the judge against the truth."""
    pairs = [
        (bool(row["success"]), bool(row["true_success"]))
        for row in rows
        if "true_success" in row and str(row["label_source"]).startswith("reward_model:")
    ]
    if not pairs:
        return ""
    lines = []
    for words, truth, said in (
        ("successes that it missed", True, False),
        ("failures that it called a success", False, True),
    ):
        of_kind = [one for one, true in pairs if true == truth]
        wrong = sum(one == said for one in of_kind)
        share = interval(wilson(wrong, len(of_kind))) if of_kind else "–"
        lines.append([words, f"{wrong} of {len(of_kind)}", share])
    return table(["verdicts at the end of episodes", "episodes", "95 % interval"], lines)


def _sources(rows: Sequence[Mapping[str, Any]]) -> str:
    """Who gave the verdicts."""
    names = [str(row["label_source"]) for row in rows]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return table(
        ["verdicts by", "episodes"], [[html.escape(k), str(v)] for k, v in counts.items()]
    )
