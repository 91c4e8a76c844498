"""The training cache: decoded once to the training size, sampled as fast as RAM, disposable.

learning:  transition → episode store → progress model → **replay** → residual agent → weights

    <root>/<key>/cam_<name>.u8   uint8 (rows, h + 8, w + 8, 3), padded by its edges
                 low.npz         everything else
                 files.json      sizes and checksums; written last

The key is a hash of the settings and of the episodes' digests: new or relabelled episodes make a
new cache, and nobody has to remember to delete an old one. A random shift costs nothing: since
images are padded on disk, a shifted image is a run of bytes that starts elsewhere, and a batch is
one copy of n runs.
"""

import hashlib
import json
import logging
import shutil
import uuid
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from robot_rl.errors import ConfigError, DataError
from robot_rl.replay.durable import replace_json, sync_tree
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32, I64, U8

__all__ = ["PAD_PX", "Batch", "CacheCfg", "TrainingCache"]

PAD_PX = 4
"""Largest random shift; DrQ-v2 (arXiv:2107.09645, section 3.1) uses 4 at 84 x 84 px."""
CACHE_VERSION = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CacheCfg:
    """What the learner wants to see."""

    height_px: int = 84
    """Height of the training images."""
    width_px: int = 84
    """Width of the training images."""
    cameras: tuple[str, ...] | None = None
    """Cameras to decode; all of the store by default."""

    def __post_init__(self) -> None:
        """Refuse sizes that hold no image."""
        if min(self.height_px, self.width_px) < 8:
            raise ConfigError(f"training images are {self.height_px} x {self.width_px} px; >= 8.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Transitions (n of them) drawn from the cache; images are uint8 (n, h, w, 3)."""

    obs: Mapping[str, F32 | U8]
    next_obs: Mapping[str, F32 | U8]
    executed: F32
    base: F32
    next_base: F32
    reward: F32
    terminated: np.ndarray
    step: I64


class TrainingCache:
    """Transitions of a store, mapped into memory. Make one with `build`."""

    def __init__(self, folder: Path, low: Mapping[str, np.ndarray], cfg: CacheCfg) -> None:
        self.folder = folder
        self.cfg = cfg
        self.low = low
        self._stride = 3 * (cfg.width_px + 2 * PAD_PX)  # bytes from a line to the next
        span = (cfg.height_px - 1) * self._stride + 3 * cfg.width_px
        self._runs: dict[str, np.ndarray] = {}
        for name in cfg.cameras or ():
            flat = np.memmap(folder / f"cam_{name}.u8", np.uint8, "r")
            # Every run of an image's length, at any byte, as one item: numpy copies it by memcpy.
            self._runs[name] = np.ndarray((len(flat) - span + 1,), f"V{span}", flat, strides=(1,))

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.low["observation"])

    @classmethod
    def build(
        cls, store: EpisodeStore, root: str | Path, cfg: CacheCfg | None = None
    ) -> "TrainingCache":
        """Open the cache of these episodes, making it first if it is missing or damaged.

        Raises:
            DataError: An episode is damaged, or the store is empty.
            UnknownNameError: A camera that the store does not have.
        """
        cfg = cfg or CacheCfg()
        names = cfg.cameras
        if names is None:
            names = tuple(camera.name for camera in store.meta.cameras)
        cfg = replace(cfg, cameras=names)
        infos = store.infos()
        if not infos:
            raise DataError(f"{store.path}: holds no episode to train on. Record some first.")
        rows = [(info.uuid, info.digest, info.outcome) for info in infos]
        text = json.dumps([CACHE_VERSION, PAD_PX, asdict(cfg), rows], sort_keys=True)
        folder = Path(root).absolute() / hashlib.sha256(text.encode()).hexdigest()[:16]
        low = _open(folder)
        if low is None:
            if folder.exists():
                logger.warning("%s: damaged cache; decoding the episodes again", folder)
                shutil.rmtree(folder)
            _write(folder, store, [info.id for info in infos], cfg)
            low = _open(folder)
        if low is None:
            raise DataError(f"{folder}: cannot be read back after writing. Is the disk full?")
        return cls(folder, low, cfg)

    def images(self, camera: str, rows: I64, shift_px: I64 | None = None) -> U8:
        """Gather images, each shifted by its own offset; edges are repeated.

        Args:
            camera: One of the cached cameras.
            rows: (n,) observation rows.
            shift_px: (n, 2) down and right, within -4 and 4 px; None for no shift.

        Returns:
            uint8 (n, h, w, 3), a view with gaps between lines: torch takes it as it is.
        """
        down, right = (0, 0) if shift_px is None else (shift_px[:, 0], shift_px[:, 1])
        h, w = self.cfg.height_px, self.cfg.width_px
        start = rows * ((h + 2 * PAD_PX) * self._stride)
        start = start + (PAD_PX - down) * self._stride + (PAD_PX - right) * 3
        runs = self._runs[camera][start]
        strides = (runs.itemsize, self._stride, 3, 1)
        return np.ndarray((len(rows), h, w, 3), np.uint8, runs, strides=strides)

    def sample(self, rng: np.random.Generator, size: int, *, shift: bool = True) -> Batch:
        """Draw transitions uniformly, with fresh random shifts for each image."""
        step = rng.integers(len(self), size=size)
        rows = self.low["observation"][step]
        episode = self.low["episode"][step]
        is_last = self.low["observation"][step] + 2 == self.low["end"][episode]
        after = self.low["base"][np.minimum(step + 1, len(self) - 1)]
        return Batch(
            obs=self._observe(rng, rows, shift),
            next_obs=self._observe(rng, rows + 1, shift),
            executed=self.low["executed"][step],
            base=self.low["base"][step],
            next_base=np.where(is_last[:, None], self.low["next_base"][episode], after),
            reward=self.low["reward"][step],
            terminated=is_last & self.low["terminated"][episode],
            step=step,
        )

    def _observe(self, rng: np.random.Generator, rows: I64, shift: bool) -> dict[str, np.ndarray]:
        obs: dict[str, np.ndarray] = {"state": self.low["state"][rows]}
        for name in self._runs:
            size = (len(rows), 2)
            offset = rng.integers(-PAD_PX, PAD_PX + 1, size=size) if shift else None
            obs[name] = self.images(name, rows, offset)
        return obs


