"""The inside of the sandbox: a process that gives up all it could do harm with, then computes.

learning:  checked source → **sandbox** → figures → progress model

Run as a script by `sandbox.Sandbox`, isolated (`-I`), with an empty environment and nothing open
but its two pipes; it knows numpy and the standard library only. Messages both ways are a length
(4 bytes, big-endian), a JSON head, and raw float64 numbers. What cannot be given up on this system
is not: the first message says which walls stand.
"""

import contextlib
import ctypes
import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["WALLS", "main"]

WALLS = {
    "limits": "memory and processor time end somewhere; no further file, socket or process",
    "user": "another user than root",
    "network": "no network, not even this machine's own",
    "processes": "no process but its own can be seen or signalled",
    "files": "an empty folder is all there is of the file system",
    "rights": "no capabilities, and no program could bring new ones",
}
"""What a process gives up, and what that means."""

_NOBODY = 65534
_NEW_SPACES = 0x10000000 | 0x40000000 | 0x20000000 | 0x00020000 | 0x08000000 | 0x04000000
"""CLONE_NEW{USER,NET,PID,NS,IPC,UTS} of <sched.h>; `os.unshare` is Python 3.12's."""
_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38  # PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of <linux/capability.h>
_MOST_WORDS = 300

_Errors = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a wrong function raises; anything else ends the process, and its end is the answer."""


def main() -> None:
    """Give up what can be given up, then answer until the pipe is closed."""
    inward, outward = os.dup(0), os.dup(1)
    for number in (0, 1, 2):
        os.close(number)
    head, _ = _receive(inward)
    np.seterr(all="ignore")
    _warm_up()
    walls = _give_up(head, (inward, outward))
    _send(outward, {"walls": walls})
    function: Callable[..., Any] | None = None
    while True:
        head, numbers = _receive(inward)
        _allow_cpu(head["cpu_s"])
        try:
            if "source" in head:
                function = _compiled(head["source"], head["entry"], head["numpy"], head["python"])
            assert function is not None  # the first request brings the source
            total, parts = _called(function, head["columns"], numbers)
        except _Errors as error:
            words = f"{type(error).__name__}: {error}"[:_MOST_WORDS]
            _send(outward, {"failure": words})
            continue
        _send(outward, {"components": list(parts)}, np.stack([total, *parts.values()]))


def _warm_up() -> None:
    """Let numpy import what it imports at the first use: later there is nothing to import."""
    ones = np.ones((2, 2))
    for name in ("all", "any", "max", "mean", "min", "prod", "round", "std", "sum"):
        getattr(ones, name)()
    ones.clip(0, 1)
    wrong: tuple[Callable[[], Any], ...] = (
        lambda: ones.sum(axis=7),
        lambda: ones + np.ones(3),
        lambda: np.bitwise_and(ones, ones),
        lambda: np.empty(1 << 60),
    )
    for raising in wrong:
        with contextlib.suppress(*_Errors):
            raising()


def _receive(pipe: int) -> tuple[dict[str, Any], np.ndarray]:
    """A head, and the numbers that it announces (none if it does not); ends at a closed pipe."""
    head = json.loads(_read(pipe, struct.unpack(">I", _read(pipe, 4))[0]))
    count = sum(rows * size for _, rows, size in head.get("columns", ()))
    return head, np.frombuffer(_read(pipe, 8 * count), np.float64)


def _read(pipe: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(pipe, count - len(parts))
        if not part:
            sys.exit(0)
        parts += part
    return bytes(parts)


def _send(pipe: int, head: dict[str, Any], numbers: np.ndarray | None = None) -> None:
    words = json.dumps(head).encode()
    rest = b"" if numbers is None else np.ascontiguousarray(numbers, np.float64).tobytes()
    message = memoryview(struct.pack(">I", len(words)) + words + rest)
    while message:
        message = message[os.write(pipe, message) :]


def _compiled(source: str, entry: str, numpy: list[str], python: list[str]) -> Callable[..., Any]:
    """The function, in a world that holds nothing but these words."""
    np_words = SimpleNamespace(linalg=SimpleNamespace(norm=np.linalg.norm))
    for name in numpy:
        if "." not in name:
            setattr(np_words, name, getattr(np, name))
    known = {"abs": abs, "float": float}
    world: dict[str, Any] = {"__builtins__": {name: known[name] for name in python}}
    world["np"] = np_words
    exec(compile(source, "<written>", "exec"), world)
    return world[entry]


def _called(
    function: Callable[..., Any], columns: list[tuple[str, int, int]], numbers: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What the function says: progress (N,) and its components (N,) each."""
    arrays, at = [], 0
    for _, rows, size in columns:
        arrays.append(numbers[at : at + rows * size].reshape(rows, size))  # read-only
        at += rows * size
    said = function(*arrays)
    total, parts = said if isinstance(said, tuple) else (said, {})
    if not isinstance(parts, dict):
        raise TypeError("must return progress, or (progress, dict of components)")
    rows = columns[0][1]
    found = np.asarray(total, np.float64)
    if found.shape != (rows,):
        raise ValueError(f"progress has shape {_named(found, rows)}, but must have shape (N,)")
    named: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        values = np.asarray(part, np.float64)
        if values.shape not in ((rows,), ()):
            words = _named(values, rows)
            raise ValueError(f"component '{name}' has shape {words}, but must have shape (N,)")
        named[str(name)] = np.broadcast_to(values, (rows,))
    return found, named


