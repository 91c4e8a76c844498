"""Self-contained HTML pages: the frame, the style and the few parts that reports are made of.

Nothing on a page is fetched: a lab network may have no internet, and a page is sent by mail.
"""

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from robot_rl.apps.svg import WIDE, Curve, Level, plot
from robot_rl.config import write_atomically
from robot_rl.learn.statistics import Interval

__all__ = [
    "card",
    "details",
    "legend",
    "pairs",
    "rate",
    "table",
    "tile",
    "wide_plot",
    "write_page",
]

NARROW = (360, 240)


def write_page(path: Path, title: str, body: str) -> Path:
    """Write the page, whole or not at all."""
    style = resources.files("robot_rl.apps").joinpath("pages/style.css").read_text()
    write_atomically(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n",
    )
    return path


def card(title: str, body: str, note: str = "") -> str:
    """A titled box; `note` says in a sentence how to read it."""
    words = f'<p class="soft">{html.escape(note)}</p>' if note else ""
    return f'<section class="card"><h2>{html.escape(title)}</h2>{words}{body}</section>'


def details(title: str, body: str) -> str:
    """A box that opens on demand."""
    return (
        f'<section class="card"><details><summary>{html.escape(title)}</summary>'
        f"{body}</details></section>"
    )


def tile(value: str, words: str, mood: str = "") -> str:
    """One figure with what it means; mood is "", "good" or "bad"."""
    return (
        f'<div class="tile"><b class="{mood}">{html.escape(value)}</b>'
        f"<span>{html.escape(words)}</span></div>"
    )


def legend(marks: Mapping[str, str]) -> str:
    """Names and their colours."""
    spans = (
        f'<span style="--mark:var(--{color})">{html.escape(name)}</span>'
        for name, color in marks.items()
    )
    return f'<div class="legend">{"".join(spans)}</div>'


def wide_plot(
    curves: Sequence[Curve],
    title: str,
    levels: Sequence[Level] = (),
    x_max: float | None = None,
    height: int = WIDE[1],
) -> str:
    """A plot of rates over the page's width; a phone gets its own, drawn for its size."""
    shared = {"title": title, "levels": levels, "percent": True, "x_max": x_max}
    wide = plot(curves, size=(WIDE[0], height), **shared)
    narrow = plot(curves, size=NARROW, **shared)
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table of HTML cells; all but the first columns hold numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="{"n" if i >= text_columns else ""}">{cell}</{tag}>'
            for i, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def pairs(values: Mapping[str, object]) -> str:
    """Keys and values as a two-column table."""
    rows = "".join(
        f'<tr><td class="key">{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>'
        for key, value in values.items()
    )
    return f'<div class="scroll"><table>{rows}</table></div>'


def rate(value: float | None) -> str:
    """`48 %`, or a dash where nothing is known."""
    return "–" if value is None else f"{value:.0%}".replace("%", "\u2009%")


def interval(value: Interval) -> str:
    """`41–55 %`."""
    return f"{100 * value.low:.0f}–{100 * value.high:.0f}\u2009%"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
