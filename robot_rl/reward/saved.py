"""Reward models on disk: a folder with `model.json` (kind, version, config) and its arrays.

The arrays lie in a safetensors file that is named by its hash and written first; replacing
`model.json` is the one moment in which the model changes. Nothing in the folder can run code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from robot_rl.config import write_atomically
from robot_rl.errors import CheckpointError

__all__ = ["FORMAT", "MODEL_FILE", "SavedModel", "digest_of", "read_model", "write_model"]

FORMAT = 1
MODEL_FILE = "model.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedModel:
    """What a folder holds.

    Attributes:
        kind: Which class reads it.
        version: How often the model was trained.
        config: JSON-able; what the class needs beside the arrays.
        arrays: All numbers by name.
    """

    kind: str
    version: int
    config: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of arrays, which is the name of the file that holds them."""
    return hashlib.sha256(_packed(arrays)).hexdigest()


def write_model(folder: Path, model: SavedModel) -> Path:
    """Write a model, replacing one that is there. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _packed(model.arrays)
    digest = hashlib.sha256(weights).hexdigest()
    file = folder / _weights_name(digest)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with part.open("wb") as handle:
        handle.write(weights)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(file)
    head = {
        "format": FORMAT,
        "kind": model.kind,
        "version": model.version,
        "sha256": digest,
        "config": dict(model.config),
    }
    write_atomically(folder / MODEL_FILE, json.dumps(head, indent=2) + "\n")
    for old in folder.glob(_weights_name("*")):
        if old.name != file.name:
            old.unlink(missing_ok=True)
    return folder


def read_model(folder: Path) -> SavedModel:
    """Read the model in a folder.

    Raises:
        CheckpointError: There is none, or it is truncated, changed or of another format.
    """
    try:
        head = json.loads((folder / MODEL_FILE).read_text())
        form, digest = head["format"], str(head["sha256"])
        kind, version, config = str(head["kind"]), int(head["version"]), dict(head["config"])
    except OSError as error:
        raise CheckpointError(
            f"no reward model at {folder}: {MODEL_FILE} cannot be read ({error.strerror}). "
            "Give the folder that `robot-rl reward train` wrote."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / MODEL_FILE} is damaged: {error}. Copy the model again, or train it again."
        ) from error
    if form != FORMAT:
        raise CheckpointError(
            f"{folder} has format {form}, but this robot_rl reads format {FORMAT}. "
            "Train the model again."
        )
    file = folder / _weights_name(digest)
    try:
        weights = file.read_bytes()
        if hashlib.sha256(weights).hexdigest() != digest:
            raise CheckpointError(
                f"{file} ({len(weights)} bytes) is truncated or changed. Copy the model again."
            )
        arrays = safetensors.numpy.load(weights)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}. Copy the model again.") from error
    return SavedModel(kind=kind, version=version, config=config, arrays=arrays)


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})


def _weights_name(digest: str) -> str:
    return f"weights-{digest[:16]}.safetensors"
