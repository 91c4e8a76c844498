"""Tables and lines of `robot-rl data`: whole in a terminal, whole in a pipe.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_rl.replay.schema import EpisodeInfo

__all__ = ["Output", "rate_text", "size_text"]


def _console() -> Console:
    """The terminal as wide as it is; a pipe wide enough that no cell is folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


@dataclass(kw_only=True)
class Output:
    """Where tables and lines go."""

    console: Console = field(default_factory=_console)

    def line(self, text: str) -> None:
        """Print one line."""
        self.console.print(escape(text), soft_wrap=True)  # paths stay whole to be copied

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print one table; ids are never folded."""
        table = Table(title=escape(title), title_justify="left")
        for name in columns:
            table.add_column(name, overflow="fold", no_wrap=name == "id")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self.console.print(table)


def size_text(folder: Path) -> str:
    """Bytes below a folder, for people."""
    size = float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"


def rate_text(infos: Sequence[EpisodeInfo]) -> str:
    """Successes among the labelled episodes."""
    labelled = [info for info in infos if info.outcome != "unknown"]
    if not labelled:
        return "none labelled"
    wins = sum(info.outcome == "success" for info in labelled)
    return f"{wins} of {len(labelled)} ({wins / len(labelled):.0%})"
