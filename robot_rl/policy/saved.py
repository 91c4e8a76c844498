"""Policies on disk: a folder with `policy.json` (kind, version, config, hash) and its weights.

The weights file is named by its hash and written first; renaming the new `policy.json` into place
is the one moment in which the policy changes. Nothing in the folder can run code, and every way in
which it can be damaged is a `CheckpointError`.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import safetensors
import safetensors.numpy

from robot_rl.errors import CheckpointError
from robot_rl.policy.base import BasePolicy

__all__ = [
    "POLICY_VERSION",
    "Arrays",
    "SavedPolicy",
    "load_policy",
    "restore_policy",
    "save_policy",
    "under",
]

POLICY_VERSION = 1
CONFIG_FILE = "policy.json"

Arrays = Mapping[str, np.ndarray]
Named = TypeVar("Named")


@runtime_checkable
class SavedPolicy(BasePolicy, Protocol):
    """A base policy that can say all it is made of; `restore` of its class undoes that."""

    kind: Any  # a class variable: the word under which `load_policy` finds the class

    def config(self) -> dict[str, Any]:
        """Sizes and options; JSON-able."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        ...


_KINDS = {
    "mlp": ("ensemble", "ChunkEnsemble"),
    "act": ("act", "ACTPolicy"),
    "flow": ("flow", "FlowPolicy"),
    "replanned": ("replanned", "Replanned"),
    "chosen": ("chosen", "ChosenPolicy"),
    "residual": ("residual", "ResidualPolicy"),
    "seeing": ("eyes", "SeeingPolicy"),
}
"""Module of this package and class of each kind, imported only when a policy of it is read."""


def save_policy(policy: BasePolicy, path: Path | str) -> Path:
    """Write a policy as the folder `path`, replacing a policy that is there. Returns `path`.

    Raises:
        CheckpointError: The policy is not one that can be saved (a callable or a remote one).
    """
    path = Path(path)
    if not isinstance(policy, SavedPolicy):
        raise CheckpointError(
            f"policy of type {type(policy).__name__} cannot be saved; kinds that can: "
            f"{', '.join(sorted(_KINDS))}. Save it where it lives."
        )
    weights = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in policy.arrays().items()}
    )
    digest = hashlib.sha256(weights).hexdigest()
    head = {
        "kind": policy.kind,
        "version": POLICY_VERSION,
        "sha256": digest,
        "config": policy.config(),
    }
    path.mkdir(parents=True, exist_ok=True)
    _place(path / _weights_name(digest), weights)
    _place(path / CONFIG_FILE, json.dumps(head, indent=2).encode())
    for file in path.glob(_weights_name("*")):
        if file.name != _weights_name(digest):
            file.unlink(missing_ok=True)
    return path


def load_policy(path: Path | str) -> BasePolicy:
    """Read the policy in the folder `path`.

    Raises:
        CheckpointError: There is none, or it is truncated, of another version, of an unknown kind
            or of sizes that do not fit its own config.
    """
    path = Path(path)
    try:
        meta = json.loads(_read(path / CONFIG_FILE))
        kind, version, config = meta["kind"], meta["version"], meta["config"]
        digest = str(meta["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path / CONFIG_FILE} is damaged: {error}. Copy the policy again, or train it again."
        ) from error
    if version != POLICY_VERSION:
        raise CheckpointError(
            f"{path} has version {version}, but this robot_rl reads version {POLICY_VERSION}. "
            "Load it with the release that wrote it, or train it again."
        )
    if kind not in _KINDS:
        raise CheckpointError(_unknown(kind, str(path)))
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise CheckpointError(f"{path / CONFIG_FILE} has no SHA-256 of its weights: '{digest}'.")
    weights = _read(path / _weights_name(digest))
    if hashlib.sha256(weights).hexdigest() != digest:
        raise CheckpointError(
            f"{path / _weights_name(digest)} ({len(weights)} bytes) is truncated or changed: its "
            f"SHA-256 is not the one in {CONFIG_FILE}. Copy the policy again, or train it again."
        )
    try:
        return restore_policy(kind, config, safetensors.numpy.load(weights))
    except CheckpointError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        raise CheckpointError(
            f"{path}: config and weights do not fit kind '{kind}': {error}. Train it again."
        ) from error


def restore_policy(kind: str, config: Mapping[str, Any], arrays: Arrays) -> BasePolicy:
    """The policy of this kind that had this `config` and these `arrays`.

    Raises:
        CheckpointError: The kind is not known, or arrays and config disagree.
    """
    if kind not in _KINDS:
        raise CheckpointError(_unknown(kind, "a policy within a policy"))
    module, name = _KINDS[kind]
    return getattr(import_module(f"robot_rl.policy.{module}"), name).restore(config, arrays)


def under(prefix: str, named: Mapping[str, Named]) -> dict[str, Named]:
    """The entries whose names start with `prefix`, without it: those of a part of the whole."""
    return {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}


def _unknown(kind: str, where: str) -> str:
    return f"{where} has the unknown kind '{kind}'. Available: {', '.join(sorted(_KINDS))}."


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"no policy at {file.parent}: {file.name} cannot be read ({error.strerror}). "
            "Give the folder that `save_policy` or `robot-rl bc` wrote."
        ) from error


def _weights_name(digest: str) -> str:
    return f"weights-{digest[:16]}.safetensors"


def _place(file: Path, data: bytes) -> None:
    """Write beside the place, flush to disk, and rename: the file is whole or not there."""
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    with staging.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(staging, file)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
