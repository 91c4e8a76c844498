"""The parts of a report that draw: curves, who acted, episodes to watch, what was learned."""

import base64
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.apps.page import card, details, interval, legend, rate, table, wide_plot
from robot_rl.apps.summary import WINDOW, Point, RunSummary, curves, deployed_curve
from robot_rl.apps.svg import Curve, Level, plot, short_number, thin_out
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import wilson
from robot_rl.types import F64

__all__ = ["colors_of", "evaluations", "executed", "metrics", "success", "videos"]

COLORS = {"base": "soft", "deployed": "c1", "residual": "c1", "imitation": "c2", "chosen": "c3"}
SPARE_COLORS = ("c4", "c5", "c6", "c3", "c2", "c1")
FEWEST_EPISODES = 10
MAX_VIDEO_BYTES = 24_000_000
HOVER = (
    'tabindex="0" onmouseenter="this.controls=true" onfocus="this.controls=true" '
    'onmouseleave="this.controls=false" onblur="this.controls=false"'
)
EXPLAINED = {
    "q": "value of the actions in the replay",
    "actor_q": "value of the actions that the residual would take",
    "chunk_q": "value of whole chunks",
    "dataset_q": "value of the demonstrations' actions: should rise, then stay",
    "q_spread": "how far the critics disagree",
    "target": "value that the critics are drawn to",
    "td_error": "squared surprise of the critics",
    "residual_size": "mean residual, as a share of its scale",
    "residual_saturation": "share of residuals at their bound",
    "residual_scale": "how far the residual may go, by the evidence so far",
    "residual_pull": "how firmly it is tied to the imitation, by the same",
    "evidence": "success of each candidate, as far as its own episodes tell",
}


def _base_level(summary: RunSummary) -> list[Level]:
    """The base's success as a line with its interval."""
    if summary.base is None:
        return []
    return [Level(y=summary.base.mean, low=summary.base.low, high=summary.base.high)]


def _base_mark(summary: RunSummary) -> dict[str, str]:
    """The base's entry in a legend."""
    return {f"base {rate(summary.base.mean)}": "soft"} if summary.base else {}


def success(record: RunRecord, summary: RunSummary) -> str:
    """Evaluated success against environment steps: what was deployed, and what else was tried."""
    deployed = deployed_curve(record)
    shown = {(p.policy, p.step) for p in deployed}
    others = {
        name: [p for p in points if (name, p.step) not in shown]
        for name, points in curves(record).items()
        if name != "base"
    }
    others = {name: points for name, points in others.items() if points}
    names = list(dict.fromkeys([p.policy for p in deployed] + list(others)))
    colors = colors_of(names)
    drawn = [_curve(points, colors[name], colors) for name, points in others.items()]
    if deployed:
        drawn.append(_curve(deployed, "c1", colors))
    picture = wide_plot(
        drawn, "success against environment steps", _base_level(summary), record.step
    )
    note = "Evaluated on fixed seeds, without exploration. A dot's colour tells who was deployed."
    colors.pop("base", None)
    return card("Success", legend(colors | _base_mark(summary)) + picture, note)


def _curve(points: Sequence[Point], color: str, colors: Mapping[str, str]) -> Curve:
    """Evaluations with their intervals."""
    return Curve(
        x=[p.step for p in points],
        y=[p.rate.mean for p in points],
        low=[p.rate.low for p in points],
        high=[p.rate.high for p in points],
        color=color,
        has_dots=True,
        dot_colors=[colors[p.policy] for p in points],
        tips=[f"{p.policy} at {p.step:,}: {p.successes} of {p.trials}" for p in points],
    )


def executed(record: RunRecord, summary: RunSummary) -> str:
    """What the robot lived through: success while learning, and who acted."""
    rows = [e for e in record.episodes if e.get("success") is not None]
    if len(rows) < FEWEST_EPISODES:
        return ""
    steps = np.array([e["step"] for e in rows], float)[FEWEST_EPISODES - 1 :]
    rates, trials = _recent_share([bool(e["success"]) for e in rows])
    around = [wilson(round(r * n), int(n)) for r, n in zip(rates, trials, strict=True)]
    x, y = thin_out(steps, rates)
    low = thin_out(steps, [i.low for i in around])[1]
    high = thin_out(steps, [i.high for i in around])[1]
    picture = wide_plot(
        [Curve(x=x, y=y, low=low, high=high)],
        "success of executed episodes",
        _base_level(summary),
        record.step,
        height=260,
    )
    note = f"Every episode run while learning, exploration included; mean of the last {WINDOW}."
    marks = legend({"executed": "c1"} | _base_mark(summary))
    return card("Executed episodes", marks + picture + _behaviours(rows, steps, record.step), note)


