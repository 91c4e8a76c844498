"""Configurations as frozen dataclasses: to JSON and back, named by their content, compared.

Every run keeps its resolved configuration, and every result is found again under its hash. Files
hold plain JSON only; nothing is ever unpickled.
"""

import dataclasses
import enum
import hashlib
import json
import os
import subprocess
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from robot_rl.errors import ConfigError

__all__ = [
    "config_hash",
    "describe_differences",
    "flatten",
    "from_plain",
    "git_revision",
    "load_config",
    "save_config",
    "to_plain",
    "write_atomically",
]

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """The value as JSON knows it: dataclasses become dicts, tuples lists, paths strings.

    Raises:
        ConfigError: A part of the value has no plain form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [to_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    tolist = getattr(value, "tolist", None)
    if callable(tolist):  # numpy scalars and arrays, without importing numpy
        return tolist()
    raise ConfigError(
        f"a configuration holds {value!r} of type {type(value).__name__}, but may hold only "
        "dataclasses, numbers, strings, paths, lists and dicts. Name the thing instead."
    )


def from_plain(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass `cls` from what `to_plain` gave.

    Raises:
        ConfigError: A key is unknown or missing, or a value has another type; says which.
    """
    where = where or cls.__name__
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} is {data!r}, but must be a dict of fields.")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where} has unknown field(s) {', '.join(unknown)}. "
            f"Known: {', '.join(fields)}. Was it written by another version?"
        )
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _typed(hints[name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where} misses the field '{name}', which has no default.")
    return cls(**values)


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that `hint` names."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Annotated:
        return _typed(args[0], value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where} is {value!r}, but must be one of {list(args)}.")
        return value
    if origin in (typing.Union, types.UnionType):
        return _typed_union(args, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        if len(inner) == len(value):
            return tuple(_typed(h, v, where) for h, v in zip(inner, value, strict=True))
    elif origin is list and isinstance(value, list):
        return [_typed(args[0], v, where) for v in value]
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        return {k: _typed(args[1], v, f"{where}[{k}]") for k, v in value.items()}
    elif dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)  # type: ignore[arg-type]
    elif isinstance(hint, type):
        return _typed_scalar(hint, value, where)
    raise ConfigError(f"{where} is {value!r}, but must be {hint}.")


def _typed_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first option that takes the value as it is."""
    if value is None and type(None) in options:
        return None
    reasons = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _typed(option, value, where)
        except ConfigError as error:
            reasons.append(str(error))
    raise ConfigError(" Or: ".join(reasons) or f"{where} is {value!r}, but must be None.")


def _typed_scalar(hint: type, value: Any, where: str) -> Any:
    """A leaf: numbers widen from int to float, enums and paths are built from their value."""
    if issubclass(hint, enum.Enum | Path):
        try:
            return hint(value)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where} is {value!r}, but must be a {hint.__name__}.") from error
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} is {value!r}, but must be of type {hint.__name__}.")


def save_config(path: Path, config: Any) -> None:
    """Write a dataclass (or dict) as indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(to_plain(config), indent=2) + "\n")


def load_config(path: Path, cls: type[T]) -> T:
    """Read what `save_config` wrote.

    Raises:
        ConfigError: The file is missing, is no JSON, or does not fit `cls`.
    """
    try:
        data = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration at {path}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no valid JSON: {error}.") from error
    return from_plain(cls, data)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`: a reader or a crash sees the old file or the new one."""
    part = Path(f"{path}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def config_hash(config: Any) -> str:
    """12 hex digits of the SHA-256 of the configuration's content: same content, same name."""
    text = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe_differences(old: Any, new: Any) -> list[str]:
    """One line for each field in which two configurations differ: `learn.seed: 0 -> 1`."""
    before, after = flatten(to_plain(old)), flatten(to_plain(new))
    return [
        f"{key}: {before.get(key, '(none)')} -> {after.get(key, '(none)')}"
        for key in sorted(before.keys() | after.keys())
        if key not in before or key not in after or before[key] != after[key]
    ]


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def git_revision(folder: Path | None = None) -> str:
    """The commit of the source in `folder` (default: this package), `+dirty` if it was edited."""
    where = str(folder or Path(__file__).parent)
    try:
        head = _git(where, "rev-parse", "HEAD")
        edited = _git(where, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head[:12] + ("+dirty" if edited else "")


def _git(folder: str, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
