"""What an operator sees while recording: state, timer, streams, keymap; one line each in a log.

learning:  **person's verdicts** → transition → episode store → progress model → ...
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TextIO

from robot_rl.teleop.devices.keymap import legend

__all__ = ["RecordScreen", "Shown"]

_COLOURS = {"recording": "bold white on red", "countdown": "black on yellow"}
_COLOURS |= {"idle": "black on cyan", "reset": "black on white", "done": "black on green"}
_BAR_CELLS = 30


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One moment of a recording session.

    Attributes:
        status: `Session.status`.
        remaining_share: Share of the present state's time that is left; None without a timer.
        steps: Of the open episode.
        ages_s: Age of each stream at the last step.
        max_age_s: Older streams are shown in red.
        note: From the device.
        source: Who drives.
        figures: Further facts in a line.
    """

    status: Mapping[str, Any]
    remaining_share: float | None = None
    steps: int = 0
    ages_s: Mapping[str, float] = field(default_factory=dict)
    max_age_s: float = float("inf")
    note: str = ""
    source: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)


class RecordScreen:
    """A live panel on a terminal; elsewhere a line whenever the state changes."""

    def __init__(
        self, device: str, *, title: str, has_keys: bool = True, stream: TextIO | None = None
    ) -> None:
        """Show the keymap of `device`, and of the keyboard beside it, on standard error."""
        self._stream = stream or sys.stderr
        self._title, self._legend = title, legend(device, with_keyboard=has_keys)
        self._live: Any = None
        self._state = ""
        self._line = ""

    def __enter__(self) -> "RecordScreen":
        """Start the panel, or print the keymap once."""
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), refresh_per_second=8)
            self._live.start()
        else:
            print(self._title, file=self._stream)
            for press, does in self._legend:
                print(f"  {press:<24} {does}", file=self._stream, flush=True)
        return self

    def update(self, shown: Shown) -> None:
        """Show another moment; never waits for the terminal's eyes."""
        state = str(shown.status["state"])
        if self._live is not None:
            if state != self._state:
                self._live.console.bell()
            self._live.update(self._panel(shown))
        elif (line := f"{state}: {_counts(shown.status)}{_reason(shown)}") != self._line:
            self._line = line
            print(line, file=self._stream, flush=True)
        self._state = state

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last moment on the screen."""
        if self._live is not None:
            self._live.stop()

    def _panel(self, shown: Shown) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        state = str(shown.status["state"])
        head = Text(f" {state.upper()} ", _COLOURS.get(state, ""))
        head.append(f"  {_counts(shown.status)}", "default on default")
        lines = [head, _timer(shown, Text)]
        if shown.steps:
            driven = f", {shown.source} drives" if shown.source else ""
            lines.append(Text(f"{shown.steps} steps{driven}"))
        ages = Text()
        for name, age_s in shown.ages_s.items():
            is_old = age_s > shown.max_age_s
            ages.append(f"{name} {1e3 * age_s:.0f} ms  ", "bold red" if is_old else "green")
        lines.append(ages)
        lines += [Text(f"{name}: {value}", "dim") for name, value in shown.figures.items()]
        if reason := shown.status["reason"]:
            lines.append(Text(str(reason), "bold yellow"))
        if shown.note:
            lines.append(Text(shown.note, "yellow"))
        keys = Table.grid(padding=(0, 2))
        for press, does in self._legend:
            keys.add_row(Text(press, "bold"), does)
        return Panel(Group(*lines, Text(), keys), title=self._title, title_align="left")


def _counts(status: Mapping[str, Any]) -> str:
    """`2 of 20, 1 failed, 3 in the trash`."""
    words = f"{status['successes']} of {status['episodes']}"
    if status["failures"]:
        words += f", {status['failures']} failed"
    if status["trashed"]:
        words += f", {status['trashed']} in the trash"
    return words


def _reason(shown: Shown) -> str:
    reason = shown.status["reason"] or shown.note
    return f" ({reason})" if reason else ""


def _timer(shown: Shown, text: Any) -> Any:
    """A bar that runs down, with seconds."""
    if shown.remaining_share is None:
        return text("press start", "bold")
    full = round(_BAR_CELLS * shown.remaining_share)
    bar = text("█" * full, "cyan")
    bar.append("░" * (_BAR_CELLS - full), "dim")
    bar.append(f" {shown.status['remaining_s']:.1f} s")
    return bar