def _named(values: np.ndarray, rows: int) -> str:
    """A shape in which the number of states is called N."""
    return f"({', '.join('N' if size == rows else str(size) for size in values.shape)})"


def _give_up(head: dict[str, Any], pipes: tuple[int, int]) -> list[str]:
    """Raise every wall that this system lets one raise; returns their names.

    The order matters: each wall needs what later ones give up.
    """
    memory = int(head["memory_bytes"]) + _used_bytes()
    walls = {"limits": True, "user": _be_nobody()}
    walls["network"] = walls["processes"] = _leave_spaces()
    if walls["processes"]:
        _be_alone(pipes)
    walls["files"] = _leave_files(head["root"])
    walls["rights"] = _drop_rights()
    _limit(memory)
    return [name for name, stands in walls.items() if stands]


def _used_bytes() -> int:
    """Address space that Python and numpy take already."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0  # no Linux: the limit counts from nothing


def _limit(memory_bytes: int) -> None:
    """Limits of the kernel that no later call can lift."""
    limits = {"RLIMIT_AS": memory_bytes, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0}
    limits |= {"RLIMIT_NOFILE": 0, "RLIMIT_NPROC": 0}  # what is open stays open
    for name, limit in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):  # not on every system
            resource.setrlimit(getattr(resource, name), (limit, limit))


def _allow_cpu(seconds: float) -> None:
    """End this process once it has computed that much longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _be_nobody() -> bool:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    return os.geteuid() != 0


def _leave_spaces() -> bool:
    """Into namespaces of its own, in which there is nothing; one of processes is for children."""
    libc = _libc()
    return libc is not None and libc.unshare(_NEW_SPACES) == 0


def _be_alone(pipes: tuple[int, int]) -> None:
    """Go on as the first child, which sees no other process; this one only passes on its end."""
    child = os.fork()
    if child == 0:
        libc = _libc()
        libc.prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        # The first process of a namespace ignores signals that it has no handler for, and one of
        # Python's would wait until a long computation is over.
        libc.signal(int(signal.SIGXCPU), ctypes.cast(libc._exit, ctypes.c_void_p))
        return
    for pipe in pipes:
        os.close(pipe)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), -code)
    os._exit(code)


def _leave_files(root: str) -> bool:
    """Into an empty folder, which its maker removes at once."""
    try:
        os.chroot(root)
        os.chdir("/")
    except OSError:
        return False
    return True


def _drop_rights() -> bool:
    """Away with the rights that the namespace came with; they would lead out of the folder."""
    libc = _libc()
    if libc is None or libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    return libc.capset(header, (ctypes.c_uint32 * 6)()) == 0


def _libc() -> Any:
    """The C library of Linux; None elsewhere."""
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


if __name__ == "__main__":
    main()
