"""`robot-rl doctor`: what works on this machine, and how to mend what does not."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from robot_rl.apps.checks import cameras, compute, graph, ros, storage, timing, twin
from robot_rl.apps.checks.finding import Finding
from robot_rl.errors import ConfigError

__all__ = ["Cfg", "examine", "main"]

SIGNS = {
    "ok": "[green]✓[/]",
    "slow": "[yellow]~[/]",
    "absent": "[dim]·[/]",
    "broken": "[bold red]✗[/]",
}


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """What to look at, and how to say it."""

    folder: Path = Path(".")
    """Where runs and episodes will be written; its disk is measured."""
    json: bool = False
    """Print the findings as JSON instead of a table."""
    ros: bool = False
    """Listen to the running ROS graph instead, and explain its rates, ages and losses."""
    namespace: str = "/robot"
    """With --ros, the robot's namespace."""
    listen_s: float = 2.0
    """With --ros, how long to listen."""

    def __post_init__(self) -> None:
        """Refuse to listen for no time."""
        if not self.listen_s > 0:
            raise ConfigError(f"listen_s is {self.listen_s}, but must be positive.")


def examine(cfg: Cfg) -> list[Finding]:
    """Run all checks, or those of the running graph."""
    if cfg.ros:
        return _examine_graph(cfg)
    checks: list[Callable[[], list[Finding]]] = [
        compute.check,
        twin.check,
        cameras.check,
        ros.check,
        lambda: storage.check(cfg.folder),
        timing.check,
    ]
    return [finding for check in checks for finding in check()]


def _examine_graph(cfg: Cfg) -> list[Finding]:
    findings = ros.check()
    rclpy_works = findings[0].status in ("ok", "slow")
    return [*findings, *(graph.check(cfg.namespace, cfg.listen_s) if rclpy_works else [])]


def main(cfg: Cfg) -> int:
    """Print what was found.

    Returns:
        1 if something is broken, else 0; what is absent or slow does not count.
    """
    findings = examine(cfg)
    if cfg.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    return int(any(finding.status == "broken" for finding in findings))


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"robot-rl {version('robot-rl')} on {platform.platform(terse=True)}",
        title_justify="left",
        show_header=False,
        box=None,
        padding=(0, 1),
    )
    for finding in findings:
        text = Text(finding.detail)
        if finding.mend:
            text.append(f"\n→ {finding.mend}", style="cyan")
        table.add_row(SIGNS[finding.status], f"[bold]{finding.name}[/]", text)
    console = Console()
    console.print(table)
    console.print("[dim]✓ works   ~ works, worse than it could   · absent, optional   ✗ broken[/]")
