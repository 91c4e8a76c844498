"""What every robot must do to be learned on: one public suite for fake, twin and real ports.

command:   … → decode → safety → **send**

`check_port(factory)` raises `ConformanceError`, which names the broken clause. It moves the arms
by at most a tenth of a radian around where `reset` puts them.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from robot_rl.env.clauses import CLAUSES, FAILURES, REPEATABLE
from robot_rl.env.port import RobotPort
from robot_rl.errors import RobotRLError

__all__ = ["ConformanceError", "check_port"]

PortFactory = Callable[[], RobotPort]


class ConformanceError(RobotRLError):
    """A port breaks a clause of the contract."""

    def __init__(self, clause: str, found: str) -> None:
        super().__init__(f"port breaks the clause '{clause}': {found}")
        self.clause = clause


def check_port(port_factory: PortFactory, *, resets_repeat: bool = True) -> None:
    """Check a port against every clause of the contract, in order.

    Args:
        port_factory: Makes a new, unconnected port at each call; each is closed before the next.
        resets_repeat: Whether the port claims that equal seeds give equal episodes; a real robot
            whose scene a person restores does not.

    Raises:
        ConformanceError: The first clause that the port breaks.
    """
    for name, clause in CLAUSES.items():
        if name == REPEATABLE and not resets_repeat:
            continue
        held = _held()
        port = port_factory()
        if opened := _held() - held:
            raise ConformanceError("a constructor does no I/O", f"it opened {sorted(opened)}.")
        found = None
        try:
            found = clause(port)
            port.close()
        except FAILURES as error:
            found = f"it raised {error!r}."
        finally:
            with suppress(*FAILURES):
                port.close()  # no broken clause may leave a robot moving
        if found:
            raise ConformanceError(name, found)


def _held() -> set[str]:
    """Threads and open files (where the system tells: Linux) of this process."""
    files = Path("/proc/self/fd")
    opened = {f"file {fd.name}" for fd in files.iterdir()} if files.exists() else set()
    return opened | {f"thread {thread.name}" for thread in threading.enumerate()}
