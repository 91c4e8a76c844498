"""`robot-rl compare`: runs side by side, grouped by their configuration without the seed."""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from robot_rl.apps.groups import Group, group_runs, varied_fields
from robot_rl.apps.page import card, details, interval, legend, rate, table, wide_plot, write_page
from robot_rl.apps.summary import Point, deployed_curve, environment_of
from robot_rl.apps.svg import Curve, Level
from robot_rl.learn.statistics import bootstrap, interquartile_mean, paired_difference
from robot_rl.types import F64

__all__ = ["Cfg", "main", "write_comparison"]

PALETTE = ("c1", "c3", "c2", "c4", "c5", "c6", "soft")


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl compare`."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or folders that hold such folders; the first group is compared with."""
    out: Path = Path("runs/compare.html")
    """Where to write the page."""


def main(cfg: Cfg) -> int:
    """Write the page and say where it is."""
    print(f"comparison: {write_comparison(cfg.runs, cfg.out)}")
    return 0


def write_comparison(paths: Sequence[Path], out: Path) -> Path:
    """Write the page that compares the runs in `paths`.

    Raises:
        DataError: There is no run in a path.
    """
    groups = group_runs(paths)
    colors = {g.label: PALETTE[i % len(PALETTE)] for i, g in enumerate(groups)}
    tasks = {environment_of(g.config) for g in groups} - {""}
    count = sum(len(g.runs) for g in groups)
    body = (
        f"<header><h1>{html.escape(', '.join(sorted(tasks)) or 'Comparison')}</h1>"
        f'<div class="soft">{len(groups)} configurations, {count} runs</div></header>'
        + _figures(groups, colors)
        + _curves(groups, colors)
        + _differences_of_success(groups)
        + _differences_of_configuration(groups)
        + _runs(groups, out.parent)
        + "<footer>Made by robot-rl compare. Bands and intervals are 95 % over seeds.</footer>"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_page(out, "Comparison: robot_rl", body)


def _figures(groups: Sequence[Group], colors: Mapping[str, str]) -> str:
    """The table of figures, one row a group."""
    rows = []
    for group in groups:
        finals = group.values("final")
        spread = f"<br><small>{interval(bootstrap(finals))}</small>" if len(finals) > 1 else ""
        mark = f'style="--mark:var(--{colors[group.label]})"'
        base, area = group.values("base"), group.values("area")
        rows.append(
            [
                f'<div class="legend"><span {mark}>{html.escape(group.label)}</span></div>',
                str(len(group.runs)),
                rate(float(np.mean(base)) if base else None),
                f"<b>{rate(float(np.mean(finals)) if finals else None)}</b>{spread}",
                rate(interquartile_mean(finals) if finals else None),
                _reached(group, "steps_to_80"),
                _reached(group, "steps_to_95"),
                rate(float(np.mean(area)) if area else None),
                _worst(group.values("worst_eval_dip")),
                _worst(group.values("worst_executed_dip")),
                _mean(group.values("cpu_s_per_1k_steps"), " s"),
            ]
        )
    head = ["", "seeds", "base", "final", "IQM", "to 80 %", "to 95 %", "area", "dip, eval."]
    head += ["dip, exec.", "CPU / 1k"]
    note = (
        "Final is the mean over seeds. Steps are the median of the seeds that got there. "
        "Dips are the worst of all seeds, in points below the base."
    )
    return card("Figures", table(head, rows), note)


def _curves(groups: Sequence[Group], colors: Mapping[str, str]) -> str:
    """Mean success over seeds against steps."""
    drawn = []
    for group in groups:
        steps, rates = _aligned([deployed_curve(record) for record, _ in group.runs])
        around = [bootstrap(column, resamples=500) for column in rates.T]
        drawn.append(
            Curve(
                x=steps,
                y=[i.mean for i in around],
                low=[i.low for i in around],
                high=[i.high for i in around],
                color=colors[group.label],
                has_dots=True,
                tips=[
                    f"{group.label} at {step:,.0f}: {i.mean:.0%} over {len(rates)} seeds"
                    for step, i in zip(steps, around, strict=True)
                ],
            )
        )
    bases = [value for group in groups for value in group.values("base")]
    levels = [Level(y=float(np.mean(bases)))] if bases else []
    marks = dict(colors) | ({f"base {rate(levels[0].y)}": "soft"} if levels else {})
    picture = wide_plot(drawn, "mean success against environment steps", levels)
    note = "Evaluated success, mean over seeds; between evaluations, the straight line counts."
    return card("Success", legend(marks) + picture, note)


def _aligned(curves: Sequence[Sequence[Point]]) -> tuple[F64, F64]:
    """Curves over common steps (k,), one row a run (n, k): runs are evaluated as episodes end.

    They stop where the shortest ends: a mean over fewer and fewer seeds would bend.
    """
    curves = [points for points in curves if points]
    if not curves:
        return np.zeros(0), np.zeros((0, 0))
    start, stop = max(c[0].step for c in curves), min(c[-1].step for c in curves)
    count = max(len(c) for c in curves) if stop > start else 1
    steps = np.linspace(start, max(start, stop), count)
    rows = [np.interp(steps, [p.step for p in c], [p.rate.mean for p in c]) for c in curves]
    return steps, np.array(rows)


def _differences_of_success(groups: Sequence[Group]) -> str:
    """Each group minus the first, over the seeds that both have."""
    first, rows = groups[0], []
    for group in groups[1:]:
        a, b = first.finals(), group.finals()
        seeds = sorted(a.keys() & b.keys())
        if not seeds:
            continue
        found = paired_difference([a[s] for s in seeds], [b[s] for s in seeds])
        verdict = "within chance"
        if len(seeds) > 2 and (found.low > 0 or found.high < 0):
            verdict = "better" if found.mean > 0 else "worse"
        rows.append(
            [
                html.escape(group.label),
                str(len(seeds)),
                f"<b>{100 * found.mean:+.0f}</b>",
                f"{100 * found.low:+.0f} to {100 * found.high:+.0f}",
                verdict,
            ]
        )
    if not rows:
        return ""
    head = ["", "common seeds", "points", "95 % interval", ""]
    return card(f"Final success against {html.escape(first.label)}", table(head, rows))


def _differences_of_configuration(groups: Sequence[Group]) -> str:
    """The fields that differ, one column a group."""
    varied = varied_fields([g.config for g in groups])
    if not varied:
        return ""
    rows = [[html.escape(k), *(html.escape(str(v)) for v in vs)] for k, vs in varied.items()]
    head = ["field", *(html.escape(g.label) for g in groups)]
    return card("What differs", table(head, rows, text_columns=1 + len(groups)))


def _runs(groups: Sequence[Group], folder: Path) -> str:
    """Every run, with a link to its own report."""
    rows = []
    for group in groups:
        for record, summary in group.runs:
            page = record.path / "report.html"
            name = html.escape(record.name)
            if page.exists():
                name = f'<a href="{html.escape(os.path.relpath(page, folder))}">{name}</a>'
            final = rate(summary.final.mean) if summary.final else "–"
            rows.append(
                [name, html.escape(group.label), record.state, f"{record.step:,}", f"{final}"]
            )
    head = ["run", "configuration", "state", "steps", "final"]
    return details(f"Runs ({len(rows)})", table(head, rows, text_columns=3))


def _reached(group: Group, name: str) -> str:
    """Median step, and how many seeds got there if not all."""
    values = group.values(name)
    if not values:
        return "–"
    of = (
        ""
        if len(values) == len(group.runs)
        else f"<br><small>{len(values)} of {len(group.runs)}</small>"
    )
    return f"{np.median(values):,.0f}{of}"


def _worst(dips: Sequence[float]) -> str:
    """The largest dip in points."""
    return f"{100 * max(dips):.0f}" if dips else "–"


def _mean(values: Sequence[float], unit: str) -> str:
    """Mean with its unit."""
    return f"{np.mean(values):.1f}{unit}" if values else "–"
