"""One episode as a Zarr v3 group: plain arrays, JPEG bytes with offsets, no codec of our own.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

Arrays are written whole, once, uncompressed (per-frame appends cost 1 ms and more each, and byte
codecs save nothing on noisy images). Because nothing is compressed, a chunk file that is missing
or short shows in its size, before Zarr would quietly fill in zeros. Chunk files lie in their
array's folder ("."), not in folders of their own ("/"), which halves the fsyncs.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from robot_rl.errors import DataError
from robot_rl.replay.durable import sync_tree
from robot_rl.types import I64

__all__ = [
    "DEPTH_CODEC",
    "CameraTrack",
    "EpisodeContent",
    "open_group",
    "read_array",
    "read_content",
    "write_content",
]

FRAME_CHUNK_BYTES = 1 << 24
DEPTH_SHARD_FRAMES = 64
DEPTH_CODEC = Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
_STAMPS = ("t_device_ns", "t_host_ns", "frame_no")


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraTrack:
    """All frames of one camera in an episode; see `schema` for the fields."""

    codec: str
    frames: Sequence[bytes | memoryview]
    t_device_ns: I64
    t_host_ns: I64
    frame_no: I64
    tick_frame: np.ndarray
    depth: Sequence[bytes | memoryview] = ()
    depth_shape: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeContent:
    """An episode between memory and disk: arrays by their path below `low/`, and cameras."""

    low: Mapping[str, np.ndarray]
    cameras: Mapping[str, CameraTrack]
    attrs: Mapping[str, Any] = field(default_factory=dict)


def _put(group: zarr.Group, path: str, value: np.ndarray, crc: dict[str, int]) -> None:
    value = np.ascontiguousarray(value)
    group.create_array(
        path,
        data=value,
        chunks=tuple(max(1, n) for n in value.shape),
        compressors=None,
        filters=None,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    crc[path] = zlib.crc32(value.tobytes())


def _put_frames(group: zarr.Group, path: str, track: CameraTrack, crc: dict[str, int]) -> None:
    """Write the frames' bytes chunk by chunk, never all of them in memory."""
    total = sum(len(frame) for frame in track.frames)
    size = max(1, min(total, FRAME_CHUNK_BYTES))
    array = group.create_array(
        path,
        shape=(total,),
        dtype="u1",
        chunks=(size,),
        compressors=None,
        filters=None,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    buffer, filled, at, check = np.empty(size, np.uint8), 0, 0, 0
    for frame in track.frames:
        rest = np.frombuffer(frame, np.uint8)
        check = zlib.crc32(frame, check)
        while rest.size:
            take = min(size - filled, rest.size)
            buffer[filled : filled + take] = rest[:take]
            filled, rest = filled + take, rest[take:]
            if filled == size:
                array[at : at + size] = buffer
                at, filled = at + size, 0
    if filled:
        array[at:total] = buffer[:filled]
    crc[path] = check


def _put_depth(group: zarr.Group, path: str, track: CameraTrack, crc: dict[str, int]) -> None:
    if track.depth_shape is None or not track.depth:
        return
    h, w = track.depth_shape
    array = group.create_array(
        path,
        shape=(len(track.depth), h, w),
        dtype="u2",
        chunks=(1, h, w),
        shards=(DEPTH_SHARD_FRAMES, h, w),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=2),
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    check = 0
    for at in range(0, len(track.depth), DEPTH_SHARD_FRAMES):  # a shard at a time: never reread
        slab = np.stack(
            [
                np.frombuffer(DEPTH_CODEC.decode(bytes(d)), "<u2").reshape(h, w)
                for d in track.depth[at : at + DEPTH_SHARD_FRAMES]
            ]
        )
        array[at : at + len(slab)] = slab
        check = zlib.crc32(slab.tobytes(), check)
    crc[path] = check


def write_content(folder: Path, content: EpisodeContent) -> dict[str, Any]:
    """Write an episode to `folder`, which must not exist, and force it to the disk.

    Returns:
        The attributes as written, with the checksums and the digest of the content.
    """
    crc: dict[str, int] = {}
    group = zarr.create_group(str(folder))
    for path, value in content.low.items():
        _put(group, f"low/{path}", value, crc)
    for name, track in content.cameras.items():
        offset = np.cumsum([0, *map(len, track.frames)], dtype=np.int64)
        _put_frames(group, f"cam/{name}/{track.codec}", track, crc)
        _put(group, f"cam/{name}/offset", offset, crc)
        for key in _STAMPS:
            _put(group, f"cam/{name}/{key}", getattr(track, key), crc)
        _put(group, f"cam/{name}/tick_frame", track.tick_frame, crc)
        _put_depth(group, f"cam/{name}/depth", track, crc)
    text = json.dumps([content.attrs["uuid"], sorted(crc.items())])
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    attrs = {**content.attrs, "crc32": crc, "digest": digest}
    group.attrs.update(attrs)  # last: a group without attributes is no episode
    sync_tree(folder)
    return attrs


def open_group(folder: Path) -> zarr.Group:
    """Open an episode's group for reading.

    Raises:
        DataError: It is not there, or its zarr.json is missing or damaged.
    """
    try:
        return zarr.open_group(str(folder), mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: is not a readable Zarr group ({type(error).__name__}: {error}). "
            "Run `robot-rl data verify`; delete the episode or restore it from a backup."
        ) from error


def read_array(group: zarr.Group, path: str, crc: Mapping[str, int], where: str) -> np.ndarray:
    """Read one array whole and check it.

    Raises:
        DataError: Missing, short, of a forged size, or its checksum differs.
    """
    hint = "Delete the episode (`robot-rl data delete`), or restore it from a backup."
    if path not in crc:
        raise DataError(f"{where}: {path} is not part of the episode. {hint}")
    try:
        array = group[path]
        if not isinstance(array, zarr.Array):
            raise TypeError(f"a {type(array).__name__}, not an array")
        ratio = 1000 if path.endswith("/depth") else 1  # only depth is compressed
        if array.nbytes > ratio * array.nbytes_stored():
            raise DataError(f"{where}: {path} lacks bytes: a chunk is missing or short. {hint}")
        value = np.asarray(array[...])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{where}: {path} cannot be read ({type(error).__name__}: {error}). {hint}"
        ) from error
    if zlib.crc32(value.tobytes()) != crc[path]:
        raise DataError(f"{where}: {path} differs from its checksum: bits have changed. {hint}")
    return value


