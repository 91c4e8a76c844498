"""Logs of one JSON object a line: flushed per line, readable after a kill at any byte.

learning:  transition → … → agent → weights; these lines are what is known of it afterwards.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_rl.config import to_plain

__all__ = ["JsonLines", "read_lines"]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of the file; a last line cut short by a kill is left out.

    A file that does not exist has no lines.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    rows = []
    for line in raw.split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:  # cut short, or damaged by a power loss: the other lines still count
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


class JsonLines:
    """Appends rows to a file, which is opened for each row and so never left open."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._is_mended = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line and hand it to the operating system, so that kill -9 does not lose it."""
        if not self._is_mended:
            self._mend()
        text = json.dumps(_finite(to_plain(dict(row))), allow_nan=False)
        with self.path.open("ab", buffering=0) as file:
            file.write(text.encode() + b"\n")

    def size(self) -> int:
        """Bytes written so far, safe on disk when this returns."""
        if not self.path.exists():
            return 0
        with self.path.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def cut(self, size: int) -> None:
        """Forget all that was written after the first `size` bytes."""
        if self.path.exists() and self.path.stat().st_size > size:
            os.truncate(self.path, size)

    def _mend(self) -> None:
        """Drop a last line that was cut short, so that the next row does not grow onto it."""
        if self.path.exists():
            raw = self.path.read_bytes()
            if raw and not raw.endswith(b"\n"):
                os.truncate(self.path, raw.rfind(b"\n") + 1)
        self._is_mended = True


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null, which plots leave out."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
