"""Results as files: one folder a rig, one file a version, nothing ever overwritten.

    <rig>/intrinsics-wrist/v0001.json     what was measured, when, from what, how well
    <rig>/intrinsics-wrist/v0002.json     the newest version is the one in force
    <rig>/hand_eye-wrist/v0001.json

A file carries the hash of its own content, so that one edited by hand is refused, and the hashes
of the results that it was computed with. `Rig.hash` names all that is in force: runs and episode
stores keep it.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calibration.camera import CameraModel
from calibration.closed_form import Mount
from robot_rl.config import config_hash, from_plain, git_revision, to_plain
from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.types import F64

__all__ = ["FORMAT", "KINDS", "Kind", "Result", "Rig", "check_name", "save_result"]

FORMAT = 1
Kind = Literal["intrinsics", "hand_eye", "joints", "latency"]
KINDS: tuple[Kind, ...] = ("intrinsics", "hand_eye", "joints", "latency")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"v(\d{4})\.json")


def check_name(name: str) -> str:
    """Return `name` if a camera or arm can be called that in files and topics.

    Raises:
        ConfigError: It could leave its folder, or is no topic.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"calibration of {name!r}: the name must be lower-case letters, digits and "
            "underscores, beginning with a letter."
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement of one device."""

    kind: Kind
    name: str
    """The camera, or the arm for joints."""
    date: str
    """When it was computed, ISO 8601 in UTC."""
    values: dict[str, Any]
    """What was measured; units stand in the keys."""
    residuals: dict[str, Any]
    """How well: RMS, held-out error, deviations."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """What it was computed from: folder, views, board, hashes of other results."""
    revision: str = "unknown"
    """Of the source that computed it."""
    format: int = FORMAT
    """Of this file."""
    hash: str = ""
    """Of all the above; filled in when it is saved."""

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a folder or a topic."""
        check_name(self.name)

    @classmethod
    def new(
        cls,
        kind: Kind,
        name: str,
        values: Mapping[str, Any],
        residuals: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
    ) -> "Result":
        """A result of this moment and this source."""
        bare = cls(
            kind=kind,
            name=name,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            values=to_plain(dict(values)),
            residuals=to_plain(dict(residuals)),
            inputs=to_plain(dict(inputs or {})),
            revision=git_revision(),
        )
        plain = to_plain(bare)
        return from_plain(cls, plain | {"hash": bare.content_hash()})

    def content_hash(self) -> str:
        """12 hex digits of all but the hash itself."""
        return config_hash({k: v for k, v in to_plain(self).items() if k != "hash"})

    @property
    def camera(self) -> CameraModel:
        """The intrinsics; only of that kind."""
        return from_plain(CameraModel, self.values, f"{self.kind} of {self.name}")

    @property
    def mount(self) -> Mount:
        """Whether the camera is on the hand; only of hand-eye."""
        return self.values["mount"]

    def transform(self, key: str) -> F64:
        """(4, 4) stored under `key`, such as T_tcp_cam."""
        return np.array(self.values[key], np.float64)


def save_result(rig: Path, result: Result) -> Path:
    """Write the next version; earlier ones stay.

    Raises:
        DataError: The folder cannot be written.
    """
    folder = Path(rig) / f"{result.kind}-{result.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for version in range(_newest(folder) + 1, 10_000):
            path = folder / f"v{version:04d}.json"
            if _write_new(path, json.dumps(to_plain(result), indent=1) + "\n"):
                return path
    except OSError as error:
        raise DataError(f"cannot save a calibration in {folder}: {error.strerror}.") from error
    raise DataError(f"{folder} holds 9999 versions. Move old ones away.")


def _write_new(path: Path, text: str) -> bool:
    """Write a file whole, unless its name is taken: two processes may save at once."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def _newest(folder: Path) -> int:
    """The highest version in a folder, 0 if there is none."""
    found = (_VERSION.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in found if match), default=0)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The newest result of each kind and device."""

    path: Path
    results: Mapping[tuple[str, str], Result]  # (kind, name)

    @classmethod
    def load(cls, path: Path | str) -> "Rig":
        """Read and check all that is in force.

        Raises:
            DataError: There is no such folder, or a file is damaged, edited or of another format.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"there is no calibration at {path}. Calibrate, or name another rig.")
        results = {}
        for folder in sorted(path.iterdir()):
            kind, _, name = folder.name.partition("-")
            if kind in KINDS and folder.is_dir() and (version := _newest(folder)):
                results[kind, name] = _read(folder / f"v{version:04d}.json", kind, name)
        return cls(path=path, results=results)

    @property
    def hash(self) -> str:
        """12 hex digits that name all results in force; "" if there are none."""
        if not self.results:
            return ""
        return config_hash({f"{k}-{n}": r.hash for (k, n), r in self.results.items()})

    def get(self, kind: Kind, name: str) -> Result:
        """The result in force.

        Raises:
            UnknownNameError: This was never measured here.
        """
        if (kind, name) not in self.results:
            known = [n for k, n in self.results if k == kind]
            raise UnknownNameError(f"{kind} calibration in {self.path}", name, known or ["none"])
        return self.results[kind, name]

    def find(self, kind: Kind, name: str) -> Result | None:
        """The result in force, or None."""
        return self.results.get((kind, name))

    def lens(self, name: str) -> CameraModel:
        """The intrinsics that belong to a camera's place: as hand-eye has corrected them, if so.

        Raises:
            UnknownNameError: Its intrinsics were never measured here.
        """
        intrinsics, hand_eye = self.get("intrinsics", name), self.find("hand_eye", name)
        if hand_eye is None or hand_eye.inputs.get("intrinsics_hash") != intrinsics.hash:
            return intrinsics.camera
        corrected = hand_eye.values.get("camera", intrinsics.values)
        return from_plain(CameraModel, corrected, f"camera of hand_eye of {name}")

    def camera_hash(self, name: str) -> str:
        """12 hex digits that name what is known of one camera; "" if nothing is."""
        mine = {f"{k}-{n}": r.hash for (k, n), r in self.results.items() if n == name}
        return config_hash(mine) if mine else ""


def _read(path: Path, kind: str, name: str) -> Result:
    """One file, checked."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Restore or remove it.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        version = data.get("format") if isinstance(data, dict) else None
        raise DataError(f"{path} has format {version!r}, but this robot_rl reads {FORMAT}.")
    try:
        result = from_plain(Result, data, str(path))
    except ConfigError as error:
        raise DataError(str(error)) from error
    if result.hash != result.content_hash():
        raise DataError(
            f"{path} was edited: its content has hash {result.content_hash()}, it says "
            f"{result.hash}. Measurements are not edited; calibrate again, or remove this version."
        )
    if (result.kind, result.name) != (kind, name):
        raise DataError(
            f"{path} holds {result.kind} of '{result.name}', but lies in the folder of "
            f"{kind} of '{name}'. Move it back."
        )
    return result
