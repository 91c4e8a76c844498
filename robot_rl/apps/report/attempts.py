"""The part of a report on learning without resets: there and back, robot time, calls for help."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.apps.page import card, legend, tile, wide_plot
from robot_rl.apps.summary import deployed_curve
from robot_rl.apps.svg import Curve, thin_out
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import steps_to_threshold

__all__ = ["attempts", "cost_to"]

WINDOW = 20
COLORS = {"there": "c1", "back": "c2"}


def attempts(record: RunRecord) -> str:
    """The card; nothing for a run whose scene was reset in every episode."""
    rows = record.attempts
    if len(rows) < 2:
        return ""
    cost = cost_to(record, 0.9)
    words = (
        "90 % of evaluated episodes were not reached"
        if cost is None
        else f"90 % of evaluated episodes after {cost[0]:.2f} h of robot time and {cost[1]} resets"
    )
    tiles = [
        tile(f"{rows[-1]['robot_s'] / 3600:.2f} h", "robot time, both directions"),
        tile(str(rows[-1]["resets"]), "times a person put the scene back, the first included"),
        tile(f"{len(rows):,}", "attempts"),
        *[tile(_share(rows, name), f"of the last {WINDOW} {name} succeeded") for name in COLORS],
    ]
    drawn = []
    for name, color in COLORS.items():
        steps, rates = _recent(rows, name)
        x, y = thin_out(steps, rates)
        drawn.append(Curve(x=x, y=y, color=color))
    title = "success of attempts against steps of both"
    picture = wide_plot(drawn, title, x_max=rows[-1]["step"], height=220)
    note = f"{words}. Curves are means of the last {WINDOW} attempts of each direction."
    tiled = f'<div class="tiles">{"".join(tiles)}</div>'
    return card("Without resets", tiled + legend(COLORS) + picture, note)


def cost_to(record: RunRecord, level: float) -> tuple[float, int] | None:
    """Hours of robot time and resets until an evaluation reached `level`; None if none has."""
    points = deployed_curve(record)
    step = steps_to_threshold([p.step for p in points], [p.rate.mean for p in points], level)
    if step is None or not record.attempts:
        return None
    done = [row for row in record.attempts if row["step"] <= step]
    last = done[-1] if done else {"robot_s": 0.0, "resets": 1}
    return last["robot_s"] / 3600, int(last["resets"])


def _recent(
    rows: Sequence[Mapping[str, Any]], direction: str
) -> tuple[Sequence[float], Sequence[float]]:
    """Steps, and the share of successes among the last attempts in one direction."""
    chosen = [row for row in rows if row["direction"] == direction]
    good = np.array([float(row["success"]) for row in chosen])
    rates = [float(good[max(0, k - WINDOW) : k].mean()) for k in range(1, len(good) + 1)]
    return [float(row["step"]) for row in chosen], rates


def _share(rows: Sequence[Mapping[str, Any]], direction: str) -> str:
    rates = _recent(rows, direction)[1]
    return f"{rates[-1]:.0%}" if rates else "–"
