"""`robot-rl report`: one self-contained page that says what a run did, be it over or not."""

import html
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot_rl.apps.page import card, details, duration, interval, pairs, rate, tile, write_page
from robot_rl.apps.report.attempts import attempts
from robot_rl.apps.report.judge import verdicts
from robot_rl.apps.report.offline import offline
from robot_rl.apps.report.parts import evaluations, executed, metrics, success, videos
from robot_rl.apps.summary import WINDOW, RunSummary, environment_of, summarize
from robot_rl.config import flatten
from robot_rl.learn.record import RunRecord

__all__ = ["Cfg", "main", "write_report"]

ALLOWED_DIP = 0.05


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl report`."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder, such as runs/peg-s0."""
    out: Path | None = None
    """Where to write the page (default: report.html in the run's folder)."""


def main(cfg: Cfg) -> int:
    """Write the page and say where it is."""
    path = write_report(cfg.run, cfg.out)
    print(f"{summarize(RunRecord.read(cfg.run)).headline()}, report: {path}")
    return 0


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of the run in folder `run`.

    Returns:
        The page's path.

    Raises:
        DataError: There is no run in the folder.
    """
    record = RunRecord.read(run)
    summary = summarize(record)
    body = "".join(
        [
            _header(record),
            _headline(summary),
            _tiles(summary),
            success(record, summary),
            executed(record, summary),
            verdicts(record),
            videos(record),
            attempts(record),
            offline(record),
            metrics(record),
            evaluations(record),
            _provenance(record),
            "<footer>Made by robot-rl report. Bands are 95 % intervals. "
            f"{time.strftime('%Y-%m-%d %H:%M')}</footer>",
        ]
    )
    return write_page(out or record.path / "report.html", f"{record.name}: robot_rl", body)


def _header(record: RunRecord) -> str:
    """Name, state, and what a reader must know of a run that is not over."""
    mood = {"finished": "good", "running": ""}.get(record.state, "bad")
    planned = record.status.get("steps")
    of = f" of {planned:,}" if planned else ""
    words = {
        "running": f"This run is still going on: it has done {record.step:,}{of} steps.",
        "killed": f"This run was killed after {record.step:,}{of} steps. "
        "All that it logged is shown; go on with it by --resume.",
        "failed": f"This run failed after {record.step:,}{of} steps: "
        f"{record.status.get('reason', 'no reason given')}.",
        "interrupted": f"This run was stopped after {record.step:,}{of} steps: "
        f"{record.status.get('reason', 'no reason given')}. Go on with it by --resume.",
        "unknown": f"This run does not say how it stands; it has logged {record.step:,} steps.",
    }.get(record.state)
    note = f'<div class="note">{html.escape(words)}</div>' if words else ""
    created = html.escape(str(record.about.get("created", ""))[:16].replace("T", " "))
    where = html.escape(environment_of(record.config))
    return (
        f'<header><h1>{html.escape(record.name)} <span class="badge {mood}">{record.state}'
        f'</span></h1><div class="soft">{where} · {created} · '
        f"git {html.escape(str(record.about.get('git', 'unknown')))}</div></header>{note}"
    )


def _headline(summary: RunSummary) -> str:
    """From where to where, in how many steps."""
    parts = []
    if summary.base and summary.policy != "base":
        parts.append(
            f'<div class="rate from">{rate(summary.base.mean)}'
            f"<small>base, {interval(summary.base)}</small></div>"
            '<div class="arrow">→</div>'
        )
    if summary.final:
        name = html.escape(summary.policy or "")
        at = "" if summary.final_step == summary.steps else f" at {summary.final_step:,}"
        parts.append(
            f'<div class="rate">{rate(summary.final.mean)}<small>{name}, '
            f"{interval(summary.final)}{at}</small></div>"
        )
        words = f"success after <b>{summary.steps:,} steps</b> and {summary.episodes:,} episodes"
    else:
        words = f"no evaluation yet, <b>{summary.steps:,} steps</b> done"
    return f'<section class="card hero">{"".join(parts)}<div class="words">{words}</div></section>'


def _tiles(summary: RunSummary) -> str:
    """The other figures."""

    def steps(value: int | None) -> str:
        return "not yet" if value is None else f"{value:,}"

    def dip(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} pts"

    def mood(value: float | None, is_certain: bool) -> str:
        if value is None:
            return ""
        return "good" if value <= ALLOWED_DIP else "bad" if is_certain else ""

    evaluated, executed, lowest = (
        summary.worst_eval_dip,
        summary.worst_executed_dip,
        summary.worst_window,
    )
    words = f"worst dip below the base, {WINDOW} executed episodes"
    is_certain = False
    if lowest is not None and summary.base is not None:
        words += f" ({interval(lowest)})"
        is_certain = lowest.high < summary.base.mean - ALLOWED_DIP
    cpu, wall = summary.cpu_s_per_1k_steps, summary.wall_s
    tiles = [
        tile(dip(evaluated), "worst dip below the base, evaluated", mood(evaluated, True)),
        tile(dip(executed), words, mood(executed, is_certain)),
        tile(steps(summary.steps_to_80), "steps to 80 %"),
        tile(steps(summary.steps_to_95), "steps to 95 %"),
        tile(rate(summary.area), "mean success over the run"),
        tile("–" if wall is None else duration(wall), "wall time"),
        tile("–" if cpu is None else f"{cpu:.1f} s", "CPU per 1,000 steps"),
    ]
    return f'<section class="card tiles">{"".join(tiles)}</section>'


def _provenance(record: RunRecord) -> str:
    """How to get this run again: command, revision, versions, configuration."""
    about = record.about
    versions = " · ".join(f"{k} {v}" for k, v in dict(about.get("versions") or {}).items())
    facts = {
        "git revision": about.get("git", "unknown"),
        "configuration hash": about.get("hash", "unknown"),
        "calibration": about.get("calibration") or "none (twin)",
        "versions": versions,
        "machine": about.get("machine", "unknown"),
        "started": about.get("created", "unknown"),
    }
    command = html.escape(str(about.get("command", "unknown")))
    again = card("Run it again", f"<pre>{command}</pre>{pairs(facts)}")
    return again + details("Configuration", pairs(flatten(record.config)))
