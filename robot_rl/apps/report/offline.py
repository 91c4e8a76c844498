"""The part of a report on learning without acting: its curves, and what they say in words."""

import html

from robot_rl.apps.page import card, legend
from robot_rl.apps.svg import Curve, plot, thin_out
from robot_rl.learn.diagnostics import diagnose
from robot_rl.learn.record import RunRecord

__all__ = ["offline"]

PLOTS = {
    "values": (
        {"dataset_q": "data", "policy_q": "policy", "return": "return"},
        "of executed and of the policy's actions, beside what the data earned",
    ),
    "td_error": ({"td_error": "td_error"}, "squared surprise of the critics"),
    "regulariser": (
        {"regulariser": "regulariser"},
        "how far untried actions stand above tried ones, softly: should fall and stay",
    ),
    "bound_rate": (
        {"bound_rate": "bound_rate"},
        "policy's values that stand below the data's return, and are pushed no further",
    ),
}
COLORS = {"data": "c1", "policy": "c3", "return": "soft"}
MOODS = {"good": "good", "warning": "bad", "unknown": ""}


def offline(record: RunRecord) -> str:
    """The card; nothing for a run that never learned offline."""
    rows = record.offline
    if not rows:
        return ""
    words = "".join(
        f'<p><span class="badge {MOODS[finding.mood]}">{html.escape(finding.title)}</span> '
        f"{html.escape(finding.words)}</p>"
        for finding in diagnose(rows)
    )
    plots = []
    for title, (names, explained) in PLOTS.items():
        drawn = []
        for key, name in names.items():
            known = [row for row in rows if row.get(key) is not None]
            if len(known) > 1:
                x, y = thin_out([row["update"] for row in known], [row[key] for row in known])
                drawn.append(Curve(x=x, y=y, color=COLORS.get(name, "c1")))
        if drawn:
            marks = legend(COLORS) if len(names) > 1 else ""
            picture = plot(drawn, title=title, x_max=rows[-1]["update"], x_label="updates")
            plots.append(
                f"<div><h3>{html.escape(title)}</h3>{picture}{marks}"
                f"<small>{html.escape(explained)}</small></div>"
            )
    note = f"{rows[-1]['update']:,} updates of calibrated offline RL, before anybody acted by it."
    return card(
        "Learning from data alone", words + f'<div class="grid">{"".join(plots)}</div>', note
    )
