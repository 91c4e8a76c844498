"""Checkpoints that survive kill -9: written aside, synced, renamed; verified when read.

learning:  … residual agent → **weights** → policy

    checkpoints/step_000001234/state.json            version, counters, RNG states, checksums
                               tensors.safetensors   weights and optimiser state
                               arrays.safetensors    replay and other numpy arrays

No pickle is written or read.
"""

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from robot_rl.config import to_plain
from robot_rl.errors import CheckpointError
from robot_rl.learn.run import RunFolder

__all__ = [
    "VERSION",
    "Checkpoint",
    "load_checkpoint",
    "load_latest",
    "numpy_rng_state",
    "restore_numpy_rng",
    "restore_torch_rng",
    "save_checkpoint",
    "torch_rng_state",
]

VERSION = 1
FILES = ("tensors.safetensors", "arrays.safetensors")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All that a learner needs to go on from `step` as if nothing had happened."""

    step: int
    tensors: Mapping[str, torch.Tensor]
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]
    log_sizes: Mapping[str, int]
    path: Path


def save_checkpoint(
    run: RunFolder,
    step: int,
    *,
    tensors: Mapping[str, torch.Tensor],
    arrays: Mapping[str, NDArray[Any]],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Save a checkpoint of `run` at `step`, whole or not at all, and drop all but the last `keep`.

    Args:
        run: Its logs are synced, and their sizes kept, so that a resumed run can cut them here.
        step: Environment steps done.
        tensors: Weights and optimiser state, on any device; may share memory.
        arrays: Replay and other numpy arrays; no object arrays.
        state: JSON-able rest: counters, schedules, RNG states.
        keep: How many checkpoints stay.

    Returns:
        The checkpoint's folder.
    """
    final = run.path / "checkpoints" / f"step_{step:09d}"
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # Cloned, since safetensors refuses views of one flat parameter buffer.
    save_tensors({k: t.detach().cpu().clone() for k, t in tensors.items()}, part / FILES[0])
    save_arrays({k: np.require(a, requirements="C") for k, a in arrays.items()}, part / FILES[1])
    about = {
        "version": VERSION,
        "step": int(step),
        "checksums": {name: _checksum(part / name) for name in FILES},
        "log_sizes": run.log_sizes(),
        "state": to_plain(dict(state)),
    }
    (part / "state.json").write_text(json.dumps(about))
    for name in (*FILES, "state.json", "."):
        _sync(part / name)
    if final.exists():  # the same step again, after a resume from an older checkpoint
        shutil.rmtree(final)
    part.replace(final)
    _sync(final.parent)
    for old in _folders(run.path)[keep:]:
        shutil.rmtree(old)
    _sweep(final.parent)
    return final


def load_latest(run: RunFolder | Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are passed over with a warning.

    Returns:
        None if the run has no checkpoint at all.

    Raises:
        CheckpointError: There are checkpoints, but none can be used; or the newest is of another
            version, which going on from an older one would only hide.
    """
    folders = _folders(run.path if isinstance(run, RunFolder) else Path(run))
    for folder in folders:
        try:
            return load_checkpoint(folder)
        except CheckpointError as error:
            if isinstance(error, OtherVersionError):
                raise
            logger.warning("%s Trying the one before.", error)
    if folders:
        raise CheckpointError(
            f"none of the {len(folders)} checkpoints in {folders[0].parent} can be read. "
            "Start the run again under another name."
        )
    return None


class OtherVersionError(CheckpointError):
    """A whole checkpoint, but of another version of this format."""


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: Missing, damaged or of another version.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "state.json").read_text())
        version, checksums = about["version"], about["checksums"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {folder} is damaged: state.json cannot be read ({error})."
        ) from error
    if version != VERSION:
        raise OtherVersionError(
            f"checkpoint {folder} has version {version}, but this robot_rl reads version "
            f"{VERSION}. Use the robot_rl that wrote it (see git in the run's config.json)."
        )
    for name in FILES:
        if not (folder / name).exists() or _checksum(folder / name) != checksums.get(name):
            raise CheckpointError(f"checkpoint {folder} is damaged: {name} is cut or altered.")
    try:
        return Checkpoint(
            step=about["step"],
            tensors=load_tensors(folder / FILES[0]),
            arrays=load_arrays(folder / FILES[1]),
            state=about["state"],
            log_sizes=about["log_sizes"],
            path=folder,
        )
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error}.") from error


def numpy_rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """The generator's state as JSON knows it."""
    return to_plain(generator.bit_generator.state)


def restore_numpy_rng(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set the generator to a state of `numpy_rng_state`.

    Raises:
        CheckpointError: The state is of another kind of generator.
    """
    own = generator.bit_generator.state["bit_generator"]
    if state.get("bit_generator") != own:
        raise CheckpointError(
            f"the random state is of a {state.get('bit_generator')} generator, but must be of "
            f"a {own}. Was it saved by another version?"
        )
    generator.bit_generator.state = dict(state)


def torch_rng_state(generator: torch.Generator | None = None) -> NDArray[np.uint8]:
    """The state of a CPU generator (default: torch's global one) as bytes (n,)."""
    state = torch.get_rng_state() if generator is None else generator.get_state()
    return state.numpy().copy()


def restore_torch_rng(state: NDArray[np.uint8], generator: torch.Generator | None = None) -> None:
    """Set the generator to a state of `torch_rng_state`.

    Raises:
        CheckpointError: The state does not fit this torch.
    """
    try:
        tensor = torch.from_numpy(np.array(state, np.uint8))
        torch.set_rng_state(tensor) if generator is None else generator.set_state(tensor)
    except RuntimeError as error:
        raise CheckpointError(f"the random state does not fit this torch: {error}.") from error


def _folders(run: Path) -> list[Path]:
    """Checkpoint folders of a run, newest first."""
    return sorted((run / "checkpoints").glob("step_*"), reverse=True)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left; one younger than an hour may still be written."""
    for part in folder.glob(".step_*.part"):
        if time.time() - part.stat().st_mtime > 3600:
            shutil.rmtree(part, ignore_errors=True)


def _checksum(path: Path) -> list[int]:
    """Size and CRC-32 of a file, which finds truncation and flipped bits."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return [path.stat().st_size, crc]


def _sync(path: Path) -> None:
    """Force a file or a folder's entries onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
