"""The crash log of an open episode: append-only records, each with its length and checksum.

learning:  **transition → episode** store → progress model → replay → residual agent → weights

A kill at any byte leaves a file whose intact records are a prefix of what was written; `read`
returns that prefix and says why it stops. The same records travel through the recorder's ring.
"""

import json
import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import DataError
from robot_rl.replay.durable import sync_path

__all__ = [
    "Frame",
    "Journal",
    "JournalContent",
    "Kind",
    "pack_arrays",
    "pack_frame",
    "read_journal",
    "unpack_arrays",
    "unpack_frame",
]

MAX_RECORD_BYTES = 1 << 28
SYNC_PERIOD_S = 2.0
_HEADER = struct.Struct("<4sB3xII")  # magic, kind, payload bytes, crc32 of kind and payload
_MAGIC = b"RRLJ"
_DTYPES = ("f4", "f8", "i4", "i8", "u1", "u2")
_FRAME = struct.Struct("<B3xIqqq")  # name bytes, depth bytes, t_device_ns, t_host_ns, frame_no


class Kind(IntEnum):
    """What a record holds."""

    BEGIN = 1
    OBSERVATION = 2
    STEP = 3
    FRAME = 4
    END = 5
    RAW_FRAME = 6  # in the ring only: the writer process encodes it
    DISCARD = 7
    COMMAND = 8  # in the ring only: delete, undo, label
    CLOSE = 9  # in the ring only


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One camera frame as stored: encoded image, optional compressed depth, and its stamps."""

    camera: str
    t_device_ns: int
    t_host_ns: int
    frame_no: int
    data: bytes | memoryview
    depth: bytes | memoryview = b""


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A self-describing row: names, dtypes, shapes and values."""
    parts = [struct.pack("<H", len(arrays))]
    for name, value in arrays.items():
        code = value.dtype.str[1:]
        if code not in _DTYPES:
            raise DataError(f"'{name}' has dtype {value.dtype}; allowed: {', '.join(_DTYPES)}.")
        key = name.encode()
        parts.append(struct.pack(f"<B{len(key)}s2sB", len(key), key, code.encode(), value.ndim))
        parts.append(struct.pack(f"<{value.ndim}I", *value.shape))
        parts.append(np.ascontiguousarray(value).tobytes())
    return b"".join(parts)


def unpack_arrays(data: bytes | memoryview) -> dict[str, np.ndarray]:
    """Undo `pack_arrays`.

    Raises:
        DataError: The bytes are no row; sizes are checked before memory is reserved.
    """
    out: dict[str, np.ndarray] = {}
    try:
        (count,) = struct.unpack_from("<H", data, 0)
        at = 2
        for _ in range(count):
            size = data[at]
            name = bytes(data[at + 1 : at + 1 + size]).decode()
            at += 1 + size
            code, ndim = bytes(data[at : at + 2]).decode(), data[at + 2]
            shape = struct.unpack_from(f"<{ndim}I", data, at + 3)
            at += 3 + 4 * ndim
            if code not in _DTYPES:
                raise DataError(f"journal row: '{name}' has dtype '{code}', not {_DTYPES}.")
            items = int(np.prod(shape, dtype=object)) if ndim else 1
            value = np.frombuffer(data, code, count=items, offset=at).reshape(shape)
            out[name] = value.copy()
            at += value.nbytes
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"journal row does not decode ({error}). Run `robot-rl data repair`."
        ) from (error)
    return out


def pack_frame(frame: Frame) -> bytes:
    """A frame as the payload of a record."""
    name = frame.camera.encode()
    head = _FRAME.pack(
        len(name), len(frame.depth), frame.t_device_ns, frame.t_host_ns, frame.frame_no
    )
    return b"".join((head, name, frame.depth, frame.data))


