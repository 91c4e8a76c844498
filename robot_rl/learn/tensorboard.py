"""Scalars for TensorBoard, written straight as event files: no torch, no TensorFlow.

TensorBoard is a second view of the JSONL logs, which are what counts.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes scalars into `folder`; opened with the first scalar."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._purge_step: int | None = None

    def purge_after(self, step: int) -> None:
        """Tell TensorBoard that a run resumed at `step`: it hides all that was logged later."""
        self.close()
        self._purge_step = step + 1

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each named curve."""
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore

        self._open()
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._writer.add_event(event)

    def close(self) -> None:
        """Write all that is pending; the next `add` opens a new file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> None:
        """Open the event file, with the mark that hides what a killed run logged too far."""
        if self._writer is not None:
            return
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(self.folder), flush_secs=10)
        if self._purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(
                Event(wall_time=time.time(), step=self._purge_step, session_log=start)
            )
            self._purge_step = None
