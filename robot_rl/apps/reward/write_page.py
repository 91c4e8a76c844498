"""The page of a search for a written function: what was asked, answered, measured and found."""

import html
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.apps.page import card, details, table, tile
from robot_rl.apps.reward.page import Shown, episodes, figures
from robot_rl.apps.reward.tables import figure_text
from robot_rl.apps.svg import Curve, plot
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.evaluation import Case, Evaluation
from robot_rl.reward.written.candidate import Candidate
from robot_rl.reward.written.model import WrittenModel
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.scoring import Figures
from robot_rl.reward.written.search import Round

__all__ = ["Measured", "body_of"]

MOST_SHOWN = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was found, on episodes: which, its detector, how it judges them, and the figures."""

    title: str
    detector: SuccessDetector
    cases: list[Case]
    evaluation: Evaluation


def body_of(
    schema: StateSchema,
    rounds: Sequence[Round],
    best: Candidate | None,
    model: WrittenModel | None,
    found: Measured | None,
) -> str:
    """The body of the page.

    Args:
        schema: The task and its state.
        rounds: All that was asked and answered.
        best: What was chosen; None if nothing was accepted.
        model: The same as a model, which has been asked.
        found: How it does on episodes.
    """
    parts = [_head(schema, rounds, best)]
    if best is not None and best.figures is not None and model is not None:
        parts += [_tiles(best.figures), _source(best, model)]
        parts.append(_components(best.figures))
    if found is not None and model is not None:
        parts.append(episodes(found.title, _shown(found), found.detector))
        parts.append(figures({model.model_id: found.evaluation.figures}))
    parts += [_history(rounds), _answers(rounds), _state(schema)]
    parts += [
        details(f"What was asked in round {each.number + 1}", _text(each.prompt))
        for each in rounds
    ]
    made = f"Made by robot-rl reward write. {time.strftime('%Y-%m-%d %H:%M')}"
    return "".join([*parts, f"<footer>{made}</footer>"])


def _head(schema: StateSchema, rounds: Sequence[Round], best: Candidate | None) -> str:
    asked = sum(len(each.candidates) for each in rounds)
    accepted = sum(c.figures is not None for each in rounds for c in each.candidates)
    badge = '<span class="badge bad">nothing accepted</span>'
    if best is not None:
        badge = f'<span class="badge good">answer {best.round + 1}.{best.index + 1}</span>'
    return (
        f"<header><h1>Progress as a function: {html.escape(schema.instruction)} {badge}</h1>"
        f'<div class="soft">{len(rounds)} rounds, {asked} answers, {accepted} of them '
        "accepted</div></header>"
    )


def _tiles(figures: Figures) -> str:
    """The figures by which the best was chosen."""
    boxes = [
        tile(figure_text(figures.worth), "worth, by which functions are chosen"),
        tile(figure_text(figures.voc), "order of successes (VOC)"),
        tile(figure_text(figures.auc), "success ends above what failures hold"),
        tile(f"{figures.fooled:.0%}", "of the attacks fooled it"),
        tile(figure_text(figures.drop), "longest fall on a success, mean"),
        tile(f"{figures.took_ms:.1f} ms", f"in the sandbox for {figures.states} states"),
    ]
    return f'<section class="card tiles">{"".join(boxes)}</section>'


def _source(best: Candidate, model: WrittenModel) -> str:
    """The function, and where it ran."""
    walls = ", ".join(model.sandbox.walls) or "none that could be raised"
    scale = model.scale
    note = (
        f"Progress = (value - {scale.low:.3g}) / ({scale.high:.3g} - {scale.low:.3g}), between 0 "
        f"and 1. Functions run in a process of their own with these walls: {walls}."
    )
    return card("The function", _text(best.source), note)


def _components(figures: Figures) -> str:
    rows = [
        [
            f"<b>{html.escape(name)}</b>",
            *(figure_text(v) for v in (part.start, part.middle, part.end, part.failed)),
            figure_text(part.order),
        ]
        for name, part in figures.components.items()
    ]
    head = ["component", "start", "middle", "end", "end of failures", "order in time"]
    note = "Means over the successes that functions were chosen by, as the function gives them."
    return card("Components", table(head, rows), note)


def _shown(found: Measured) -> list[Shown]:
    """Some successes, and some failures."""
    cases, evaluation = found.cases, found.evaluation
    rows = [
        [k for k, case in enumerate(cases) if case.success == won][: MOST_SHOWN // 2]
        for won in (True, False)
    ]
    return [
        Shown(
            title=f"{cases[k].kind}, {cases[k].name}",
            badge=(
                "success" if evaluation.verdict[k] else "no success",
                "good" if bool(evaluation.verdict[k]) == cases[k].success else "bad",
            ),
            query=cases[k].query,
            estimate=cases[k].estimate,
            truth=cases[k].progress,
            first_frame=evaluation.first_frame[k],
        )
        for part in rows
        for k in part
    ]


def _history(rounds: Sequence[Round]) -> str:
    """Worth of every accepted answer, and of the best until then."""
    answers = [c for each in rounds for c in each.candidates]
    worth = [c.figures.worth if c.figures else math.nan for c in answers]
    if not any(c.figures for c in answers):
        return ""
    numbers, best = range(1, len(answers) + 1), np.fmax.accumulate(worth)
    dots = [
        Curve(
            x=[number],
            y=[value],
            color="c3",
            has_dots=True,
            tips=[f"answer {c.round + 1}.{c.index + 1}: {value:.3f}"],
        )
        for number, value, c in zip(numbers, worth, answers, strict=True)
        if c.figures
    ]
    picture = plot(
        [Curve(x=numbers, y=best, color="c1"), *dots],
        title="worth of the accepted answers, and of the best until then",
        percent=True,
        x_label="answers",
        size=(920, 240),
    )
    note = "Each dot is an accepted answer; the line is the best until then."
    return card("How the search went", picture, note)


def _answers(rounds: Sequence[Round]) -> str:
    """Every answer: its figures, or why it was refused."""
    rows = []
    for each in rounds:
        for c in each.candidates:
            name = f"{c.round + 1}.{c.index + 1}"
            if c.figures is None:
                rows.append([name, f'<span class="bad">{html.escape(c.failure)}</span>', *"–––––"])
                continue
            f, words = c.figures, html.escape(c.trial.words) if c.trial else "accepted"
            values = (f.worth, f.voc, f.auc, f.fooled, f.drop)
            rows.append([name, words, *(figure_text(value) for value in values)])
    head = ["answer", "what became of it", "worth", "order", "separation", "fooled", "fall"]
    return card("Answers", table(head, rows, text_columns=2))


def _state(schema: StateSchema) -> str:
    rows = [
        [html.escape(str(part)) for part in (f.name, f.size, f.unit, f.frame, f.meaning)]
        for f in schema.fields
    ]
    return card("The state", table(["field", "numbers", "unit", "frame", "meaning"], rows, 5))


def _text(text: str) -> str:
    return f"<pre>{html.escape(text.strip())}</pre>"
