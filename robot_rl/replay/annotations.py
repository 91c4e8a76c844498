"""What is learned about an episode after it was sealed: verdicts, progress, rewards.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Sealed episodes are never rewritten; a sidecar replaces an older sidecar by a rename.
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from robot_rl.errors import DataError
from robot_rl.replay.durable import replace_json, sync_path, sync_tree
from robot_rl.replay.schema import EpisodeInfo, check_episode_id, check_name

__all__ = ["judged", "labels", "read", "write", "write_label"]


def write_label(root: Path, episode: str, identity: str, outcome: str, source: str) -> None:
    """Write a verdict on an episode, and on no other that might ever take its id."""
    folder = root / "annotations" / "label"
    folder.mkdir(exist_ok=True)
    row = {"uuid": identity, "outcome": outcome, "label_source": source}
    replace_json(folder / f"{episode}.json", row)


def labels(root: Path) -> dict[str, dict[str, str]]:
    """All verdicts by episode id.

    Raises:
        DataError: A verdict is damaged: guessing an outcome would poison learning.
    """
    found = {}
    for path in (root / "annotations" / "label").glob("ep_*.json"):
        try:
            row = json.loads(path.read_text())
            found[path.stem] = {key: str(row[key]) for key in ("uuid", "outcome", "label_source")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged label ({error}). Delete the file.") from error
    return found


def judged(info: EpisodeInfo, verdicts: Mapping[str, Mapping[str, str]]) -> EpisodeInfo:
    """An episode's index line with its latest verdict."""
    verdict = verdicts.get(info.id)
    if verdict is None or verdict["uuid"] != info.uuid:
        return info
    return replace(info, outcome=verdict["outcome"], label_source=verdict["label_source"])


def write(
    root: Path, kind: str, episode: str, arrays: Mapping[str, np.ndarray], facts: dict[str, Any]
) -> None:
    """Write arrays beside an episode, replacing those of the same kind."""
    parent = root / "annotations" / check_name("annotation", kind)
    parent.mkdir(exist_ok=True)
    staging = root / ".journal" / f"new_{uuid.uuid4().hex}"
    group = zarr.create_group(str(staging), attributes={"facts": facts})
    for key, value in arrays.items():
        group.create_array(
            check_name("array", key),
            data=np.ascontiguousarray(value),
            chunks=tuple(max(1, n) for n in value.shape),
            compressors=None,
            config={"write_empty_chunks": True},
        )
    sync_tree(staging)
    target = parent / episode
    old = root / ".journal" / f"new_{uuid.uuid4().hex}"  # swept at the next opening if we die here
    if target.exists():
        target.rename(old)
    staging.rename(target)
    sync_path(parent)
    if old.exists():
        shutil.rmtree(old)


def read(root: Path, kind: str, episode: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of one annotation.

    Raises:
        DataError: There is none, or it is damaged.
    """
    folder = root / "annotations" / kind / check_episode_id(episode)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such annotation. Label the store first.")
    try:
        group = zarr.open_group(str(folder), mode="r", zarr_format=3)
        return {key: np.asarray(array[...]) for key, array in group.arrays()}, dict(
            group.attrs["facts"]  # type: ignore[arg-type]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: damaged annotation ({error}). Label it again.") from error
