"""Recording without delaying the control loop: another process encodes, journals and seals.

learning:  **transition → episode** store → progress model → replay → residual agent → weights

    control loop → ring (one copy) → [writer process: JPEG → crash log → sealed episode]

The writer process owns the store. If the control loop dies, it finishes what it has and leaves the
open episode to `repair`; if it dies itself, the next call here says so.
"""

import json
import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from robot_rl.errors import DataError, RobotRLError
from robot_rl.replay.journal import Frame, Kind
from robot_rl.replay.ring import Ring
from robot_rl.replay.schema import CameraMeta, StoreMeta, episode_id
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.writer import EpisodeWriter, JournalSink, encode_frame
from robot_rl.types import U8

__all__ = ["Recorder", "Report"]

ROW_RESERVE_BYTES = 1 << 20
"""Room that frames leave in the ring: frames are dropped and counted, rows never."""

_RAW = struct.Struct("<BB6xqqq")  # camera index, has depth, t_device_ns, t_host_ns, frame_no


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the writer process has done: a sealed episode, a command, or an error."""

    about: str
    error: str = ""


class _RingSink:
    """The control loop's end: copies into the ring and goes on."""

    def __init__(self, recorder: "Recorder", name: str) -> None:
        self._recorder = recorder
        self._name = name.encode()
        self.drops: dict[str, int] = {}

    def record(self, kind: Kind, payload: bytes) -> None:
        head = (struct.pack("<B", len(self._name)), self._name) if kind is Kind.BEGIN else ()
        self._recorder.push(kind, (*head, payload))

    def frame(self, camera: CameraMeta, rgb: U8, stamps: Frame, depth: np.ndarray | None) -> None:
        index = [c.name for c in self._recorder.meta.cameras].index(camera.name)
        head = _RAW.pack(
            index, depth is not None, stamps.t_device_ns, stamps.t_host_ns, stamps.frame_no
        )
        parts: list[bytes | memoryview] = [head, np.ascontiguousarray(rgb).reshape(-1).data]
        if depth is not None:
            parts.append(np.ascontiguousarray(depth).reshape(-1).view(np.uint8).data)
        if not self._recorder.push_frame(parts):
            self.drops[camera.name] = self.drops.get(camera.name, 0) + 1

    def finish(self, kind: Kind, payload: bytes) -> None:
        self._recorder.push(kind, (payload,))


class Recorder:
    """Records episodes of one store from a control loop; use as a context manager."""

    def __init__(self, path: str | Path, ring_bytes: int = 48 << 20) -> None:
        self._path = Path(path).absolute()
        self._ring_bytes = ring_bytes
        self._next = 0
        self._done: dict[str, str] = {}

    def start(self) -> None:
        """Start the writer process and let it open the store.

        Raises:
            DataError: The store cannot be opened for writing.
            ConfigError: The ring does not fit into shared memory.
        """
        self.meta: StoreMeta = EpisodeStore.open(self._path).meta
        context = multiprocessing.get_context("spawn")
        self._ring = Ring.create(self._ring_bytes, context)
        self._reports, child = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_write,
            args=(str(self._path), self._ring.name, self._ring.count, child, os.getpid()),
            name="robot_rl recorder",
            daemon=True,
        )
        self._process.start()
        child.close()
        first = self._receive(timeout_s=60.0)
        if first is None or first.get("error"):
            self.close()
            raise DataError(first["error"] if first else "the recorder process did not start.")
        self._next = first["next"]

    def begin(self, facts: Mapping[str, Any] | None = None) -> EpisodeWriter:
        """Start an episode; see `EpisodeStore.begin`. One at a time."""
        name = episode_id(self._next)
        self._next += 1
        return EpisodeWriter(self.meta, name, _RingSink(self, name), facts or {})

    def command(self, call: str, *args: str) -> None:
        """Queue `delete` (ids), `undo` or `label` (id, outcome, source) behind the records."""
        payload = json.dumps({"call": call, "args": args}).encode()
        self.push(Kind.COMMAND, (payload,))

    def poll(self) -> list[Report]:
        """What has been done since the last call; never waits."""
        found = []
        while (row := self._receive(timeout_s=0.0)) is not None:
            found.append(Report(about=row["about"], error=row.get("error", "")))
        return found

    def wait(self, about: str, timeout_s: float = 60.0) -> None:
        """Wait until the episode of this id is sealed, or the command done.

        Raises:
            DataError: It failed, or did not happen in time.
        """
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            row = self._receive(timeout_s=left)
            if row is not None and row["about"] == about:
                if row.get("error"):
                    raise DataError(row["error"])
                return
        raise DataError(
            f"{self._path}: '{about}' was not done in {timeout_s} s. Is the disk slow?"
        )

    @property
    def backlog_bytes(self) -> int:
        """Bytes on their way to the writer process."""
        return self._ring.backlog_bytes

    def push(self, kind: Kind, parts: tuple[bytes, ...]) -> None:
        """Hand over a record that must not be lost.

        Raises:
            DataError: The writer process has ended, or does not keep up at all.
        """
        if not self._process.is_alive():
            raise DataError(
                f"{self._path}: the recorder process has ended (exit code "
                f"{self._process.exitcode}). Start anew; `robot-rl data repair` salvages the rest."
            )
        if not self._ring.push(kind, parts):
            raise DataError(
                f"{self._path}: the recorder is {self.backlog_bytes >> 20} MiB behind and full. "
                "Use a faster disk, smaller images or a larger ring."
            )

    def push_frame(self, parts: list[bytes | memoryview]) -> bool:
        """Hand over a raw frame; False if it had to be dropped."""
        return self._ring.push(Kind.RAW_FRAME, parts, ROW_RESERVE_BYTES)

    def close(self) -> None:
        """Let the writer process finish everything and end it. Calling it twice is harmless."""
        if not hasattr(self, "_ring"):
            return
        while self._process.is_alive() and not self._ring.push(Kind.CLOSE, ()):
            time.sleep(0.01)
        self._process.join()
        self._ring.close(unlink=True)
        self._reports.close()
        del self._ring

    def __enter__(self) -> "Recorder":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        try:
            return (
                json.loads(self._reports.recv_bytes()) if self._reports.poll(timeout_s) else None
            )
        except EOFError as error:
            raise DataError(f"{self._path}: the recorder process has ended.") from error


