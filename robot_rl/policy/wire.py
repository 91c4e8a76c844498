"""Messages between a policy server and the robot: typed, versioned, limited; never a pickle.

command:   observe → **bytes → base elsewhere → bytes** → + residual → decode → safety → send

A message is its length (4 bytes, big endian) and a msgpack map. The length is checked before
memory is taken for it, and an array says dtype and shape, which must fit its bytes.
"""

import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from robot_rl.errors import RobotRLError

__all__ = [
    "MAX_MESSAGE_BYTES",
    "WIRE_VERSION",
    "PolicyLinkError",
    "PolicyTimeoutError",
    "RemotePolicyError",
    "WireError",
    "pack",
    "pack_array",
    "receive",
    "send",
    "unpack",
    "unpack_array",
]

WIRE_VERSION = 1
MAX_MESSAGE_BYTES = 32 * 2**20
"""Room for several camera images; anything longer is refused unread."""

_DTYPES = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}
_MAX_NDIM = 4
_LENGTH = struct.Struct(">I")


class WireError(RobotRLError):
    """A message is not one of ours: too long, malformed, or of another version."""


class PolicyTimeoutError(RobotRLError, TimeoutError):
    """The policy server did not answer in time; hold the robot."""


class PolicyLinkError(RobotRLError, ConnectionError):
    """The policy server cannot be reached, or has gone."""


class RemotePolicyError(RobotRLError):
    """The policy server refused a request; the message says why."""


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """An array as plain data.

    Raises:
        WireError: Its dtype is not on the list.
    """
    name = array.dtype.name
    if name not in _DTYPES:
        raise WireError(f"an array of {name} cannot be sent; allowed: {', '.join(_DTYPES)}.")
    data = np.ascontiguousarray(array, _DTYPES[name]).tobytes()
    return {"dtype": name, "shape": list(array.shape), "data": data}


def unpack_array(value: Any) -> np.ndarray:
    """The array that `pack_array` packed, read-only.

    Raises:
        WireError: Dtype, shape and bytes do not fit each other.
    """
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data"}:
        raise WireError("an array must have dtype, shape and data.")
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise WireError(f"an array has dtype {dtype!r}; allowed: {', '.join(_DTYPES)}.")
    is_shape = isinstance(shape, list) and len(shape) <= _MAX_NDIM
    if not is_shape or not all(type(n) is int and 0 <= n <= MAX_MESSAGE_BYTES for n in shape):
        raise WireError(f"an array has shape {shape!r}; allowed: up to {_MAX_NDIM} sizes >= 0.")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise WireError(f"an array of {dtype} {shape} does not fit its bytes.")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def pack(kind: str, **fields: Any) -> bytes:
    """A message of this kind with these plain fields, length first.

    Raises:
        WireError: The message is too long.
    """
    body = bytes(msgpack.Packer().pack({"version": WIRE_VERSION, "kind": kind, **fields}))
    if len(body) > MAX_MESSAGE_BYTES:
        raise WireError(
            f"a message of {len(body)} bytes is too long; allowed: {MAX_MESSAGE_BYTES}. "
            "Send smaller images."
        )
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    """The message in `body`: a map with "kind" and the fields of that kind.

    Raises:
        WireError: It is malformed or of another version.
    """
    try:
        message = msgpack.unpackb(
            body, max_bin_len=MAX_MESSAGE_BYTES, max_str_len=2**16, max_ext_len=0
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"a message of {len(body)} bytes is no msgpack: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise WireError("a message must be a map with a kind.")
    if message.get("version") != WIRE_VERSION:
        raise WireError(
            f"a message has version {message.get('version')!r}; this robot_rl speaks version "
            f"{WIRE_VERSION}. Install the same release on both machines."
        )
    return message


def send(link: socket.socket, message: bytes, timeout_s: float) -> None:
    """Send what `pack` made.

    Raises:
        PolicyTimeoutError: The other side did not take it in time.
        PolicyLinkError: The other side has gone.
    """
    try:
        link.settimeout(timeout_s)
        link.sendall(message)
    except TimeoutError as error:
        raise PolicyTimeoutError(f"sending took longer than {timeout_s} s.") from error
    except OSError as error:
        raise PolicyLinkError(f"the other side has gone: {error}") from error


def receive(link: socket.socket, timeout_s: float) -> dict[str, Any]:
    """Wait for the next message.

    Raises:
        PolicyTimeoutError: It was not there, whole, in time.
        PolicyLinkError: The other side has gone.
        WireError: It is too long, malformed or of another version.
    """
    deadline_s = time.monotonic() + timeout_s
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size, deadline_s, timeout_s))
    if length > MAX_MESSAGE_BYTES:
        raise WireError(
            f"a message announces {length} bytes; allowed: {MAX_MESSAGE_BYTES}. "
            "Is the other side a robot_rl policy?"
        )
    return unpack(bytes(_exactly(link, length, deadline_s, timeout_s)))


def _exactly(link: socket.socket, count: int, deadline_s: float, timeout_s: float) -> bytearray:
    """The next `count` bytes."""
    data = bytearray()
    while len(data) < count:
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise PolicyTimeoutError(f"no whole message within {timeout_s} s.")
        try:
            link.settimeout(remaining_s)
            part = link.recv(min(count - len(data), 2**20))
        except TimeoutError:
            continue  # the deadline has passed: said at the top, in one place
        except OSError as error:
            raise PolicyLinkError(f"the other side has gone: {error}") from error
        if not part:
            raise PolicyLinkError("the other side closed the connection.")
        data += part
    return data


def pack_observation(obs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, Any]:
    """An observation as plain data; a flat one has the one name ""."""
    parts = obs if isinstance(obs, Mapping) else {"": obs}
    return {name: pack_array(np.asarray(part)) for name, part in parts.items()}


def unpack_observation(value: Any) -> np.ndarray | dict[str, np.ndarray]:
    """The observation that `pack_observation` packed.

    Raises:
        WireError: It is malformed.
    """
    if not isinstance(value, dict) or not value or not all(isinstance(n, str) for n in value):
        raise WireError("an observation must be a map of named arrays.")
    parts = {name: unpack_array(part) for name, part in value.items()}
    return parts[""] if parts.keys() == {""} else parts
