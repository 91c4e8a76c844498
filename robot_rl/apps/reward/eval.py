"""`robot-rl reward eval`: every figure of a judge, and a page that shows what it got wrong."""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.page import write_page
from robot_rl.apps.reward.data import cases_of, load_judge
from robot_rl.apps.reward.page import Shown, calibration, episodes, figures, kinds, tiles
from robot_rl.apps.reward.tables import figure_rows
from robot_rl.apps.threads import use_one_thread
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.evaluation import Case, Evaluation, evaluate, judge
from robot_rl.reward.progress import ProgressModel

__all__ = ["Cfg", "main", "page_of"]

MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward eval`."""

    model: Annotated[Path, tyro.conf.Positional]
    """Folder of the model."""
    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Episode stores that it was not trained on."""
    task: str = ""
    """The instruction; by default that of the task which the episodes name."""
    out: Path | None = None
    """Where to write the page (default: evaluation.html in the model's folder)."""


def main(cfg: Cfg) -> int:
    """Measure, print, and write the page; 1 if the model must not drive learning."""
    use_one_thread()
    model, detector = load_judge(cfg.model)
    cases = judge(model, cases_of(cfg.data, cfg.task))
    found = evaluate(cases, detector)
    out = Output()
    wins = sum(case.success for case in cases)
    title = f"{model.model_id} version {model.version} on {len(cases)} episodes, {wins} successes"
    out.table(title, ("figure", "value", "95 % interval"), figure_rows(found.figures))
    for words in found.failed_gates():
        out.line(f"gate failed: {words}")
    path = cfg.out or cfg.model / "evaluation.html"
    write_page(path, f"{model.model_id}: robot_rl", page_of(model, detector, cases, found))
    out.line(f"page: {path}")
    return 1 if found.failed_gates() else 0


def page_of(
    model: ProgressModel, detector: SuccessDetector, cases: Sequence[Case], found: Evaluation
) -> str:
    """The body of the page: the worst first."""
    failed = found.failed_gates()
    badge = ("may drive learning", "good") if not failed else ("must not drive learning", "bad")
    gates = detector.cfg
    about = (
        f"version {model.version} · threshold {gates.threshold:.3f} for {gates.hold_s:g} s"
        f"{_promise(gates)} · {len(cases)} episodes"
    )
    note = "".join(f'<div class="note">{html.escape(words)}</div>' for words in failed)
    return "".join(
        [
            f"<header><h1>{html.escape(model.model_id)} "
            f'<span class="badge {badge[1]}">{badge[0]}</span></h1>'
            f'<div class="soft">{html.escape(about)}</div></header>{note}',
            tiles(found),
            episodes(
                "False successes, worst first",
                _worst_failures(cases, found),
                detector,
                "Failures by the threshold that they would have passed; most passed none.",
            ),
            episodes("Missed successes", _missed(cases, found), detector),
            figures({model.model_id: found.figures}),
            kinds(cases, found),
            calibration(found),
            episodes("Successes", _some_successes(cases, found), detector),
            "<footer>Made by robot-rl reward eval. Bands are one standard deviation of the "
            f"ensemble. {time.strftime('%Y-%m-%d %H:%M')}</footer>",
        ]
    )


def _promise(gates: DetectorCfg) -> str:
    """What fitting the detector guarantees, if it was fitted."""
    if gates.most_false >= 1:
        return ""
    return f", passed by at most {gates.most_false:.1%} of failures like those it was fitted on"


def _worst_failures(cases: Sequence[Case], found: Evaluation) -> list[Shown]:
    """The failures that came nearest to success."""
    order = [int(k) for k in np.argsort(-found.held, kind="stable") if not cases[int(k)].success]
    return [_shown(cases[k], found, k) for k in order[:MOST_SHOWN]]


def _missed(cases: Sequence[Case], found: Evaluation) -> list[Shown]:
    """Successes that the detector did not see, the least likely first."""
    order = [int(k) for k in np.argsort(found.held, kind="stable")]
    missed = [k for k in order if cases[k].success and not found.verdict[k]]
    return [_shown(cases[k], found, k) for k in missed[:MOST_SHOWN]]


def _some_successes(cases: Sequence[Case], found: Evaluation) -> list[Shown]:
    wins = [k for k, case in enumerate(cases) if case.success and found.verdict[k]]
    return [_shown(cases[k], found, k) for k in wins[:6]]


def _shown(case: Case, found: Evaluation, k: int) -> Shown:
    """A case as the page shows it."""
    right = bool(found.verdict[k]) == case.success
    word = "success" if found.verdict[k] else "no success"
    return Shown(
        title=f"{case.kind}, {case.name}",
        badge=(word, "good" if right else "bad"),
        query=case.query,
        estimate=case.estimate,
        truth=case.progress,
        first_frame=found.first_frame[k],
    )
