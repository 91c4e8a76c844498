"""`robot-rl learner RUN`: learns what the actor of a run records, and publishes weights to it.

learning:  **episode store → … → residual agent → weights** → the actor, in another process

`robot-rl train --engine split` starts one beside the actor. One started by hand, on any machine
that sees the run's folder, takes over when there is no other.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TYPE_CHECKING, Annotated

import tyro

from robot_rl.errors import ConfigError, DataError, RobotRLError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robot_rl.learn.split import SplitFolder

__all__ = ["Cfg", "LearnerLostError", "LearnerProcess", "main"]

_LOOK_S = 0.2
_END_S = 10.0  # to save a checkpoint in; one that takes longer is killed, and loses nothing


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl learner`."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder."""
    parent: int = 0
    """The process to end with (default: none)."""
    nice: int = 0
    """Lower priority, up to 19: on a robot's own machine the arm comes first."""

    def __post_init__(self) -> None:
        """Refuse a process and a priority that cannot be."""
        if self.parent < 0 or not 0 <= self.nice <= 19:
            raise ConfigError(
                f"parent is {self.parent} and nice {self.nice}, but must be a process id or 0, "
                "and 0 to 19."
            )


def main(cfg: Cfg) -> int:
    """Learn until the run is over, its parent has gone, or a signal asks to stop."""
    from robot_rl.apps.judging import SPARSE, RewardName, source_of
    from robot_rl.apps.threads import use_one_thread
    from robot_rl.config import from_plain
    from robot_rl.learn.carry_over import CarryOverCfg, Pretrained
    from robot_rl.learn.learner import StoreLearner
    from robot_rl.learn.methods import ResidualCfg
    from robot_rl.learn.progress import Progress
    from robot_rl.learn.record import RunRecord
    from robot_rl.learn.residual import ResidualLearner
    from robot_rl.learn.reward_cfg import RewardCfg
    from robot_rl.learn.run import RunFolder
    from robot_rl.learn.split import SplitFolder
    from robot_rl.reward.retraining import RetrainCfg

    use_one_thread()
    os.nice(cfg.nice)
    stop, folder = _stopper(cfg.parent), SplitFolder(cfg.run)
    config = RunRecord.read(cfg.run).config
    learn, start = from_plain(ResidualCfg, config.get("learn", {})), folder.unpack()
    reward = source_of(
        RewardName.parse(config.get("reward", SPARSE)),
        from_plain(RewardCfg, config.get("judging", {})),
        str(config.get("env", "")),
        cfg.run,
        start.demos,
        retrain=from_plain(RetrainCfg, config.get("retrain", {})),
    )
    with _alone(folder, stop) as is_alone:
        if not is_alone:
            return 0
        run = RunFolder(cfg.run, keeps="logs")
        learner = ResidualLearner(
            learn, None, start.base, start.demos, run=run, norm=start.norm, reward=reward
        )
        if config.get("from") is not None:
            carry = from_plain(CarryOverCfg, config.get("carry", {}))
            Pretrained.load(Path(config["from"])).hand_over(learner, carry)
        with Progress("learn", learn.steps) as progress:
            StoreLearner(learner, run, folder).run(stop=stop, progress=progress)
    return 0


def _stopper(parent: int) -> Callable[[], bool]:
    """Says whether to stop; a signal is obeyed between two episodes, so that all can be saved."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return lambda: bool(asked) or (parent > 0 and os.getppid() != parent)


@contextmanager
def _alone(folder: "SplitFolder", stop: Callable[[], bool]) -> "Iterator[bool]":
    """Wait until no other process learns this run; False if asked to stop meanwhile."""
    from robot_rl.replay.store_lock import StoreLock

    lock, is_said = StoreLock(folder.lock), False
    while not stop():
        try:
            lock.acquire()
        except DataError as error:
            if not is_said:
                print(f"waiting, for there is a learner: {error}", file=sys.stderr, flush=True)
            is_said = True
            time.sleep(_LOOK_S)
            continue
        try:
            yield True
        finally:
            lock.release()
        return
    yield False


class LearnerLostError(RobotRLError):
    """The learner keeps ending, and the actor has come to where it needs it."""


class LearnerProcess:
    """The learner of a run as a child of the actor: started when needed, and again when it dies.

    One that dies again and again without publishing anything is given up; the actor goes on with
    the weights it has, and only where it must wait for others is that an error.
    """

    tries = 3

    def __init__(self, folder: "SplitFolder", *, nice: int = 0) -> None:
        self._folder, self._nice = folder, nice
        self._child: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._left = self.tries
        self._seen = ""

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        return None if self._child is None else self._child.pid

    def tend(self, is_waiting: bool) -> None:
        """Start the learner if it does not run.

        Raises:
            LearnerLostError: It is waited for, and was given up.
        """
        if self._child is not None and self._child.poll() in (None, 0):
            return  # it runs, or the run is over
        newest = max((path.name for path in self._folder.weights.glob("[0-9]*")), default="")
        if newest != self._seen:
            self._seen, self._left = newest, self.tries
        if self._left > 0:
            self._left -= 1
            self._start()
        elif is_waiting:
            assert self._child is not None  # it was started
            raise LearnerLostError(
                f"the learner of {self._folder.run} has ended {self.tries} times with exit code "
                f"{self._child.returncode}, and published nothing. See {self._folder.log}; what "
                "was recorded is safe, and --resume goes on from it."
            )

    def _start(self) -> None:
        if self._log is None:
            self._log = self._folder.log.open("ab")
        command = [sys.executable, "-m", "robot_rl", "learner", str(self._folder.run)]
        # Of its own session, so that a Ctrl-C is the actor's to pass on, and both end in order.
        self._child = subprocess.Popen(
            [*command, "--parent", str(os.getpid()), "--nice", str(self._nice)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def __enter__(self) -> "LearnerProcess":
        """Nothing is started before it is needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the learner save and end; kill one that does not."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._log is not None:
            self._log.close()
