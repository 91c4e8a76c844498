"""The second wall: a written function runs in a process that can do nothing but compute.

learning:  checked source → **sandbox** → figures → progress model

What it stops, function by function: memory and processor time beyond a limit, no answer in time, a
crash, numbers of the wrong shape or kind. What the process has given up before it sees the
function (`confined.WALLS`): network, file system, rights, sight of other processes. On Linux with
user namespaces all of these stand. Where they are forbidden (in many containers) or unknown (other
systems), limits still refuse every new file, socket and process; what needs none of these, such as
removing a file of one's own, is up to the syntax check alone. `Sandbox.walls` says which stand.
What it does not stop: an error in the kernel or in numpy that a function made of arithmetic would
have to reach, and signals through shared hardware. Who must be sure of these searches in a virtual
machine.
"""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.reward.written import confined
from robot_rl.reward.written.syntax import CandidateError, Written
from robot_rl.reward.written.vocabulary import BUILTINS, ENTRY, NUMPY
from robot_rl.types import F64

__all__ = ["Said", "Sandbox", "SandboxCfg", "SandboxError"]

_START_S = 60.0  # a loaded machine may need long to import numpy
_MOST_HEAD_BYTES = 65_536


class SandboxError(RobotRLError):
    """The sandbox itself cannot be started; no function is to blame."""


