"""What a run has left so far, for those who look at it: the run may be over, running or dead.

learning:  transition → … → agent → weights; the record is what reports and comparisons read.
"""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.errors import DataError
from robot_rl.learn.jsonl import read_lines

__all__ = ["LOGS", "RunRecord", "read_json"]

LOGS = ("metrics", "evals", "episodes", "clock", "offline", "attempts")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """All that a run has left so far; the run may be over, running or dead."""

    path: Path
    config: Mapping[str, Any]
    about: Mapping[str, Any]  # git, versions, command, hash ...
    status: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    evals: Sequence[Mapping[str, Any]]
    episodes: Sequence[Mapping[str, Any]]
    clock: Sequence[Mapping[str, Any]]
    offline: Sequence[Mapping[str, Any]] = ()  # of learning without acting, by update
    attempts: Sequence[Mapping[str, Any]] = ()  # there and back, where nobody resets the scene

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a run's folder.

        Raises:
            DataError: There is no run in `path`.
        """
        path = Path(path)
        about = read_json(path / "config.json")
        if about is None or "config" not in about:
            raise DataError(
                f"{path} holds no run: config.json is missing or damaged. "
                "Give the folder of a run, such as runs/peg-s0."
            )
        logs = {name: read_lines(path / f"{name}.jsonl") for name in LOGS}
        config = about.pop("config")
        status = read_json(path / "status.json") or {"state": "unknown"}
        return cls(path=path, config=config, about=about, status=status, **logs)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def state(self) -> str:
        """How the run stands: finished | running | failed | interrupted | killed.

        A killed run says that it is running, but its process has gone.
        """
        state = self.status.get("state", "unknown")
        if state != "running" or self.status.get("host") != socket.gethostname():
            return state
        return "running" if _is_alive(self.status.get("pid")) else "killed"

    @property
    def step(self) -> int:
        """The last environment step that any log knows."""
        rows = [log[-1].get("step", 0) for log in (self.metrics, self.evals, self.episodes) if log]
        return max(rows, default=0)


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's object, or None if it is missing or damaged."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _is_alive(pid: Any) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True
