"""Potentials as replay keeps them: one a frame, with deviation, model version and validity.

learning:  transition → episode store → progress model → **replay (potentials)** → residual agent

Finished rewards are never stored. A potential can be labelled late, labelled again by a better
model, and serves steps, n steps and chunks alike; the reward is worked out when a transition is
sampled (`shaping.py`). An episode's potentials lie beside it in the store, as the arrays of an
annotation; those of a replay lie row by row in a `PotentialTable`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.errors import DataError, ShapeError
from robot_rl.reward.progress import Bool, ProgressEstimate
from robot_rl.types import F32, I64

__all__ = ["UNLABELLED", "FramePotentials", "PotentialTable"]

UNLABELLED = -1
"""Version of a row that no model has judged, and success label that nobody has given."""

_COLUMNS = {
    "phi": np.float32,
    "phi_sigma": np.float32,
    "phi_version": np.int32,
    "phi_valid": np.bool_,
    "success_p": np.float32,
    "success_label": np.int8,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FramePotentials:
    """R frames as judged; what is not valid holds NaN.

    Attributes:
        phi: float32 (R,), progress in [0, 1].
        phi_sigma: float32 (R,), its standard deviation.
        phi_version: int32 (R,), version of the model that said so.
        phi_valid: bool (R,).
        success_p: float32 (R,), probability of success; NaN where the model was not asked.
        success_label: int8 (R,): 1 done, 0 not done, -1 nobody has decided.
    """

    phi: F32
    phi_sigma: F32
    phi_version: np.ndarray
    phi_valid: Bool
    success_p: F32
    success_label: np.ndarray

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and valid rows without a number."""
        for name in _COLUMNS:
            column = getattr(self, name)
            if column.shape != self.phi.shape:
                raise ShapeError(f"potentials: {name}", column.shape, self.phi.shape)
        judged = np.stack([self.phi[self.phi_valid], self.phi_sigma[self.phi_valid]])
        if not np.isfinite(judged).all():
            raise DataError("potentials: a valid frame holds NaN. Mark it as invalid.")

    @classmethod
    def of(
        cls, estimate: ProgressEstimate, *, frames: I64 | None = None, count: int | None = None
    ) -> "FramePotentials":
        """The potentials of an episode of which a model judged some frames.

        Between two neighbouring keyframes that are both valid, potential and deviation run along
        a straight line; all other frames that were not judged are invalid. Success is not
        interpolated: between keyframes nobody has looked.

        Args:
            estimate: The judgement of K frames.
            frames: Their rising indices (K,) in the episode; None if all were judged.
            count: Number R of frames of the episode; None if all were judged.

        Raises:
            ShapeError: Indices and estimate differ in number.
        """
        frames = np.arange(len(estimate)) if frames is None else np.asarray(frames, np.int64)
        count = len(estimate) if count is None else count
        if frames.shape != estimate.valid.shape:
            raise ShapeError("potentials: frames", frames.shape, estimate.valid.shape)
        valid = _between_valid(frames, estimate.valid, count)
        grid = np.arange(count)
        lines = {
            name: np.where(valid, np.interp(grid, frames, np.nan_to_num(values)), np.nan)
            for name, values in (("phi", estimate.progress), ("phi_sigma", estimate.sigma))
        }
        success = np.full(count, np.nan, np.float32)
        success[frames] = estimate.success
        return cls(
            **{name: line.astype(np.float32) for name, line in lines.items()},
            phi_version=np.full(count, estimate.version, np.int32),
            phi_valid=valid,
            success_p=success,
            success_label=np.full(count, UNLABELLED, np.int8),
        )

    def __len__(self) -> int:
        """Number of frames R."""
        return len(self.phi)

    def carried(self) -> "FramePotentials":
        """The same with each unjudged frame at the potential of the last judged one before it.

        Nothing is gained or lost while nobody can judge, and a way that leads through frames that
        cannot be judged still sums to what lies between its ends: no cycle through them pays.
        Before the first judged frame the potential is 0. If no frame is judged, nothing changes.
        """
        if not self.phi_valid.any():
            return self
        last = np.maximum.accumulate(np.where(self.phi_valid, np.arange(len(self)), -1))
        known = last >= 0
        return replace(
            self,
            phi=np.where(known, self.phi[last], 0.0).astype(np.float32),
            phi_sigma=np.where(known, self.phi_sigma[last], 0.0).astype(np.float32),
            phi_valid=np.ones(len(self), bool),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns by name, as an annotation of the episode store takes them."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FramePotentials":
        """The potentials whose `arrays` these are; further names are ignored.

        Raises:
            DataError: A column is missing.
        """
        missing = [name for name in _COLUMNS if name not in arrays]
        if missing:
            raise DataError(f"potentials: {', '.join(missing)} missing. Label the store again.")
        return cls(**{name: np.asarray(arrays[name], kind) for name, kind in _COLUMNS.items()})


def _between_valid(frames: I64, valid: Bool, count: int) -> Bool:
    """Which of `count` frames are valid keyframes or lie between two that are neighbours."""
    if not len(frames):
        return np.zeros(count, bool)
    grid = np.arange(count)
    left = np.searchsorted(frames, grid, side="right") - 1  # last keyframe at or before
    right = np.searchsorted(frames, grid, side="left")  # first keyframe at or after
    inside = (left >= 0) & (right < len(frames))
    left, right = np.clip(left, 0, None), np.clip(right, None, len(frames) - 1)
    return inside & valid[left] & valid[right]


class PotentialTable:
    """The potentials of a replay's rows; a labeller writes while a learner reads.

    Args:
        capacity: Number of rows of the replay.
    """

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._columns = {
            "phi": np.full(capacity, np.nan, np.float32),
            "phi_sigma": np.full(capacity, np.nan, np.float32),
            "phi_version": np.full(capacity, UNLABELLED, np.int32),
            "phi_valid": np.zeros(capacity, bool),
            "success_p": np.full(capacity, np.nan, np.float32),
            "success_label": np.full(capacity, UNLABELLED, np.int8),
        }

    def write(self, start: int, potentials: FramePotentials) -> None:
        """Put an episode's potentials at the rows from `start` on, in place of earlier ones.

        Raises:
            ShapeError: They do not fit into the table.
        """
        rows = slice(start, start + len(potentials))
        with self._lock:
            capacity = len(self._columns["phi"])
            if start < 0 or rows.stop > capacity:
                raise ShapeError("potentials: rows", (start, rows.stop), (0, capacity))
            for name, column in potentials.arrays().items():
                self._columns[name][rows] = column

    def read(self, rows: I64) -> FramePotentials:
        """A copy of these rows, all of one moment."""
        with self._lock:
            return FramePotentials(**{k: column[rows] for k, column in self._columns.items()})

    def arrays(self, rows: int) -> dict[str, np.ndarray]:
        """Copies of the first `rows` rows by column, for a checkpoint."""
        with self._lock:
            return {name: column[:rows].copy() for name, column in self._columns.items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become the table that `arrays` was taken from.

        Raises:
            DataError: A column is missing.
            ShapeError: There are more rows than this table has.
        """
        self.write(0, FramePotentials.from_arrays(arrays))
