"""Says of a frame whether the model has seen its like: what it has not, it must not judge.

learning:  transition → episode store → **progress model (gate)** → replay → residual agent

Each source (state vector, each camera) is gated for itself, so that one covered lens is enough.
The measure is the distance to the nearest training frame, compared with how far training frames
lie from those of other episodes. It looks at the input, not at learned features: a network maps
much of what it has never seen onto what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import CheckpointError
from robot_rl.reward.progress import Bool
from robot_rl.types import F32, I64, U8

__all__ = ["Familiarity", "thumbnails"]

_MAX_REFERENCE = 1500
_THUMB_PX = 8


def thumbnails(images: U8) -> F32:
    """Images (n, h, w, 3) as means of 8 × 8 fields, (n, 192) in [0, 1]."""
    n, height, width = images.shape[:3]
    rows = np.linspace(0, height, _THUMB_PX + 1).astype(int)[:-1]
    columns = np.linspace(0, width, _THUMB_PX + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(images, rows, 1, np.float32), columns, 2)
    area = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return (sums / (255 * area[:, :, None])).reshape(n, -1).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiarity:
    """Reference frames of one source, and how far from them a frame may lie.

    Attributes:
        reference: float32 (r, d), training frames in units of `scale`.
        scale: float32 (d,), what a descriptor is divided by.
        limit: Greatest distance of a familiar frame.
    """

    reference: F32
    scale: F32
    limit: float

    @classmethod
    def fit(
        cls, rows: F32, episode: I64, *, slack: float, floor: float, seed: int = 0
    ) -> "Familiarity":
        """Remember training frames.

        Args:
            rows: (n, d) descriptors of frames.
            episode: (n,) which episode each is of; frames of one episode prove nothing.
            slack: Factor on the distance that 99 of 100 training frames keep.
            floor: Least standard deviation that a number is measured by.
            seed: Of the choice of references, if there are too many frames.
        """
        scale = np.maximum(rows.std(0), floor).astype(np.float32)
        rng = np.random.default_rng(seed)
        kept = np.arange(len(rows))
        if len(rows) > _MAX_REFERENCE:
            kept = np.sort(rng.choice(len(rows), _MAX_REFERENCE, replace=False))
        reference = (rows[kept] / scale).astype(np.float32)
        apart = episode[kept][:, None] != episode[kept][None, :]
        distance = np.where(apart, _distances(reference, reference), np.inf).min(1)
        known = distance[np.isfinite(distance)]
        limit = float(np.quantile(known, 0.99)) * slack if len(known) else np.inf
        return cls(reference=reference, scale=scale, limit=limit)

    def distance(self, rows: F32) -> F32:
        """Distance (n,) of descriptors (n, d) to the nearest training frame, 1 at the limit."""
        nearest = _distances((rows / self.scale).astype(np.float32), self.reference).min(1)
        return (nearest / max(self.limit, 1e-9)).astype(np.float32)

    def is_familiar(self, rows: F32) -> Bool:
        """Whether each of the descriptors (n, d) is near enough, (n,)."""
        return self.distance(rows) <= 1.0

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """All numbers by name, for a file."""
        limit = np.array([self.limit], np.float32)
        return {
            f"{prefix}reference": self.reference,
            f"{prefix}scale": self.scale,
            f"{prefix}limit": limit,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> "Familiarity":
        """The gate whose `arrays` these are.

        Raises:
            CheckpointError: An array is missing.
        """
        try:
            reference, scale, limit = (
                arrays[prefix + name] for name in ("reference", "scale", "limit")
            )
        except KeyError as error:
            raise CheckpointError(
                f"reward model: {error.args[0]} is missing. Train the model again."
            ) from error
        return cls(reference=reference, scale=scale, limit=float(limit[0]))


def _distances(a: F32, b: F32) -> F32:
    """Euclidean distances (n, r) between rows (n, d) and (r, d)."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0.0))