def _read_track(
    group: zarr.Group, name: str, codec: str, crc: Mapping[str, int], where: str
) -> CameraTrack:
    data = memoryview(read_array(group, f"cam/{name}/{codec}", crc, where).data)
    offset = read_array(group, f"cam/{name}/offset", crc, where)
    if len(offset) < 1 or offset[0] != 0 or offset[-1] != len(data) or (np.diff(offset) < 0).any():
        raise DataError(f"{where}: cam/{name}/offset does not partition {len(data)} bytes.")
    depth, shape = (), None
    if (path := f"cam/{name}/depth") in crc:
        images = read_array(group, path, crc, where)
        depth, shape = [DEPTH_CODEC.encode(image) for image in images], images.shape[1:]
    return CameraTrack(
        codec=codec,
        frames=[data[a:b] for a, b in pairwise(offset.tolist())],
        tick_frame=read_array(group, f"cam/{name}/tick_frame", crc, where),
        depth=depth,
        depth_shape=shape,
        **{key: read_array(group, f"cam/{name}/{key}", crc, where) for key in _STAMPS},
    )


def read_content(folder: Path, codecs: Mapping[str, str]) -> EpisodeContent:
    """Read an episode back; every array is checked against its checksum.

    Args:
        folder: The sealed episode.
        codecs: Image codec by camera; only these cameras are read.

    Raises:
        DataError: Missing or damaged.
    """
    group, where = open_group(folder), str(folder)
    attrs: dict[str, Any] = dict(group.attrs)
    crc = attrs.get("crc32")
    if not isinstance(crc, dict) or "uuid" not in attrs:
        raise DataError(f"{where}: has no episode attributes. Run `robot-rl data verify`.")
    low = {
        path.removeprefix("low/"): read_array(group, path, crc, where)
        for path in crc
        if path.startswith("low/")
    }
    cameras = {
        name: _read_track(group, name, codec, crc, where)
        for name, codec in codecs.items()
        if f"cam/{name}/{codec}" in crc
    }
    return EpisodeContent(low=low, cameras=cameras, attrs=attrs)
