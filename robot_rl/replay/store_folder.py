"""The folder of a store before and around its episodes: making one, recognising one.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

import json
import shutil
import uuid
from pathlib import Path

import zarr

from robot_rl.errors import DataError
from robot_rl.replay.assemble import json_facts
from robot_rl.replay.durable import move_into_place, sync_tree
from robot_rl.replay.schema import StoreMeta

__all__ = ["make_folder", "read_meta", "restore_parts"]

_PARTS = ("episodes", "annotations", "trash", ".journal")


def make_folder(path: Path, meta: StoreMeta) -> None:
    """Make an empty store; a crash leaves a whole one or none.

    Raises:
        DataError: Something is there already, or the disk refuses.
    """
    if path.exists():
        raise DataError(f"{path} exists already. Open it, or choose another name.")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        for group in ("episodes", "annotations"):
            zarr.create_group(str(draft / group))
        restore_parts(draft)
        zarr.create_group(str(draft), attributes=json_facts(meta.to_attrs()))
        sync_tree(draft)
        move_into_place(draft, path)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DataError(f"{path}: cannot create a store ({error}).") from error


def read_meta(path: Path) -> StoreMeta:
    """What the store at `path` says of itself.

    Raises:
        DataError: No store, another schema version, or parts that lead elsewhere.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder. Check the path, or record a first episode.")
    try:
        attrs = json.loads((path / "zarr.json").read_text())["attributes"]
        meta = StoreMeta.from_attrs(attrs, str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is no episode store: its zarr.json is missing, damaged or another's "
            f"({error}). Give the folder that holds `episodes/`, or restore it from a backup."
        ) from error
    for part in _PARTS:
        if (path / part).is_symlink():
            raise DataError(f"{path / part} is a link; the parts of a store must lie in it.")
    return meta


def restore_parts(path: Path) -> None:
    """Make the parts that are missing: git and rsync may drop empty folders."""
    for part in _PARTS:
        (path / part).mkdir(exist_ok=True)
