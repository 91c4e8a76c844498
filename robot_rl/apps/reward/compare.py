"""`robot-rl reward compare`: several judges on the same episodes, figure by figure."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.page import write_page
from robot_rl.apps.reward.data import cases_of, load_judge
from robot_rl.apps.reward.page import figures
from robot_rl.apps.reward.tables import EXPLAINED, figure_text
from robot_rl.apps.threads import use_one_thread
from robot_rl.errors import ConfigError
from robot_rl.intervals import Interval
from robot_rl.reward.evaluation import evaluate, judge

__all__ = ["Cfg", "main"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward compare`."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the models."""
    data: tuple[Path, ...]
    """Episode stores that none of them was trained on."""
    task: str = ""
    """The instruction; by default that of the task which the episodes name."""
    out: Path | None = None
    """Where to write the page; without, only the table is printed."""


def main(cfg: Cfg) -> int:
    """Measure each model, and print them side by side."""
    if len(set(cfg.models)) < 2:
        raise ConfigError("give at least two different models to compare.")
    use_one_thread()
    cases = cases_of(cfg.data, cfg.task)
    found: dict[str, dict[str, Interval]] = {}
    for path in cfg.models:
        model, detector = load_judge(path)
        found[str(path)] = evaluate(judge(model, cases), detector).figures
    rows = [
        (
            f"{name}: {words}",
            *(
                f"{figure_text(f[name].mean)} "
                f"({figure_text(f[name].low)} … {figure_text(f[name].high)})"
                for f in found.values()
            ),
        )
        for name, words in EXPLAINED.items()
    ]
    out = Output()
    out.table(f"On {len(cases)} episodes", ("figure", *found), rows)
    if cfg.out is not None:
        foot = (
            f"<footer>Made by robot-rl reward compare. {time.strftime('%Y-%m-%d %H:%M')}</footer>"
        )
        body = f"<header><h1>Judges of progress</h1></header>{figures(found)}{foot}"
        write_page(cfg.out, "judges: robot_rl", body)
        out.line(f"page: {cfg.out}")
    return 0
