"""How far long work has come: a live bar on a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

__all__ = ["Progress"]


class Progress:
    """Shows steps, figures and the time left. Use as a context manager.

    Args:
        title: What is being done.
        total: Steps to do.
        stream: Where to write (default: standard error, so that output stays clean).
        quiet_every_s: Seconds between lines where `stream` is no terminal.
        start: Steps done before, by the run that this one goes on with.
    """

    def __init__(
        self,
        title: str,
        total: int,
        stream: TextIO | None = None,
        quiet_every_s: float = 30.0,
        start: int = 0,
    ) -> None:
        self.title, self.total, self.start = title, total, start
        self._stream = stream or sys.stderr
        self._quiet_every_s = quiet_every_s
        self._bar: Any = None
        self._started_s = self._last_line_s = time.monotonic()
        self._done = start
        self._figures: dict[str, float | str] = {}

    def __enter__(self) -> "Progress":
        """Start the clock, and the bar on a terminal."""
        self._started_s = self._last_line_s = time.monotonic()
        if self._stream.isatty():
            self._bar = _live_bar(self._stream)
            self._bar.start()
            self._task = self._bar.add_task(
                self.title, total=self.total, completed=self.start, figures=""
            )
        return self

    def update(self, done: int, **figures: float | str) -> None:
        """Say that `done` steps are done; figures (success=0.5, stage="warm-up") stay shown."""
        self._done = done
        self._figures |= figures
        if self._bar is not None:
            self._bar.update(self._task, completed=done, figures=_words(self._figures))
            return
        now_s = time.monotonic()
        if now_s - self._last_line_s >= self._quiet_every_s:
            self._last_line_s = now_s
            print(self.line(), file=self._stream, flush=True)

    def line(self) -> str:
        """The state as one line: `train 3200/20000 (16 %) success 0.52, 4:10 left`."""
        share = self._done / self.total if self.total else 1.0
        words = f"{self.title} {self._done}/{self.total} ({share:.0%}) {_words(self._figures)}"
        spent_s = time.monotonic() - self._started_s
        fresh = self._done - self.start
        if fresh > 0 and self._done < self.total:
            words += f", {_clock(spent_s * (self.total - self._done) / fresh)} left"
        else:
            words += f", {_clock(spent_s)}"
        return words.replace(" ,", ",")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen, or print it as the last line."""
        if self._bar is not None:
            self._bar.stop()
        else:
            print(self.line(), file=self._stream, flush=True)


def _live_bar(stream: TextIO) -> Any:
    """The bar for a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[cyan]{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        refresh_per_second=4,
    )


def _words(figures: Mapping[str, float | str]) -> str:
    """`success 0.52, stage warm-up`."""

    def text(value: float | str) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"

    return ", ".join(f"{name} {text(value)}" for name, value in figures.items())


def _clock(seconds: float) -> str:
    """`4:10` or `1:02:03`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    clock = f"{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
    return f"{hours}:{clock}" if hours else clock
