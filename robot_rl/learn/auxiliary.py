"""What progress pays beside success: potentials by row, made a reward when a batch is sampled.

learning:  episode → potentials → replay → **reward, when sampled** → residual agent → weights
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from robot_rl.learn.lived import Lived
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.replay.buffer import Batch
from robot_rl.replay.mixing import MixedReplay
from robot_rl.reward.potentials import UNLABELLED, FramePotentials, PotentialTable
from robot_rl.reward.shaping import NaiveShaper, PotentialShaper
from robot_rl.types import F32

__all__ = ["AuxiliaryReward"]


class AuxiliaryReward:
    """The potentials of a replay's rows, and what they are worth.

    Args:
        cfg: What is paid.
        replay: Demonstrations and own episodes.
    """

    def __init__(self, cfg: RewardCfg, replay: MixedReplay) -> None:
        self._replay, self._is_paid = replay, cfg.auxiliary != "none"
        self._table = PotentialTable(replay.first_own + replay.own.capacity)
        is_naive = cfg.auxiliary == "naive"
        self._shaper = (
            NaiveShaper(cfg.shaping, replay.own.discount)
            if is_naive
            else PotentialShaper(cfg.shaping)
        )
        self._unknown: list[float] = []  # share of transitions without a potential, by batch

    @property
    def bounds(self) -> tuple[float, float]:
        """Of values, success included."""
        return self._shaper.bounds if self._is_paid else (0.0, 1.0)

    def write_demo(self, start: int, potentials: FramePotentials) -> None:
        """Keep the potentials of a demonstration whose rows begin at `start`."""
        self._table.write(start, potentials.carried())

    def write(self, lived: Lived, potentials: FramePotentials) -> None:
        """Keep the potentials of an own episode, with the verdict in force."""
        label = np.full(len(potentials), UNLABELLED, np.int8)
        label[-1] = lived.success
        lived.judged = float(potentials.phi_valid.mean())
        first = self._replay.first_own + lived.start
        self._table.write(first, replace(potentials.carried(), success_label=label))

    def potential(self, lived: Lived) -> F32:
        """Potentials (T + 1,) of an own episode, NaN where unknown."""
        rows = self._replay.first_own + np.arange(lived.start, lived.stop)
        return self._table.read(rows).phi

    def rewarded(self, batch: Batch, step: int, trust: float) -> Batch:
        """The batch with what progress pays on top, weighed by `trust`."""
        if not self._is_paid:
            return batch
        gain, known = self._shaper.rewards(
            self._table, batch.row, batch.next_row, batch.discount, step=step, trust=trust
        )
        self._unknown.append(1.0 - float(known.mean()))
        owed = self._shaper.owed(self._table, batch.row, step=step, trust=trust)
        return replace(batch, reward=batch.reward + gain, to_go=batch.to_go - owed)

    def metrics(self) -> dict[str, float]:
        """Figures of the batches since the last call."""
        unknown, self._unknown = self._unknown, []
        return {"reward/unknown": float(np.mean(unknown))} if unknown else {}

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return self._table.arrays(self._replay.rows)

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Be as another was whose `arrays` these are."""
        self._table.load_arrays(arrays)
