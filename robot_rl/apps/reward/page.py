"""The parts of a judge's page: its figures, what fooled it most, how far to trust it."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from robot_rl.apps.page import card, legend, table, tile
from robot_rl.apps.reward.tables import EXPLAINED, figure_text, mood_of
from robot_rl.apps.svg import Curve, Level, plot
from robot_rl.intervals import Interval
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.evaluation import Case, Evaluation
from robot_rl.reward.progress import ProgressEstimate, ProgressQuery
from robot_rl.types import F64, U8

__all__ = ["Shown", "calibration", "episodes", "figures", "kinds", "tiles"]

STRIP_FRAMES = 6
STRIP_HEIGHT_PX = 72
HEADLINE = ("voc", "mae", "false_positive", "any_time_false_positive", "recall", "roc_auc")
SHORT = {
    "voc": "order of successes (VOC)",
    "mae": "mean error of progress",
    "false_positive": "failures called success",
    "any_time_false_positive": "called success at any time",
    "recall": "successes seen",
    "roc_auc": "area under the ROC curve",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One episode to look at.

    Attributes:
        title: What it is.
        badge: A word about it, and "good", "bad" or "" for its colour.
        query, estimate: What was judged, and how.
        truth: True progress (T,), NaN where unknown; None for none.
        first_frame: Where the detector would have ended it.
    """

    title: str
    badge: tuple[str, str]
    query: ProgressQuery
    estimate: ProgressEstimate
    truth: F64 | None = None
    first_frame: int | None = None


def tiles(evaluation: Evaluation) -> str:
    """The figures that decide."""
    found = evaluation.figures
    boxes = [
        tile(figure_text(found[n].mean), SHORT[n], mood_of(n, found[n].mean)) for n in HEADLINE
    ]
    return f'<section class="card tiles">{"".join(boxes)}</section>'


def figures(named: Mapping[str, Mapping[str, Interval]]) -> str:
    """All figures, one column a model, with intervals."""
    rows = []
    for name, words in EXPLAINED.items():
        row = [f"<b>{name}</b> <small>{html.escape(words)}</small>"]
        for found in named.values():
            value = found[name]
            mood = mood_of(name, value.mean)
            low, high = figure_text(value.low), figure_text(value.high)
            row.append(
                f'<b class="{mood}">{figure_text(value.mean)}</b> <small>{low} … {high}</small>'
            )
        rows.append(row)
    note = "In small: what it is, and its 95 % interval over episodes."
    head = ["figure", *(html.escape(name) for name in named)]
    return card("Figures", table(head, rows), note)


def kinds(cases: Sequence[Case], evaluation: Evaluation) -> str:
    """What the detector says of each kind of episode."""
    rows = []
    for kind in dict.fromkeys(case.kind for case in cases):
        which = np.array([case.kind == kind for case in cases])
        called = evaluation.verdict[which].mean()
        ever = np.mean(
            [f is not None for f, w in zip(evaluation.first_frame, which, strict=True) if w]
        )
        best = float(evaluation.held[which].max())
        rows.append(
            [
                html.escape(kind),
                str(int(which.sum())),
                f"{called:.0%}",
                f"{ever:.0%}",
                figure_text(best),
            ]
        )
    head = ["kind", "episodes", "called success", "at any time", "best held probability"]
    return card("Kinds of episodes", table(head, rows))


def calibration(evaluation: Evaluation) -> str:
    """Whether a probability means what it says."""
    bins = evaluation.calibration
    if not bins:
        return ""
    said, true, frames = (list(column) for column in zip(*bins, strict=True))
    picture = plot(
        [
            Curve(x=[0, 1], y=[0, 1], color="soft"),
            Curve(
                x=said,
                y=true,
                has_dots=True,
                tips=[f"{n} frames: said {p:.2f}, true {y:.2f}" for p, y, n in bins],
            ),
        ],
        title="share of frames that were done against the probability that was said",
        percent=True,
        x_label="probability that was said",
        x_max=1.0,
        size=(420, 300),
    )
    note = (
        f"Frames that truly were a success, of those given a probability; {sum(frames):,} frames. "
        "On the grey line a probability means what it says."
    )
    return card("Calibration", f'<div style="max-width:460px">{picture}</div>', note)


def episodes(title: str, shown: Iterable[Shown], detector: SuccessDetector, note: str = "") -> str:
    """Curves over film strips, in the order given; nothing if there are none."""
    figures = [_figure(each, detector) for each in shown]
    if not figures:
        return ""
    marks = {"progress": "c1", "probability of success": "c3", "true progress": "c2"}
    marks |= {"threshold of success": "bad"}
    return card(title, legend(marks) + f'<div class="videos">{"".join(figures)}</div>', note)


def _figure(shown: Shown, detector: SuccessDetector) -> str:
    """One episode: its film, its curves, its name."""
    estimate, query = shown.estimate, shown.query
    t = query.stamps_s - query.stamps_s[0]
    low, high = estimate.progress - estimate.sigma, estimate.progress + estimate.sigma
    curves = [
        Curve(x=t, y=estimate.progress, low=low, high=high, color="c1"),
        Curve(x=t, y=detector.probability(estimate), color="c3"),
    ]
    if shown.truth is not None and np.isfinite(shown.truth).any():
        known = np.isfinite(shown.truth)
        curves.append(Curve(x=t[known], y=shown.truth[known], color="c2"))
    picture = plot(
        curves,
        title=f"progress and success of {shown.title}",
        levels=[Level(y=detector.cfg.threshold, color="bad")],
        percent=True,
        x_label="seconds",
        x_max=float(t[-1]),
    )
    word, mood = shown.badge
    when = "" if shown.first_frame is None else f", success called at {t[shown.first_frame]:.1f} s"
    return (
        f"<figure>{_strip(query)}{picture}<figcaption>"
        f'<span class="badge {mood}">{html.escape(word)}</span> '
        f"{html.escape(shown.title)}{when}</figcaption></figure>"
    )


def _strip(query: ProgressQuery) -> str:
    """Some frames side by side, over the time axis of the plot; one row a camera."""
    if not query.frames:
        return ""
    rows = np.linspace(0, len(query) - 1, STRIP_FRAMES).round().astype(int)
    strips = [_film(query.frames[name][rows]) for name in sorted(query.frames)]
    width = min(strip.shape[1] for strip in strips)
    film = np.vstack([strip[:, :width] for strip in strips])
    done, data = cv2.imencode(".jpg", film[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done  # uint8 RGB always can be encoded
    text = base64.b64encode(data.tobytes()).decode()
    names = html.escape(", ".join(sorted(query.frames)))
    return f'<img alt="frames of the episode: {names}" src="data:image/jpeg;base64,{text}">'


def _film(shots: U8) -> U8:
    """Images (n, h, w, 3) side by side."""
    height, width = shots.shape[1:3]
    size = (max(round(width * STRIP_HEIGHT_PX / height), 1), STRIP_HEIGHT_PX)
    small = [cv2.resize(shot, size, interpolation=cv2.INTER_AREA) for shot in shots]
    return np.hstack(small).astype(np.uint8)
