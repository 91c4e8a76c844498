"""Plots as inline SVG: crisp at any size, coloured by the page, no script, no network.

Colours are names of CSS variables (`c1` ... `c6`, `soft`), so that one plot serves light and dark.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.types import F64

__all__ = ["WIDE", "Curve", "Level", "plot", "short_number", "thin_out"]

WIDE = (920, 330)
SMALL = (360, 210)
MAX_POINTS = 300


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One line over x with an optional band; without `y`, the band alone, filled."""

    x: ArrayLike  # (n,)
    y: ArrayLike | None = None  # (n,), NaN where unknown
    low: ArrayLike | None = None  # (n,)
    high: ArrayLike | None = None  # (n,)
    color: str = "c1"
    has_dots: bool = False
    dot_colors: Sequence[str] = ()  # one a point (default: the curve's)
    tips: Sequence[str] = ()  # one a point, shown when a pointer rests on the dot


@dataclass(frozen=True, kw_only=True)
class Level:
    """A horizontal line with an optional band, such as the base's success."""

    y: float
    low: float | None = None
    high: float | None = None
    color: str = "soft"


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Maps data to pixels."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Pixel of a data x."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixel of a data y, kept inside the frame."""
        low, high = self.y_range
        value = min(max(value, low), high)
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def plot(
    curves: Sequence[Curve],
    *,
    title: str,
    levels: Sequence[Level] = (),
    percent: bool = False,
    x_label: str = "environment steps",
    size: tuple[int, int] = SMALL,
    x_max: float | None = None,
) -> str:
    """An SVG picture of the curves.

    Args:
        curves: Painted in this order.
        title: What a screen reader says of it.
        levels: Painted below the curves.
        percent: The y axis runs from 0 to 100 % of rates in [0, 1].
        x_label: Below the x axis.
        size: Width and height of the view box [px].
        x_max: Right end of the x axis (default: that of the data).
    """
    width, height = size
    ys = [
        np.concatenate([_array(v) for v in (c.y, c.low, c.high) if v is not None]) for c in curves
    ]
    y_range = (0.0, 1.0) if percent else _range([*ys, np.array([v.y for v in levels])])
    xs = [_array(c.x) for c in curves]
    ends = [float(x.max()) for x in xs if len(x)]
    starts = [float(x.min()) for x in xs if len(x)]
    low, high = min([0.0, *starts]), max([*ends, x_max or 0.0], default=1.0)
    frame = _Frame(
        left=44,
        top=10,
        right=width - 14,
        bottom=height - (36 if x_label else 22),
        x_range=(low, high if high > low else low + 1),
        y_range=y_range,
    )
    body = _axes(frame, percent, x_label, height)
    body += "".join(_level(frame, level) for level in levels)
    body += "".join(_curve(frame, curve) for curve in curves)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(title)}">'
        f"{body}</svg>"
    )


def thin_out(x: ArrayLike, y: ArrayLike, points: int = MAX_POINTS) -> tuple[F64, F64]:
    """At most `points` means of neighbours, so that a page stays small: two arrays (k,)."""
    x, y = _array(x), _array(y)
    if len(x) <= points:
        return x, y
    groups = np.array_split(np.arange(len(x)), points)
    with np.errstate(invalid="ignore"):
        means = [
            float(np.mean(y[g][np.isfinite(y[g])])) if np.isfinite(y[g]).any() else math.nan
            for g in groups
        ]
    return np.array([x[g].mean() for g in groups]), np.array(means)


def short_number(value: float) -> str:
    """`15k`, `0.25`, `1.5M`, `2e-05`: as few characters as tell it."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e3:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}"


def _axes(frame: _Frame, percent: bool, x_label: str, height: int) -> str:
    """Grid lines, ticks and labels."""
    parts = []
    ticks = (0, 0.25, 0.5, 0.75, 1) if percent else _ticks(*frame.y_range, count=4)
    for tick in ticks:
        y = frame.y(tick)
        words = f"{tick:.0%}" if percent else short_number(tick)
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
        )
    ticks = _ticks(
        *frame.x_range,
        count=max(3, round((frame.right - frame.left) / (90 if frame.right > 500 else 60))),
    )
    for tick in ticks:
        parts.append(
            f'<text x="{frame.x(tick):.1f}" y="{frame.bottom + 16:.1f}" '
            f'text-anchor="middle">{short_number(tick)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(frame.left + frame.right) / 2:.0f}" y="{height - 4}" '
        f'text-anchor="middle">{html.escape(x_label)}</text>'
    )
    return "".join(parts)


def _level(frame: _Frame, level: Level) -> str:
    """A dashed line and its band."""
    y, paint = frame.y(level.y), f"var(--{level.color})"
    band = ""
    if level.low is not None and level.high is not None:
        top, bottom = frame.y(level.high), frame.y(level.low)
        band = (
            f'<rect x="{frame.left}" y="{top:.1f}" width="{frame.right - frame.left}" '
            f'height="{bottom - top:.1f}" fill="{paint}" opacity="0.10"/>'
        )
    return (
        f'{band}<line x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}" '
        f'stroke="{paint}" stroke-width="1.5" stroke-dasharray="5 4"/>'
    )


def _curve(frame: _Frame, curve: Curve) -> str:
    """Band, line and dots of one curve."""
    paint, x = f"var(--{curve.color})", _array(curve.x)
    parts = []
    if curve.low is not None and curve.high is not None and len(x):
        low, high = _array(curve.low), _array(curve.high)
        keep = np.isfinite(low) & np.isfinite(high)
        up = [
            f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(x[keep], high[keep], strict=True)
        ]
        down = [
            f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(x[keep], low[keep], strict=True)
        ]
        opacity = 0.18 if curve.y is not None else 0.8
        points = " ".join(up + down[::-1])
        parts.append(f'<polygon points="{points}" fill="{paint}" opacity="{opacity}"/>')
    if curve.y is None:
        return "".join(parts)
    y = _array(curve.y)
    path, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if math.isfinite(b):
            path.append(f"{pen}{frame.x(a):.1f} {frame.y(b):.1f}")
            pen = "L"
        else:
            pen = "M"
    parts.append(
        f'<path d="{"".join(path)}" fill="none" stroke="{paint}" stroke-width="2" '
        'stroke-linejoin="round" stroke-linecap="round"/>'
    )
    if curve.has_dots:
        for i, (a, b) in enumerate(zip(x, y, strict=True)):
            if math.isfinite(b):
                dot = f"var(--{curve.dot_colors[i]})" if curve.dot_colors else paint
                tip = f"<title>{html.escape(curve.tips[i])}</title>" if curve.tips else ""
                parts.append(
                    f'<circle cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3.5" '
                    f'fill="{dot}" stroke="var(--card)" stroke-width="1.5">{tip}</circle>'
                )
    return "".join(parts)


def _array(values: ArrayLike) -> F64:
    """As float64; None becomes NaN."""
    return np.array(
        [math.nan if v is None else v for v in np.asarray(values, object).ravel()], np.float64
    )


def _range(values: Sequence[F64]) -> tuple[float, float]:
    """What the y axis must span, with a little air."""
    every = np.concatenate([np.zeros(0), *values])
    every = every[np.isfinite(every)]
    if len(every) == 0:
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    air = 0.06 * (high - low) or max(abs(high) * 0.1, 1e-9)
    return (low if low == 0 else low - air), high + air


def _ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers within [low, high]."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    ticks = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return [0.0 if abs(t) < step * 1e-9 else t for t in ticks]
