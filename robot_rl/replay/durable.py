"""Writing that survives a kill and a power cut: force files, then folders, then rename.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

A rename is atomic but not durable: without the fsync of contents before it and of the folder
after it, a power cut may leave the new name on an empty file.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["move_into_place", "replace_json", "sync_folder", "sync_tree"]


def sync_folder(folder: Path) -> None:
    """Force a folder's own entries (names, not contents) or a single file to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Force every file below `folder`, then every folder, children first."""
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync_folder(Path(root, name))
        sync_folder(Path(root))


def move_into_place(source: Path, target: Path) -> None:
    """Rename a finished folder to its name, and force both parents.

    Raises:
        FileExistsError: The target exists; sealed things are never overwritten.
    """
    if target.exists():
        raise FileExistsError(target)
    source.rename(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def replace_json(path: Path, value: Any) -> None:
    """Write JSON beside `path`, force it, and rename it over: readers see the old or the new."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
    sync_folder(path.parent)