def _open(folder: Path) -> dict[str, np.ndarray] | None:
    """The cache's arrays, or None if it is missing or damaged.

    A file whose time has not changed since it was written is trusted; others are read through.
    """
    try:
        for name, (size, mtime_ns, crc) in json.loads((folder / "files.json").read_text()).items():
            path = folder / Path(name).name
            state = path.stat()
            if state.st_size != size:
                return None
            if state.st_mtime_ns != mtime_ns and _crc(path) != crc:
                return None
        with np.load(folder / "low.npz", allow_pickle=False) as low:
            return dict(low)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile):
        return None


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def _write(folder: Path, store: EpisodeStore, names: list[str], cfg: CacheCfg) -> None:
    """Decode all episodes into a draft, force it, rename it."""
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    try:
        parts = []
        with ExitStack() as stack:
            files = {
                name: stack.enter_context((draft / f"cam_{name}.u8").open("wb"))
                for name in cfg.cameras or ()
            }
            for name in names:
                episode = store.read(name, cfg.cameras)
                for camera, file in files.items():
                    file.write(_padded(np.asarray(episode.obs[camera], np.uint8), cfg).tobytes())
                parts.append(replace(episode, obs={"state": episode.obs["state"]}))
        np.savez(draft / "low.npz", **_low(parts))  # type: ignore[arg-type]
        sync_tree(draft)
        facts = {
            path.name: (path.stat().st_size, path.stat().st_mtime_ns, _crc(path))
            for path in sorted(draft.iterdir())
        }
        replace_json(draft / "files.json", facts)
        draft.rename(folder)
    except ValueError as error:
        raise DataError(
            f"{store.path}: the episodes' states or actions differ in size, so they cannot be "
            f"trained on together ({error}). Split the store by task."
        ) from error
    except OSError as error:
        if not folder.is_dir():  # else another process has just made the same cache
            raise DataError(f"{folder}: cannot write the cache ({error}). Free space.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _padded(images: U8, cfg: CacheCfg) -> U8:
    """To the training size, padded by its edges: (rows, h + 2 pad, w + 2 pad, 3)."""
    size = (cfg.width_px, cfg.height_px)
    if images.shape[1:3] != size[::-1]:
        images = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
    return np.pad(images, ((0, 0), (PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0)), mode="edge")


def _low(episodes: list[Trajectory]) -> dict[str, np.ndarray]:
    """Everything but the images; episodes one after another.

    Steps without a base have zeros and `has_base` False, so that no NaN reaches a network.
    """
    lengths = np.asarray([len(e) for e in episodes])
    first = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])

    def base(e: Trajectory) -> np.ndarray:
        return np.zeros_like(e.executed) if e.base is None else e.base

    return {
        "observation": np.concatenate(
            [f + np.arange(n) for f, n in zip(first, lengths, strict=True)]
        ),
        "episode": np.repeat(np.arange(len(episodes)), lengths),
        "end": first + lengths + 1,
        "state": np.concatenate([e.obs["state"] for e in episodes]),
        "executed": np.concatenate([e.executed for e in episodes]),
        "requested": np.concatenate([e.requested for e in episodes]),
        "base": np.concatenate([base(e) for e in episodes]),
        "has_base": np.repeat([e.base is not None for e in episodes], lengths),
        "next_base": np.stack(
            [base(e)[-1] if e.next_base is None else e.next_base for e in episodes]
        ),
        "reward": np.concatenate([e.reward for e in episodes]),
        "terminated": np.asarray([e.terminated for e in episodes]),
        "success": np.asarray([-1 if e.success is None else int(e.success) for e in episodes]),
        "control_source": np.concatenate([e.control_source for e in episodes]),
        "t_s": np.concatenate([e.t_s for e in episodes]),
    }
