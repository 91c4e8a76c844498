"""What an actor and a learner share: a run's folder, and in it what both start from.

learning:  transition → **episode store** → residual agent → **weights** → policy

    episodes.zarr/            every executed episode: written by the actor, read by the learner
    weights/000012/           what was learned: written by the learner, read by the actor
    learner/base/             the frozen base
            demos.zarr/       the demonstrations, as the learner sees them
            norm.safetensors  the scaling; written last, so that where it is, all is
            lock, learner.log

Two processes on one machine, or two machines that share the folder: there is no other connection,
so that nothing is lost when either of them dies, and nothing is ever unpickled.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.numpy

from robot_rl.errors import DataError
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.saved import CONFIG_FILE, load_policy, save_policy
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory

__all__ = ["SplitFolder", "Start"]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What learning starts from, beside its configuration."""

    base: BasePolicy | None
    demos: Sequence[Trajectory]
    norm: Normaliser


class SplitFolder:
    """Where everything lies in the folder `run`."""

    def __init__(self, run: Path) -> None:
        self.run = Path(run)
        self.store = self.run / "episodes.zarr"
        self.weights = self.run / "weights"
        self.learner = self.run / "learner"
        self.lock = self.learner / "lock"
        self.log = self.learner / "learner.log"

    @property
    def is_packed(self) -> bool:
        """Whether all that learning starts from is there."""
        return self._norm.exists()

    @property
    def _norm(self) -> Path:
        return self.learner / "norm.safetensors"

    def pack(self, start: Start) -> None:
        """Put in what learning starts from, for a learner in another process.

        Raises:
            CheckpointError: The base cannot be saved.
        """
        self.learner.mkdir(parents=True, exist_ok=True)
        if start.base is not None:
            save_policy(start.base, self.learner / "base")
        shutil.rmtree(self.learner / "demos.zarr", ignore_errors=True)  # of a killed attempt
        if start.demos:
            meta = StoreMeta(robot="demonstrations", control_hz=1.0)
            with EpisodeStore.create(self.learner / "demos.zarr", meta) as store:
                for demo in start.demos:
                    store.append(replace(demo, obs={"state": demo.obs["state"]}))
        part = self._norm.with_suffix(".part")
        safetensors.numpy.save_file(start.norm.arrays(), part)
        part.replace(self._norm)

    def unpack(self) -> Start:
        """What was packed.

        Raises:
            DataError: Nothing was.
            CheckpointError: The base is damaged.
        """
        if not self.is_packed:
            raise DataError(
                f"{self.run} holds nothing to learn from in another process. Start the run with "
                "robot-rl train --engine split."
            )
        base, demos = self.learner / "base", self.learner / "demos.zarr"
        return Start(
            base=load_policy(base) if (base / CONFIG_FILE).exists() else None,
            demos=list(EpisodeStore.open(demos)) if demos.exists() else [],
            norm=Normaliser.from_arrays(safetensors.numpy.load_file(self._norm)),
        )
