"""Questions to a progress model and its answers as msgpack: plain data, checked when it is read.

learning:  transition → episode store → **progress model elsewhere** → replay → residual agent

What comes off a wire is data from outside: anything malformed is a `WireError`, and an answer goes
through the same checks as one that was made here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgpack
import numpy as np

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.policy.wire import WireError, pack_array, unpack_array
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery

__all__ = [
    "SCORE_VERSION",
    "pack_about",
    "pack_estimates",
    "pack_queries",
    "unpack_about",
    "unpack_estimates",
    "unpack_queries",
]

SCORE_VERSION = 1
_IMAGES = ("frames", "initial", "goal")
_VECTORS = ("proprio", "initial_proprio", "goal_proprio")
_CURVES = ("progress", "success", "sigma")
_MOST_QUERIES = 4096


def pack_queries(queries: Sequence[ProgressQuery]) -> bytes:
    """Questions as one message."""
    return _packed("queries", [_query(query) for query in queries])


def unpack_queries(body: bytes) -> list[ProgressQuery]:
    """The questions that `pack_queries` packed.

    Raises:
        WireError: They are malformed.
    """
    return [_unpack_query(row) for row in _rows(body, "queries")]


def pack_estimates(estimates: Sequence[ProgressEstimate]) -> bytes:
    """Answers as one message."""
    return _packed("estimates", [_estimate(estimate) for estimate in estimates])


def unpack_estimates(body: bytes) -> list[ProgressEstimate]:
    """The answers that `pack_estimates` packed.

    Raises:
        WireError: They are malformed, or hold a number where there is no judgement.
    """
    return [_unpack_estimate(row) for row in _rows(body, "estimates")]


def pack_about(model_id: str, version: int, capabilities: Capabilities) -> bytes:
    """What a model is, as one message."""
    row = {"model_id": model_id, "version": version, "capabilities": asdict(capabilities)}
    return _packed("about", [row])


def unpack_about(body: bytes) -> tuple[str, int, Capabilities]:
    """Model id, version and capabilities that `pack_about` packed.

    Raises:
        WireError: They are malformed.
    """
    rows = _rows(body, "about")
    try:
        (row,) = rows
        can = row["capabilities"]
        return str(row["model_id"]), int(row["version"]), Capabilities(**can)
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"a description of a model is malformed: {error!r}") from error


def _packed(kind: str, rows: list[dict[str, Any]]) -> bytes:
    message = {"version": SCORE_VERSION, "kind": kind, "rows": rows}
    return bytes(msgpack.Packer().pack(message))


def _rows(body: bytes, kind: str) -> list[Any]:
    """The rows of a message of this kind."""
    try:
        message = msgpack.unpackb(body, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"a message of {len(body)} bytes is no msgpack: {error}") from error
    if not isinstance(message, dict) or message.get("kind") != kind:
        raise WireError(f"a message must be a map of kind '{kind}'.")
    if message.get("version") != SCORE_VERSION:
        raise WireError(
            f"a message has version {message.get('version')!r}; this robot_rl speaks version "
            f"{SCORE_VERSION}. Install the same release on both machines."
        )
    rows = message.get("rows")
    if not isinstance(rows, list) or len(rows) > _MOST_QUERIES:
        raise WireError(f"a message must hold up to {_MOST_QUERIES} rows.")
    return rows


def _query(query: ProgressQuery) -> dict[str, Any]:
    images: dict[str, Mapping[str, np.ndarray]] = {name: getattr(query, name) for name in _IMAGES}
    vectors = {name: getattr(query, name) for name in _VECTORS}
    return {
        "stamps_s": query.stamps_s.tolist(),
        "task": query.task,
        **{n: {key: pack_array(image) for key, image in of.items()} for n, of in images.items()},
        **{n: None if v is None else pack_array(v) for n, v in vectors.items()},
    }


def _unpack_query(row: Any) -> ProgressQuery:
    try:
        images = {
            name: {str(key): _array(image) for key, image in row[name].items()} for name in _IMAGES
        }
        vectors = {name: None if row[name] is None else _array(row[name]) for name in _VECTORS}
        if not isinstance(row["task"], str):
            raise TypeError("task is no text")
        stamps_s = np.array(row["stamps_s"], np.float64)
        if stamps_s.ndim != 1:
            raise ValueError("stamps_s is no list of numbers")
        return ProgressQuery(stamps_s=stamps_s, task=row["task"], **images, **vectors)  # type: ignore[arg-type]
    except WireError:
        raise
    except (RobotRLError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WireError(f"a query is malformed: {error}") from error


def _estimate(estimate: ProgressEstimate) -> dict[str, Any]:
    return {
        **{name: pack_array(getattr(estimate, name)) for name in _CURVES},
        "hop": None if estimate.hop is None else pack_array(estimate.hop),
        "valid": pack_array(estimate.valid.astype(np.uint8)),
        "model_id": estimate.model_id,
        "version": estimate.version,
        "latency_s": estimate.latency_s,
        "raw_text": estimate.raw_text,
    }


def _unpack_estimate(row: Any) -> ProgressEstimate:
    try:
        latency_s = float(row["latency_s"])
        if not math.isfinite(latency_s):
            raise ConfigError("latency_s is not finite.")
        return ProgressEstimate(
            **{name: _array(row[name]) for name in _CURVES},  # type: ignore[arg-type]
            hop=None if row["hop"] is None else _array(row["hop"]),
            valid=_array(row["valid"]) == 1,
            model_id=str(row["model_id"]),
            version=int(row["version"]),
            latency_s=latency_s,
            raw_text=str(row["raw_text"]),
        )
    except WireError:
        raise
    except (RobotRLError, ValueError, KeyError, TypeError, IndexError) as error:
        raise WireError(f"an estimate is malformed: {error}") from error


def _array(value: Any) -> np.ndarray:
    """An array of one's own: what lies in the message is read-only, which torch does not take."""
    return unpack_array(value).copy()