def unpack_frame(data: memoryview) -> Frame:
    """Undo `pack_frame`, without copying the image."""
    size, depth, t_device_ns, t_host_ns, frame_no = _FRAME.unpack_from(data, 0)
    at = _FRAME.size + size
    return Frame(
        camera=bytes(data[_FRAME.size : at]).decode(),
        t_device_ns=t_device_ns,
        t_host_ns=t_host_ns,
        frame_no=frame_no,
        depth=data[at : at + depth],
        data=data[at + depth :],
    )


class Journal:
    """Appends records to one file; `open` creates it.

    Every record is handed to the kernel at once, so a killed process loses at most the record it
    was writing. The disk is forced every two seconds, so a power cut loses little more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced_s = 0.0
        self._file = -1

    def open(self) -> None:
        """Create the file; it must not exist."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        self._synced_s = time.monotonic()
        sync_path(self.path.parent)  # or a power cut may lose the name with the bytes

    def append(self, kind: Kind, payload: bytes | memoryview) -> None:
        """Write one record.

        Raises:
            DataError: The record is beyond `MAX_RECORD_BYTES`, or the disk is full.
        """
        if len(payload) > MAX_RECORD_BYTES:
            raise DataError(f"journal record of {len(payload)} bytes; at most {MAX_RECORD_BYTES}.")
        crc = zlib.crc32(payload, zlib.crc32(bytes((kind,))))
        parts = [memoryview(_HEADER.pack(_MAGIC, kind, len(payload), crc)), memoryview(payload)]
        size = sum(map(len, parts))
        try:
            written = os.writev(self._file, parts)
            while written < size:  # a signal or a nearly full disk cuts a write short
                rest = b"".join(parts)[written:]
                written += os.write(self._file, rest)
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot write ({error}). Free disk space; the episode so far can be "
                "salvaged with `robot-rl data repair`."
            ) from error
        if time.monotonic() - self._synced_s > SYNC_PERIOD_S:
            self.sync()

    def sync(self) -> None:
        """Force what has been written to the disk."""
        os.fdatasync(self._file)
        self._synced_s = time.monotonic()

    def close(self) -> None:
        """Close the file. Calling it twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, kw_only=True)
class JournalContent:
    """The intact prefix of a journal.

    Attributes:
        begin: What was known when the episode began.
        records: (kind, payload) after it; payloads are views of the mapped file.
        end: What sealing said, or None for an episode cut short.
        damage: Why reading stopped before the end of the file, "" if it did not.
    """

    begin: dict[str, Any]
    records: list[tuple[Kind, memoryview]]
    end: dict[str, Any] | None
    damage: str


def _scan(data: memoryview) -> Iterator[tuple[Kind, memoryview] | str]:
    at = 0
    while at < len(data):
        if at + _HEADER.size > len(data):
            yield f"cut inside a header at byte {at}"
            return
        magic, kind, size, crc = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + size]
        if magic != _MAGIC or kind not in Kind._value2member_map_ or size > MAX_RECORD_BYTES:
            yield f"no record at byte {at}"
            return
        if len(payload) < size:
            yield f"cut inside a record at byte {at}"
            return
        if zlib.crc32(payload, zlib.crc32(bytes((kind,)))) != crc:
            yield f"checksum differs in the record at byte {at}"
            return
        yield Kind(kind), payload
        at += _HEADER.size + size


def read_journal(path: Path) -> JournalContent:
    """Map a journal and return its intact records.

    Raises:
        DataError: Not even its first record is intact, so there is nothing to salvage.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    damage, records = "", []
    for item in _scan(view):
        if isinstance(item, str):
            damage = item
        else:
            records.append(item)
    if not records or records[0][0] is not Kind.BEGIN:
        raise DataError(f"{path}: holds no intact record ({damage or 'empty'}); delete the file.")
    begin = json.loads(bytes(records[0][1]))
    end = None
    if records[-1][0] in (Kind.END, Kind.DISCARD):
        end = json.loads(bytes(records[-1][1])) | {"discard": records[-1][0] is Kind.DISCARD}
        records = records[:-1]
    return JournalContent(begin=begin, records=records[1:], end=end, damage=damage)