def _write(path: str, ring_name: str, count: Semaphore, reports: Connection, parent: int) -> None:
    """The writer process: from the ring into the store until told to close or orphaned."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the control loop, which closes us
    ring = Ring.attach(ring_name, count)

    def report(about: str, **more: Any) -> None:
        if os.getppid() == parent:
            reports.send_bytes(json.dumps({"about": about, **more}).encode())

    try:
        store = EpisodeStore.open(path, mode="a")
    except (RobotRLError, OSError) as error:
        report("start", error=str(error))
        ring.close(unlink=False)
        return
    with store, ThreadPoolExecutor(max_workers=1) as sealing:
        report("start", next=store.next_index())
        writer = _StoreEnd(store, report, sealing)
        is_open = True
        while is_open:
            with ring.pop(timeout_s=0.5) as item:
                if item is not None:
                    is_open = writer.take(*item)
                elif os.getppid() != parent:
                    is_open = False
    ring.close(unlink=False)


class _StoreEnd:
    """What the writer process does with each record; sealing runs beside in one thread."""

    def __init__(self, store: EpisodeStore, report: Any, sealing: ThreadPoolExecutor) -> None:
        self._store = store
        self._report = report
        self._sealing = sealing
        self._name = ""
        self._sink: JournalSink | None = None

    def take(self, kind: Kind, payload: memoryview) -> bool:
        """Handle one record; False on the last one."""
        try:
            if kind is Kind.CLOSE:
                return False
            if kind is Kind.COMMAND:
                self._sealing.submit(self._command, json.loads(bytes(payload)))
            elif kind is Kind.BEGIN:
                size = 1 + payload[0]
                self._name = bytes(payload[1:size]).decode()
                self._sink = JournalSink(self._store, self._name)
                self._sink.record(kind, bytes(payload[size:]))
            elif self._sink is None:
                return True  # of an episode whose journal failed; already reported
            elif kind is Kind.RAW_FRAME:
                self._sink.record(Kind.FRAME, self._encoded(payload))
            elif kind in (Kind.END, Kind.DISCARD):
                self._sink.close(kind, bytes(payload))
                self._sealing.submit(self._seal, self._name)
                self._sink = None
            else:
                self._sink.record(kind, bytes(payload))
        except (RobotRLError, OSError) as error:
            self._sink = None
            self._report(self._name, error=str(error))
        return True

    def _encoded(self, payload: memoryview) -> bytes:
        index, has_depth, t_device_ns, t_host_ns, frame_no = _RAW.unpack_from(payload, 0)
        camera = self._store.meta.cameras[index]
        h, w = camera.height_px, camera.width_px
        rgb = np.frombuffer(payload, np.uint8, count=h * w * 3, offset=_RAW.size)
        depth = None
        if has_depth:
            at = _RAW.size + h * w * 3
            depth = np.frombuffer(payload, np.uint16, count=h * w, offset=at).reshape(h, w)
        stamps = Frame(
            camera=camera.name,
            t_device_ns=t_device_ns,
            t_host_ns=t_host_ns,
            frame_no=frame_no,
            data=b"",
        )
        return encode_frame(camera, rgb.reshape(h, w, 3), stamps, depth)

    def _seal(self, name: str) -> None:
        try:
            self._store.seal_journal(name)
            self._report(name)
        except (RobotRLError, OSError) as error:
            self._report(name, error=str(error))

    def _command(self, row: dict[str, Any]) -> None:
        call, args = row["call"], row["args"]
        try:
            if call == "delete":
                self._store.delete(args)
            elif call == "undo":
                self._store.undo()
            elif call == "label":
                self._store.label(*args)
            else:
                raise DataError(f"unknown command '{call}'. Available: delete, label, undo.")
            self._report(call)
        except (RobotRLError, OSError, TypeError) as error:  # TypeError: wrong arguments
            self._report(call, error=str(error))
