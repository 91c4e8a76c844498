"""From a pretraining to the robot: base, critics, residual, imitation and replay go along.

learning:  twins, prior data → pretraining → **carried over** → learning on the robot

Nothing is trusted for having worked in a twin: what it showed there counts as a few episodes of
evidence, so that a handful on the robot overrule it. The twin's replay stays beside the robot's
own, and is drawn from in a fixed share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.learn.checkpoint import Checkpoint, load_latest
from robot_rl.learn.evidence import Record
from robot_rl.learn.record import RunRecord
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.resume import load_networks
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.policy.saved import under
from robot_rl.replay.buffer import TransitionBuffer

__all__ = ["KIND", "CarryOverCfg", "Pretrained"]

KIND = "pretrain"
"""What the configuration of a pretraining calls itself."""


@dataclass(frozen=True, kw_only=True)
class CarryOverCfg:
    """How far to trust what was learned before there was a robot."""

    share: float = 0.5
    """Share of the pretraining's episodes in what is not drawn from demonstrations."""
    evidence: float = 6.0
    """Episodes on the robot that a candidate's record in the pretraining weighs as much as."""
    successes: int = 100
    """Newest successes of the pretraining that are imitated beside the robot's own."""

    def __post_init__(self) -> None:
        """Refuse shares beyond all, and less than nothing."""
        if not 0 <= self.share <= 1 or self.evidence < 0 or self.successes < 0:
            raise ConfigError(
                f"carry: share {self.share} must be in [0, 1], evidence {self.evidence} and "
                f"successes {self.successes} at least 0."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained:
    """What a finished pretraining left.

    Attributes:
        path: Its folder.
        env: The task it was for.
        hash: Of its configuration.
        start: Its base, demonstrations and scaling.
        saved: Its last checkpoint.
    """

    path: Path
    env: str
    hash: str
    start: Start
    saved: Checkpoint

    @classmethod
    def load(cls, path: Path) -> "Pretrained":
        """Read a pretraining's folder.

        Raises:
            DataError: There is none, or it is not finished.
            CheckpointError: It is damaged.
        """
        record = RunRecord.read(path)
        if record.config.get("kind") != KIND:
            raise DataError(
                f"{path} is a run, but not of robot-rl pretrain. Give a pretraining, or use the "
                f"run's policy as a base: --base {path}."
            )
        if record.state != "finished":
            raise DataError(
                f"the pretraining in {path} is {record.state}, not finished. Go on with it by "
                "robot-rl pretrain ... --resume."
            )
        start, saved = SplitFolder(path).unpack(), load_latest(path)
        if saved is None:
            raise CheckpointError(f"{path} has no checkpoint. Run the pretraining again.")
        if start.base is None:
            raise CheckpointError(f"{path} has no base. Run the pretraining again.")
        for name, array in saved.arrays.items():
            _refuse_nan(path, name, array)
        for name, tensor in saved.tensors.items():
            _refuse_nan(path, name, tensor.numpy())
        env, digest = str(record.config.get("env")), str(record.about.get("hash"))
        return cls(path=Path(path), env=env, hash=digest, start=start, saved=saved)

    def hand_over(self, learner: ResidualLearner, cfg: CarryOverCfg) -> None:
        """Give a fresh learner all that was learned; it has the base, demonstrations and norm.

        Raises:
            CheckpointError: Its networks are of other sizes.
        """
        state = self.saved.state
        try:
            load_networks(learner, self.saved)
        except (CheckpointError, KeyError) as error:
            raise CheckpointError(
                f"what {self.path} learned does not fit this learner: {error} Give the options of "
                "that pretraining (agent, td3.*, chooser.*, candidates) to this run, too."
            ) from error
        learner.trust.load_state(state["trust"])
        learner.is_warm = True
        if learner.imitation is not None:
            learner.imitation.rebase(learner.replay.demos)
        buffer, successes = self._replay(learner)
        kept = successes[len(successes) - min(cfg.successes, len(successes)) :]
        learner.remember(buffer, kept, share=cfg.share)
        for name, counts in state["evidence"].items():
            if name in learner.evidence.records:
                weight = min(1.0, cfg.evidence / max(sum(counts), 1e-9))
                learner.evidence.records[name] = Record(*(weight * n for n in counts))

    def _replay(self, learner: ResidualLearner) -> tuple[TransitionBuffer, list[list[int]]]:
        """All that was done before, prior data first, and the rows of what succeeded."""
        parts = [under(f"{name}.", self.saved.arrays) for name in ("prior", "own")]
        parts = [part for part in parts if part]
        arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        own = learner.replay.own
        buffer = TransitionBuffer(
            max(len(arrays["left"]), 1),
            state_dim=own.state.shape[1],
            action_dim=own.executed.shape[1],
            n_step=own.n_step,
            discount=own.discount,
        )
        buffer.load_arrays(arrays)
        return buffer, _successes(arrays)


def _successes(arrays: Mapping[str, np.ndarray]) -> list[list[int]]:
    """Rows [start, stop) of the episodes that ended with a reward."""
    stops = np.flatnonzero(arrays["left"] == 0) + 1
    starts = np.r_[0, stops][:-1]
    return [
        [int(start), int(stop)]
        for start, stop in zip(starts, stops, strict=True)
        if stop - start > 1 and arrays["is_terminal"][stop - 1] and arrays["reward"][stop - 2] > 0
    ]


def _refuse_nan(path: Path, name: str, array: np.ndarray) -> None:
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise CheckpointError(f"{path}: {name} holds NaN or infinity. Run the pretraining again.")
