"""Records from one process to another through shared memory: one writer, one reader, no pickle.

learning:  **transition → episode** store → progress model → replay → residual agent → weights

The control loop pays for one memory copy. The semaphore counts records and orders memory between
the two processes; head and tail only ever grow.
"""

import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.replay.journal import Kind

__all__ = ["Ring"]

_HEADER = struct.Struct("<IB3x")  # payload bytes, kind
_START = 128  # head and tail on a cache line each
_WRAP = 0xFFFFFFFF  # "the next record is at the start"
_SHM = Path("/dev/shm")


class Ring:
    """Bytes in a circle. `create` in the parent; the child attaches by `name` and `count`."""

    def __init__(self, memory: SharedMemory, count: Semaphore) -> None:
        self._memory = memory
        self.count = count
        self.name = memory.name
        buffer = memoryview(memory.buf or b"")
        self._cursor = np.frombuffer(buffer, np.uint64, count=_START // 8)
        self._data = buffer[_START:]

    @classmethod
    def create(cls, capacity_bytes: int, context: SpawnContext) -> "Ring":
        """Reserve shared memory.

        Raises:
            ConfigError: /dev/shm is smaller, where touching the memory would kill the process.
        """
        if _SHM.is_dir() and (free := shutil.disk_usage(_SHM).free) < capacity_bytes + (1 << 20):
            raise ConfigError(
                f"the recorder's ring of {capacity_bytes >> 20} MiB does not fit into /dev/shm "
                f"({free >> 20} MiB free). Give a smaller ring, or a container more --shm-size."
            )
        capacity_bytes = -(-capacity_bytes // 8) * 8
        memory = SharedMemory(create=True, size=_START + capacity_bytes)
        ring = cls(memory, context.Semaphore(0))
        ring._cursor[:] = 0
        return ring

    @classmethod
    def attach(cls, name: str, count: Semaphore) -> "Ring":
        """Open the parent's ring."""
        return cls(SharedMemory(name=name), count)

    @property
    def backlog_bytes(self) -> int:
        """Bytes written and not read yet."""
        return int(self._cursor[0]) - int(self._cursor[8])

    def push(
        self, kind: Kind, parts: Sequence[bytes | memoryview], reserve_bytes: int = 0
    ) -> bool:
        """Copy one record in; never waits.

        Args:
            kind: What it is.
            parts: Its payload; uint8 arrays are copied straight in.
            reserve_bytes: Room that must remain for records that matter more.

        Returns:
            False if there is no room, and nothing was written.
        """
        size = sum(map(len, parts))
        need = -(-(_HEADER.size + size) // 8) * 8
        capacity = len(self._data)
        head = int(self._cursor[0])
        at = head % capacity
        skip = capacity - at if at + need > capacity else 0
        if self.backlog_bytes + skip + need + reserve_bytes > capacity:
            return False
        if skip:
            _HEADER.pack_into(self._data, at, _WRAP, 0)
            at = 0
        _HEADER.pack_into(self._data, at, size, kind)
        at += _HEADER.size
        for part in parts:
            self._data[at : at + len(part)] = part
            at += len(part)
        self._cursor[0] = head + skip + need
        self.count.release()
        return True

    @contextmanager
    def pop(self, timeout_s: float) -> Iterator[tuple[Kind, memoryview] | None]:
        """Lend the oldest record without copying it; its room is free again on leaving."""
        if not self.count.acquire(timeout=timeout_s):
            yield None
            return
        tail, capacity = int(self._cursor[8]), len(self._data)
        at = tail % capacity
        size, kind = _HEADER.unpack_from(self._data, at)
        if size == _WRAP:
            tail += capacity - at
            at = 0
            size, kind = _HEADER.unpack_from(self._data, at)
        view = self._data[at + _HEADER.size : at + _HEADER.size + size]
        try:
            yield Kind(kind), view
        finally:
            view.release()
            self._cursor[8] = tail + -(-(_HEADER.size + size) // 8) * 8

    def close(self, unlink: bool) -> None:
        """Unmap; the parent also removes the memory."""
        del self._cursor, self._data  # views would keep the memory mapped
        self._memory.close()
        if unlink:
            self._memory.unlink()