def _behaviours(rows: Sequence[Mapping[str, Any]], steps: F64, x_max: int) -> str:
    """Which candidate policy acted, as shares of the same windows."""
    names = list(dict.fromkeys(str(e["behaviour"]) for e in rows if e.get("behaviour")))
    if len(names) < 2:
        return f'<p class="soft">All by {html.escape(names[0])}.</p>' if names else ""
    colors = colors_of(names)
    floor = np.zeros(len(steps))
    drawn = []
    for name in names:
        share = _recent_share([e.get("behaviour") == name for e in rows])[0]
        x, low = thin_out(steps, floor)
        floor = floor + share
        drawn.append(Curve(x=x, low=low, high=thin_out(steps, floor)[1], color=colors[name]))
    picture = wide_plot(drawn, "share of episodes by behaviour", x_max=x_max, height=170)
    return f"<h3>Who acted</h3>{legend(colors)}{picture}"


def _recent_share(outcomes: Sequence[bool]) -> tuple[F64, F64]:
    """Share of true among the last `WINDOW`, from the 10th on, and how many that are."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(outcomes, float))])
    ends = np.arange(FEWEST_EPISODES, len(outcomes) + 1)
    starts = np.maximum(ends - WINDOW, 0)
    return (total[ends] - total[starts]) / (ends - starts), (ends - starts).astype(float)


def videos(record: RunRecord) -> str:
    """Episodes to look at, newest first, as many as a page can carry."""
    figures, left_out, size = [], 0, 0
    files = sorted(record.path.glob("videos/*.webm"), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        size += file.stat().st_size
        if size > MAX_VIDEO_BYTES:
            left_out += 1
            continue
        about = _sidecar(file)
        data = base64.b64encode(file.read_bytes()).decode()
        success = about.get("success")
        badge = "" if success is None else _outcome(bool(success))
        caption = html.escape(str(about.get("caption") or file.stem))
        figures.append(
            f"<figure><video autoplay muted loop playsinline {HOVER} "
            f'src="data:video/webm;base64,{data}"></video>'
            f"<figcaption>{badge} {caption}</figcaption></figure>"
        )
    if not figures:
        return ""
    more = f"{left_out} older videos are in the run's folder." if left_out else ""
    note = f"Blue: the critic's value over the episode. Orange: the residual. {more}".strip()
    return card("Episodes", f'<div class="videos">{"".join(figures)}</div>', note)


def metrics(record: RunRecord) -> str:
    """A small plot for each figure that the learner logged; `evidence/*` share one."""
    together: dict[str, list[str]] = {}
    for name in dict.fromkeys(key for row in record.metrics for key in row if key != "step"):
        together.setdefault(name.split("/")[0], []).append(name)
    plots = []
    for title, names in together.items():
        colors = colors_of([name.split("/")[-1] for name in names])
        drawn, last = [], ""
        for name, color in zip(names, colors.values(), strict=True):
            rows = [r for r in record.metrics if r.get(name) is not None]
            if len(rows) > 1:
                x, y = thin_out([r["step"] for r in rows], [r[name] for r in rows])
                drawn.append(Curve(x=x, y=y, color=color if len(names) > 1 else "c1"))
                last = short_number(float(rows[-1][name]))
        if drawn:
            picture = plot(drawn, title=title, x_max=record.step, x_label="")
            below = legend(colors) if len(names) > 1 else ""
            plots.append(
                f"<div><h3>{html.escape(title)} <small>{last if len(names) == 1 else ''}</small>"
                f"</h3>{picture}{below}<small>{EXPLAINED.get(title, '')}</small></div>"
            )
    return card("Learning", f'<div class="grid">{"".join(plots)}</div>') if plots else ""


def evaluations(record: RunRecord) -> str:
    """All evaluations as a table."""
    found: list[tuple[str, Point]] = [
        (name, point) for name, points in curves(record).items() for point in points
    ]
    rows = [
        [
            html.escape(name),
            f"{p.step:,}",
            f"<b>{rate(p.rate.mean)}</b>",
            interval(p.rate),
            f"{p.successes} of {p.trials}",
            "–" if math.isnan(p.mean_length) else f"{p.mean_length:.0f}",
            html.escape(", ".join(map(str, p.failed_seeds[:12])))
            + (" …" if len(p.failed_seeds) > 12 else ""),
        ]
        for name, p in sorted(found, key=lambda item: (item[1].step, item[0]))
    ]
    head = ["policy", "step", "success", "95 % interval", "episodes", "mean steps", "failed seeds"]
    return details(f"Evaluations ({len(rows)})", table(head, rows)) if rows else ""


def colors_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name; the same name has the same colour all over the page."""
    names = list(names)
    spare = iter(SPARE_COLORS * 3)
    used = {COLORS[n] for n in names if n in COLORS}
    return {
        n: COLORS[n] if n in COLORS else next((c for c in spare if c not in used), "c6")
        for n in names
    }


def _sidecar(video: Path) -> dict[str, Any]:
    """What the video shows, if that is known."""
    try:
        about = json.loads(video.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _outcome(success: bool) -> str:
    """A badge."""
    word, mood = ("success", "good") if success else ("failure", "bad")
    return f'<span class="badge {mood}">{word}</span>'
