"""Processes that hide what they are: one end asks, the other serves, a JSON object a line.

`sim.identify.hidden` hides robots so, `sim.explore.hidden` worlds. Nothing but answers leaves the
process, and after `reveal`, which tells the truth, it answers no more: what was fitted cannot have
seen it.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Self

from robot_rl.errors import DataError, PortError, RobotRLError

__all__ = ["HiddenProcess", "serve"]


class HiddenProcess:
    """The asking end.

    Args:
        name: For messages.
        module: What the process runs.
        words: Its arguments.
    """

    def __init__(self, name: str, module: str, *words: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it. Calling it twice is harmless."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer.

        Raises:
            PortError: It refuses, or has gone.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError) as error:
            raise PortError(f"{self._name} has gone: {error}.") from error
        if not line:
            raise PortError(f"{self._name} has gone without a word.")
        answer = json.loads(line)
        if "error" in answer:
            raise PortError(f"{self._name} refuses: {answer['error']}")
        return answer


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The serving end, on standard input and output, until the other hangs up."""
    is_revealed = False
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if is_revealed:
                raise DataError("it was revealed, and serves no more.")
            said = answer(request)
            is_revealed = request["do"] == "reveal"
        except (RobotRLError, ValueError, KeyError) as error:
            said = {"error": str(error)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
