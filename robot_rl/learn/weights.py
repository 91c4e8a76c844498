"""Weights on their way from a learner to an actor: numbered folders, whole or not there.

learning:  … → residual agent → **weights** → policy

    weights/000012/weights.json          where in the store of episodes they come from, checksum
                   weights.safetensors   all that acting needs of what was learned

The newest wins and a few older ones stay, so that whoever reads one has the time to. Numbers only
grow, over every restart of the learner. Nothing is pickled, and the two processes need no more in
common than the folder.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from robot_rl.config import to_plain
from robot_rl.errors import CheckpointError
from robot_rl.policy.saved import Arrays
from robot_rl.replay.durable import sync_path

__all__ = ["Weights", "WeightsFollower", "newest_weights", "publish_weights"]

FORMAT = 1
FILES = ("weights.safetensors", "weights.json")
KEEP = 3
logger = logging.getLogger(__name__)

Built = TypeVar("Built")


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """What a learner had learned, and from how much.

    Attributes:
        version: Their number; a later one is larger.
        position: Index of the last episode of the store that they come from; -1: of none.
        arrays, state: See `Candidates.weights`.
    """

    version: int
    position: int
    arrays: Arrays
    state: Mapping[str, Any]


def publish_weights(
    folder: Path, arrays: Arrays, state: Mapping[str, Any], *, position: int
) -> int:
    """Write the next version into `folder`; whoever looks sees it whole or not at all.

    There is one writer at a time.

    Returns:
        Its number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".part_*"):  # by a writer that was killed
        shutil.rmtree(left)
    version = max(_versions(folder), default=0) + 1
    raw = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    about = {"position": position, "state": to_plain(dict(state))}
    head = {"format": FORMAT, "sha256": _digest(raw, about), "about": about}
    part = folder / f".part_{version:06d}"
    part.mkdir()
    for name, data in zip(FILES, (raw, json.dumps(head).encode()), strict=True):
        _write(part / name, data)
    sync_path(part)
    part.rename(folder / f"{version:06d}")
    sync_path(folder)
    for old in sorted(_versions(folder))[:-KEEP]:
        shutil.rmtree(folder / f"{old:06d}")
    return version


def newest_weights(folder: Path, *, after: int = 0) -> Weights | None:
    """The newest whole version above number `after`; damaged ones are passed over.

    Raises:
        CheckpointError: It is of another format.
    """
    for version in sorted((v for v in _versions(folder) if v > after), reverse=True):
        try:
            return _read(folder / f"{version:06d}", version)
        except FileNotFoundError:
            continue  # pruned meanwhile: newer ones have come
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            logger.warning("weights %s are damaged (%s). Trying older ones.", version, error)
    return None


def _read(folder: Path, version: int) -> Weights:
    """One version, verified."""
    head = json.loads((folder / FILES[1]).read_bytes())
    if head["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has format {head['format']}, but this robot_rl reads format {FORMAT}. "
            "Let actor and learner run the same release."
        )
    raw = (folder / FILES[0]).read_bytes()
    about = head["about"]
    if _digest(raw, about) != head["sha256"]:
        raise ValueError("their checksum is another")
    return Weights(
        version=version,
        position=about["position"],
        arrays=safetensors.numpy.load(raw),
        state=about["state"],
    )


def _digest(raw: bytes, about: Mapping[str, Any]) -> str:
    """Of all that a version says."""
    return hashlib.sha256(raw + json.dumps(about, sort_keys=True).encode()).hexdigest()


class WeightsFollower(Generic[Built]):
    """Reads new weights in a thread, and makes of them what acts, while the old ones act.

    Args:
        folder: Where they are published.
        build: Makes of weights what acts; called in the thread.
        period_s: Between two looks into the folder.
    """

    def __init__(
        self, folder: Path, build: Callable[[Weights], Built], *, period_s: float = 0.1
    ) -> None:
        self._folder, self._build, self._period_s = folder, build, period_s
        self._lock, self._end = threading.Lock(), threading.Event()
        self._ready: tuple[Weights, Built] | None = None
        self._error: CheckpointError | None = None
        self._thread = threading.Thread(target=self._follow, name="weights", daemon=True)

    def take(self) -> tuple[Weights, Built] | None:
        """The newest weights since the last call, and what was made of them; never waits.

        Raises:
            CheckpointError: They are of another format or configuration.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            ready, self._ready = self._ready, None
        return ready

    def __enter__(self) -> "WeightsFollower[Built]":
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()

    def _follow(self) -> None:
        version = 0
        while not self._end.is_set():
            try:
                weights = newest_weights(self._folder, after=version)
                if weights is not None:
                    version = weights.version
                    made = self._build(weights)
                    with self._lock:
                        self._ready = weights, made
                    continue
            except CheckpointError as error:
                with self._lock:
                    self._error = error
                return
            self._end.wait(self._period_s)


def _versions(folder: Path) -> list[int]:
    """Numbers of the versions in the folder, in no order."""
    return [int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()]


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
