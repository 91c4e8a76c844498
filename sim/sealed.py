"""Arrays in one .npz with a head that says what they are, sealed by a hash of their content.

motion → **measurement** → fit → posterior: `sim.identify` keeps motions so, `sim.explore` trials.

A file holds no pickles, is written whole or not at all, and is refused if it was edited.
"""

import io
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zipfile import BadZipFile

import numpy as np

from robot_rl.config import write_atomically
from robot_rl.errors import DataError

__all__ = ["Sealed", "load_sealed", "save_sealed"]


class Sealed(Protocol):
    """What can be kept so."""

    @property
    def hash(self) -> str:
        """Of all that counts of it."""
        ...


S = TypeVar("S", bound=Sealed)


def save_sealed(
    path: Path,
    one: Sealed,
    head: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    version: int,
) -> str:
    """Write what is kept of `one`; returns its hash.

    Args:
        path: The file.
        one: Whose hash seals it.
        head: What is not an array, as JSON knows it.
        arrays: By name; none is called "head".
        version: Of the format of head and arrays.

    Raises:
        DataError: The file cannot be written.
    """
    whole = {"format": version, **head, "hash": one.hash}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.array(json.dumps(whole)), **arrays)  # type: ignore[arg-type]
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), buffer.getvalue())
    except OSError as error:
        raise DataError(f"cannot save {path}: {error.strerror}.") from error
    return one.hash


def load_sealed(
    path: Path,
    kind: str,
    make: Callable[[dict[str, Any], dict[str, np.ndarray]], S],
    *,
    version: int,
) -> S:
    """Read what `save_sealed` wrote.

    Args:
        path: The file.
        kind: What it should be, for messages.
        make: From head and arrays.
        version: Of the format that `make` knows.

    Raises:
        DataError: The file is missing, damaged, edited, or of another format.
    """
    try:
        # numpy would leave a file that it has opened itself open if it is a stump.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            arrays = {name: file[name] for name in file.files if name != "head"}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no {kind} that can be read: {error}.") from error
    if head.get("format") != version:
        raise DataError(
            f"{path} has format {head.get('format')!r}, but this robot_rl reads {version}."
        )
    try:
        found = make(head, arrays)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no {kind}: {error}. Is it something else?") from error
    if found.hash != head.get("hash"):
        raise DataError(
            f"{path} was edited: its content has hash {found.hash}, it says {head.get('hash')}. "
            "Record it again."
        )
    return found
