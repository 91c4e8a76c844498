"""One folder a run: what was asked, what happened, what was learned, and how to see it.

    runs/<name>/config.json       resolved configuration, versions, git revision, exact command
                metrics.jsonl     {"step", ...floats}                 learner's view of itself
                evals.jsonl       {"step", "policy", "seeds", "successes", "lengths"}
                episodes.jsonl    {"step", "episode", "success", "length", "behaviour", ...}
                clock.jsonl       {"step", "wall_s", "cpu_s"}         what those steps cost
                offline.jsonl     {"update", ...floats}               learning without acting
                attempts.jsonl    {"step", "direction", "success", "resets", "robot_s"}
                status.json       running | finished | failed | interrupted, and how far
                tb/ checkpoints/ videos/ report.html

The first three logs hold nothing that depends on the clock, so that those of a resumed run equal
those of an uninterrupted one, byte for byte. `behaviour` names who acted (base, imitation,
residual ...); `policy` names who was evaluated, "base" being the one to compare with.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from robot_rl.config import (
    config_hash,
    describe_differences,
    git_revision,
    to_plain,
    write_atomically,
)
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.jsonl import JsonLines, read_lines
from robot_rl.learn.record import LOGS, read_json
from robot_rl.learn.tensorboard import TensorBoard

__all__ = ["RunFolder"]

PACKAGES = ("robot-rl", "numpy", "torch", "gymnasium", "mujoco")


class ResumePoint(Protocol):
    """What `RunFolder.rewind` needs of a checkpoint."""

    @property
    def step(self) -> int:
        """Environment steps done."""
        ...

    @property
    def log_sizes(self) -> Mapping[str, int]:
        """Bytes in each log when the checkpoint was taken."""
        ...


class RunFolder:
    """Writes one run. Make it with `create`; read any run with `record.RunRecord`.

    Args:
        path: The run's folder.
        keeps: What this process writes of it. Where acting and learning are two processes, the
            one keeps the status and the other the logs.
    """

    def __init__(self, path: Path, keeps: Literal["all", "status", "logs"] = "all") -> None:
        self.path, self._keeps = Path(path), keeps
        self.tensorboard = TensorBoard(self.path / "tb")
        self._logs = {name: JsonLines(self.path / f"{name}.jsonl") for name in LOGS}
        self._status: dict[str, Any] = {"state": "running", "step": 0}
        self._status_written_s = 0.0
        self._clock_step = 0
        self._started_s = (time.time(), time.process_time())
        # Wall, CPU: of the sessions before a resume, less what was spent off the clock.
        self._spent_s = (0.0, 0.0)

    @classmethod
    def create(
        cls,
        path: Path,
        config: Any,
        resume: bool = False,
        steps: int | None = None,
        calibration_hash: str | None = None,
        command: Sequence[str] | None = None,
        keeps: Literal["all", "status"] = "all",
    ) -> "RunFolder":
        """Start a run in `path`, or go on with the one there if `resume`.

        Args:
            path: The run's folder, made if missing.
            config: Resolved configuration: a dataclass or a dict.
            resume: Go on if the folder holds a run of the same configuration.
            steps: Environment steps planned, for the progress that readers see.
            calibration_hash: Of the robot's calibration, if there is a robot.
            command: The command line (default: that of this process).
            keeps: "status" if another process writes the logs.

        Raises:
            ConfigError: The folder holds a run already, and `resume` is False or the
                configuration differs; says in what.
        """
        run = cls(path, keeps)
        file = run.path / "config.json"
        if file.exists():
            _check_may_resume(file, config, resume)
        for folder in ("checkpoints", "videos", "tb"):
            (run.path / folder).mkdir(parents=True, exist_ok=True)
        if not file.exists():
            about = _about(config, calibration_hash, command)
            write_atomically(file, json.dumps(about, indent=2) + "\n")
        run._status |= {"steps": steps, "pid": os.getpid(), "host": socket.gethostname()}
        run._write_status()
        return run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add one row of the learner's metrics, and one point to each TensorBoard curve."""
        values = {key: float(value) for key, value in metrics.items()}
        self._append("metrics", step, values)
        self.tensorboard.add(step, values)

    def log_offline(self, update: int, metrics: Mapping[str, float]) -> None:
        """Add one row of what a learner sees that does not act: it has updates, and no steps."""
        values = {key: float(value) for key, value in metrics.items()}
        self._logs["offline"].append({"update": int(update), **values})
        self.reached(self._status["step"])

    def log_attempt(self, step: int, fields: Mapping[str, Any]) -> None:
        """Add one attempt, there or back; its step counts both."""
        self._append("attempts", step, fields)

    def log_episode(self, step: int, fields: Mapping[str, Any]) -> None:
        """Add one executed episode that ended at `step`.

        Fields: episode (int), success (bool), length (int), behaviour (str); and what else is
        worth keeping, such as residual_scale.
        """
        self._append("episodes", step, fields)

    def log_eval(
        self,
        step: int,
        policy: str,
        seeds: Iterable[int],
        successes: Iterable[bool],
        lengths: Iterable[int],
        **more: Any,
    ) -> None:
        """Add one evaluation: an outcome and a length for each seed.

        Raises:
            DataError: Not as many outcomes as seeds.
        """
        row = {
            "policy": policy,
            "seeds": [int(s) for s in seeds],
            "successes": [bool(s) for s in successes],
            "lengths": [int(n) for n in lengths],
        }
        if not len(row["seeds"]) == len(row["successes"]) == len(row["lengths"]):
            raise DataError(
                f"evaluation of '{policy}' at step {step}: {len(row['seeds'])} seeds, "
                f"{len(row['successes'])} successes, {len(row['lengths'])} lengths; "
                "must be equally many."
            )
        self._append("evals", step, row | more)
        rate = sum(row["successes"]) / max(len(row["successes"]), 1)
        self.tensorboard.add(step, {f"success/{policy}": rate})
        self._log_clock(step)

    @contextlib.contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Do not count what is done meanwhile, such as evaluation and filming, as cost."""
        wall_s, cpu_s = time.time(), time.process_time()
        try:
            yield
        finally:
            wall_s, cpu_s = wall_s - time.time(), cpu_s - time.process_time()
            self._spent_s = (self._spent_s[0] + wall_s, self._spent_s[1] + cpu_s)

    def reached(self, step: int) -> None:
        """Say how far the run is, where another process writes its logs."""
        self._status["step"] = int(step)
        if time.monotonic() - self._status_written_s > 1.0:
            self._write_status()

    def log_sizes(self) -> dict[str, int]:
        """Bytes in each log, safe on disk: what a checkpoint keeps for `rewind`."""
        return {name: log.size() for name, log in self._logs.items()}

    def rewind(self, checkpoint: ResumePoint | None) -> None:
        """Cut the logs back to a checkpoint (None: to the start), before going on from there."""
        step = checkpoint.step if checkpoint else 0
        for name, log in self._logs.items():
            log.cut(checkpoint.log_sizes.get(name, 0) if checkpoint else 0)
        self.tensorboard.purge_after(step)
        spent = read_lines(self.path / "clock.jsonl")
        self._spent_s = (spent[-1]["wall_s"], spent[-1]["cpu_s"]) if spent else (0.0, 0.0)
        self._started_s = (time.time(), time.process_time())
        self._clock_step = step
        self._status["step"] = step
        self._write_status()

    def finish(self, summary: Mapping[str, Any] | None = None) -> None:
        """Close the logs of a run that reached its end; `summary` holds its headline figures."""
        self._end({"state": "finished", "summary": dict(summary or {})})

    def stop(self, state: str, reason: str) -> None:
        """Close the logs of a run that did not: `state` is "failed" or "interrupted"."""
        self._end({"state": state, "reason": reason})

    def __enter__(self) -> "RunFolder":
        """`with RunFolder.create(...) as run:` leaves a status that is true, however it ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say how the run ended, unless `finish` or `stop` has said so."""
        if self._status["state"] != "running":
            return
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt):
            self.stop("interrupted", "stopped by the user")
        else:
            self.stop("failed", str(error) or type(error).__name__)

    def _end(self, last: Mapping[str, Any]) -> None:
        """Write the last status and close everything."""
        if self._status["step"] > self._clock_step:
            self._log_clock(self._status["step"])
        self._status |= last
        self._write_status()
        self.tensorboard.close()

    def _append(self, name: str, step: int, fields: Mapping[str, Any]) -> None:
        """One row with the step first; the status follows at most once a second."""
        self._logs[name].append({"step": int(step), **fields})
        self.reached(step)

    def _log_clock(self, step: int) -> None:
        """What the run has cost up to `step`, over all its sessions."""
        if self._keeps == "status":
            return
        wall_s = self._spent_s[0] + time.time() - self._started_s[0]
        cpu_s = self._spent_s[1] + time.process_time() - self._started_s[1]
        self._clock_step = int(step)
        row = {"step": int(step), "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3)}
        self._logs["clock"].append(row)

    def _write_status(self) -> None:
        """Say where the run stands, for readers in other processes."""
        if self._keeps == "logs":
            return
        status = self._status | {"updated": time.time()}
        write_atomically(self.path / "status.json", json.dumps(to_plain(status)) + "\n")
        self._status_written_s = time.monotonic()


def _check_may_resume(file: Path, config: Any, resume: bool) -> None:
    """Refuse to write over a run, and to go on with another configuration."""
    old = (read_json(file) or {}).get("config")
    differences = describe_differences(old, config)
    if differences:
        raise ConfigError(
            f"{file.parent} holds a run of another configuration: {'; '.join(differences)}. "
            "Give this run another name, or the old configuration to go on with that one."
        )
    if not resume:
        raise ConfigError(
            f"{file.parent} holds a run of this configuration already. "
            "Go on with it by --resume, or give this run another name."
        )


def _about(
    config: Any, calibration_hash: str | None, command: Sequence[str] | None
) -> dict[str, Any]:
    """What config.json says beside the configuration."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "config": to_plain(config),
        "hash": config_hash(config),
        "git": git_revision(),
        "calibration": calibration_hash,
        "versions": versions,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "command": shlex.join(command or [Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
