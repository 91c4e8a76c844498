"""The list of episodes without opening them all: a cache beside them, rebuilt when it is stale.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from robot_rl.errors import DataError
from robot_rl.replay.schema import EpisodeInfo, check_episode_id

__all__ = ["EpisodeIndex", "read_info"]

logger = logging.getLogger(__name__)


def read_info(folder: Path) -> EpisodeInfo:
    """An episode's index line from its own attributes.

    Raises:
        DataError: zarr.json is missing or damaged.
    """
    try:
        attrs = json.loads((folder / "zarr.json").read_text())["attributes"]
        return _info({**attrs, "id": folder.name})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: zarr.json is missing or damaged ({type(error).__name__}: {error}). "
            f"Delete the episode (`robot-rl data delete`), or restore it from a backup."
        ) from error


def _info(row: dict[str, Any]) -> EpisodeInfo:
    return EpisodeInfo(**{key: row[key] for key in EpisodeInfo.__dataclass_fields__})


class EpisodeIndex:
    """Index lines by id; a line counts only while the episode's zarr.json is the one it saw."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "episodes"
        self._path = root / "index.json"
        self._lines: dict[str, dict[str, Any]] | None = None
        self._lock = Lock()  # the recorder seals in a thread

    def ids(self) -> list[str]:
        """Sorted ids of the sealed episodes."""
        names = [path.name for path in self._folder.glob("ep_*") if path.is_dir()]
        return sorted((check_episode_id(name) for name in names), key=lambda name: int(name[3:]))

    def infos(self) -> list[EpisodeInfo]:
        """Lines of all readable episodes; damaged ones are logged."""
        with self._lock:
            return self._refresh()

    def save(self) -> None:
        """Bring index.json up to date; losing it costs time only, so it is not forced to disk."""
        with self._lock:
            self._refresh()
            draft = self._path.with_name(".index.json.draft")
            draft.write_text(json.dumps({"episodes": self._lines}))
            draft.replace(self._path)

    def _refresh(self) -> list[EpisodeInfo]:
        known = self._load() if self._lines is None else self._lines
        lines, infos = {}, []
        for name in self.ids():
            folder = self._folder / name
            try:
                state = (folder / "zarr.json").stat()
                stamp = [state.st_mtime_ns, state.st_size, state.st_ino]
                line = known.get(name)
                if line is None or line["stamp"] != stamp:
                    line = {"stamp": stamp, **asdict(read_info(folder))}
                infos.append(_info(line))
                lines[name] = line
            except (OSError, DataError) as error:
                logger.warning("left out of the index: %s", error)
        self._lines = lines
        return infos

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            lines = json.loads(self._path.read_text())["episodes"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if not isinstance(lines, dict):
            return {}
        fields = {"stamp", *EpisodeInfo.__dataclass_fields__}
        return {k: v for k, v in lines.items() if isinstance(v, dict) and fields <= v.keys()}