@dataclass(frozen=True, kw_only=True)
class SandboxCfg:
    """What a function may use for one call."""

    memory_bytes: int = 536_870_912
    """Address space beyond that of Python and numpy."""
    cpu_s: float = 5.0
    """Processor time, in steps of a second."""
    wall_s: float = 60.0
    """Time until an answer; then the process is killed."""

    def __post_init__(self) -> None:
        """Refuse limits that nothing could keep, or that are none."""
        for name in ("memory_bytes", "cpu_s", "wall_s"):
            if not 0 < getattr(self, name) < 1e12:
                raise ConfigError(
                    f"sandbox: {name} is {getattr(self, name)}, but must be above 0 and finite."
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What a function says of N states: progress (N,), its components (N,) each, and the time."""

    progress: F64
    components: dict[str, F64]
    took_s: float


class Sandbox:
    """One confined process, started when it is needed and again after a function broke it.

    Safe to use from several threads; close it with `close` or `with`. One that is forgotten ends
    its process when it is collected.
    """

    def __init__(self, cfg: SandboxCfg | None = None) -> None:
        self.cfg = cfg or SandboxCfg()
        self.walls: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._source = ""  # what the process has compiled

    def run(self, written: Written, columns: Mapping[str, F64]) -> Said:
        """Call a function on N states.

        Args:
            written: The function.
            columns: Float64 (N, k) by field; those that the function reads are sent.

        Raises:
            CandidateError: The function is to blame; says why.
            SandboxError: There is no sandbox to run it in.
        """
        with self._lock:
            child = self._ready()
            began_s = time.monotonic()  # who starts the process is not to blame
            try:
                head, body = self._exchange(child, written, columns, began_s + self.cfg.wall_s)
            except TimeoutError as error:
                self._end()
                raise CandidateError(f"no answer within {self.cfg.wall_s:g} s") from error
            except (BrokenPipeError, EOFError) as error:
                raise CandidateError(self._why_ended()) from error
            except (ValueError, KeyError, TypeError) as error:
                self._end()
                raise CandidateError(f"the answer is not as it must be: {error}") from error
        if "failure" in head:
            raise CandidateError(str(head["failure"]))
        said = Said(
            progress=body[0],
            components=dict(zip(head["components"], body[1:], strict=True)),
            took_s=time.monotonic() - began_s,
        )
        _check_finite(said)
        return said

    def start(self) -> None:
        """Start the process now, so that the first call need not wait for it.

        Raises:
            SandboxError: It cannot be started.
        """
        with self._lock:
            self._ready()

    def close(self) -> None:
        """End the process. Calling it twice is harmless."""
        with self._lock:
            self._end()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> "subprocess.Popen[bytes]":
        """The process, with its walls up."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()
        root = tempfile.mkdtemp(prefix="robot-rl-sandbox-")
        try:
            os.chmod(root, 0o755)  # it will be another user's
            self._child = child = _spawn()
            self._collected = weakref.finalize(self, _killed, child)
            deadline_s = time.monotonic() + _START_S
            wish = {"memory_bytes": self.cfg.memory_bytes, "root": root}
            _write(child, _packed(wish), deadline_s)
            walls = _read_head(child, deadline_s)["walls"]
            self.walls = tuple(name for name in confined.WALLS if name in walls)
            return child
        except (OSError, EOFError, TimeoutError, ValueError, KeyError) as error:
            self._end()
            raise SandboxError(
                f"the sandbox cannot be started: {error!r}. It is `{sys.executable} -I "
                f"{confined.__file__}`; run it by hand for the reason."
            ) from error
        finally:
            os.rmdir(root)  # the process that lives there keeps it, and nobody can add to it

    def _exchange(
        self,
        child: "subprocess.Popen[bytes]",
        written: Written,
        columns: Mapping[str, F64],
        deadline_s: float,
    ) -> tuple[dict[str, Any], F64]:
        """Ask, and read head and numbers (1 + components, N) of the answer."""
        arrays = {name: columns[name] for name in written.arguments}
        rows = len(next(iter(arrays.values())))
        head: dict[str, Any] = {"cpu_s": self.cfg.cpu_s}
        head["columns"] = [(name, *part.shape) for name, part in arrays.items()]
        if self._source != written.source:
            head |= {"source": written.source, "entry": ENTRY}
            head |= {"numpy": sorted(NUMPY), "python": sorted(BUILTINS)}
        numbers = b"".join(np.ascontiguousarray(a, np.float64).tobytes() for a in arrays.values())
        _write(child, _packed(head) + numbers, deadline_s)
        answer = _read_head(child, deadline_s)
        self._source = "" if "failure" in answer else written.source
        if "failure" in answer:
            return answer, np.empty((0, 0))
        names = answer["components"]
        if not (isinstance(names, list) and len(set(map(str, names))) == len(names) <= 64):
            raise ValueError(f"components are {str(names)[:80]}")
        answer["components"] = [str(name)[:64] for name in names]
        body = _read(child, 8 * rows * (1 + len(names)), deadline_s)
        return answer, np.frombuffer(body, np.float64).reshape(1 + len(names), rows)

    def _why_ended(self) -> str:
        """Why the process has gone, in words for who wrote the function."""
        child, self._child, self._source = self._child, None, ""
        assert child is not None  # it was asked a moment ago
        self._collected.detach()
        code = _reaped(child)
        if abs(code) == signal.SIGXCPU:  # or the exit code that it became, see `confined`
            return f"more than {self.cfg.cpu_s:g} s of processor time"
        if code < 0:
            return f"the process crashed (signal {-code})"
        return f"the process ended by itself (exit code {code})"

    def _end(self) -> None:
        """Kill the process, if there is one."""
        child, self._child, self._source = self._child, None, ""
        if child is not None:
            self._collected.detach()
            _killed(child)


def _spawn() -> "subprocess.Popen[bytes]":
    """The confined process, not confined yet."""
    return subprocess.Popen(
        [sys.executable, "-I", "-B", str(Path(confined.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        cwd="/",
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the search, which ends its sandbox itself
    )


def _reaped(child: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that is going; its pipes are closed."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        return child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _killed(child: "subprocess.Popen[bytes]") -> None:
    """End a process, whatever it does."""
    child.kill()
    _reaped(child)


def _packed(head: Mapping[str, object]) -> bytes:
    words = json.dumps(head).encode()
    return struct.pack(">I", len(words)) + words


def _write(child: "subprocess.Popen[bytes]", message: bytes, deadline_s: float) -> None:
    """Send all of it.

    Raises:
        TimeoutError: It was not taken in time.
        BrokenPipeError: The process has gone.
    """
    assert child.stdin is not None
    pipe, left = child.stdin.fileno(), memoryview(message)
    os.set_blocking(pipe, False)
    while left:
        _wait(pipe, select.POLLOUT, deadline_s)
        left = left[os.write(pipe, left[:65_536]) :]


def _read_head(child: "subprocess.Popen[bytes]", deadline_s: float) -> dict[str, Any]:
    """The head of an answer.

    Raises:
        TimeoutError: It did not come in time.
        EOFError: The process has gone.
        ValueError: It is too long, or no JSON object.
    """
    size = struct.unpack(">I", _read(child, 4, deadline_s))[0]
    if size > _MOST_HEAD_BYTES:
        raise ValueError(f"a head of {size} bytes")
    head = json.loads(_read(child, size, deadline_s))
    if not isinstance(head, dict):
        raise ValueError(f"a head of type {type(head).__name__}")
    return head


def _read(child: "subprocess.Popen[bytes]", count: int, deadline_s: float) -> bytes:
    assert child.stdout is not None
    pipe, found = child.stdout.fileno(), bytearray()
    while len(found) < count:
        _wait(pipe, select.POLLIN, deadline_s)
        part = os.read(pipe, min(count - len(found), 1 << 20))
        if not part:
            raise EOFError("the process has gone")
        found += part
    return bytes(found)


def _wait(pipe: int, event: int, deadline_s: float) -> None:
    """Until a pipe can be used, or its other end has gone.

    Raises:
        TimeoutError: Neither before the deadline.
    """
    poll = select.poll()
    poll.register(pipe, event)
    left_s = deadline_s - time.monotonic()
    if left_s <= 0 or not poll.poll(1000 * left_s):
        raise TimeoutError


def _check_finite(said: Said) -> None:
    """Refuse NaN and infinity: a failure must never become a number.

    Raises:
        CandidateError: Says of what, and how often.
    """
    for name, values in {"progress": said.progress, **said.components}.items():
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            words = "progress" if name == "progress" else f"component '{name}'"
            raise CandidateError(
                f"{words} is NaN or infinite at {wrong} of {len(values)} states; guard divisions, "
                "logarithms and roots"
            )
