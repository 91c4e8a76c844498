"""Cuts episodes into what behavior cloning fits: an observation, and the chunk that followed it.

learning:  episode store → **windows (observation, next `chunk` actions, mask)** → bc → base policy
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.errors import DataError
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32, I64, U8

__all__ = ["ChunkWindows"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkWindows:
    """One window for each of n steps; near the end of an episode the last action is repeated.

    Attributes:
        state: float32 (n, d), in the env's units.
        images: camera name -> uint8 (n, h, w, 3).
        chunk: float32 (n, chunk, a), executed actions, in the env's units.
        mask: float32 (n, chunk), 1 where the action was really executed, 0 where it was repeated.
        episode: int64 (n,), index of the episode among those given.
        weight: float32 (n,), how much a window counts; that of its episode.
    """

    state: F32
    images: dict[str, U8]
    chunk: F32
    mask: F32
    episode: I64
    weight: F32

    @classmethod
    def cut(
        cls,
        episodes: Sequence[Trajectory],
        chunk: int,
        *,
        weights: Sequence[float] | None = None,
    ) -> "ChunkWindows":
        """Cut every step of every episode.

        Raises:
            DataError: There is no step, episodes differ in shape, or weights do not fit.
        """
        episodes = list(episodes)
        if not any(len(episode) for episode in episodes):
            raise DataError("behavior cloning: 0 demonstrated steps; record at least one episode.")
        shapes = {
            (tuple(sorted((k, v.shape[1:]) for k, v in e.obs.items())), e.executed.shape[1:])
            for e in episodes
        }
        if len(shapes) > 1:
            raise DataError(
                f"behavior cloning: episodes have {len(shapes)} different shapes of observations "
                f"and actions: {sorted(shapes)}. Train on episodes of one task and robot."
            )
        weights = [1.0] * len(episodes) if weights is None else list(weights)
        if len(weights) != len(episodes) or not all(0 <= w < np.inf for w in weights):
            raise DataError(
                f"behavior cloning: weights {weights} must be {len(episodes)} finite numbers "
                ">= 0, one for each episode."
            )
        lengths = [len(e) for e in episodes]
        rows = [np.arange(t)[:, None] + np.arange(chunk) for t in lengths]
        cameras = [name for name in episodes[0].obs if name != "state"]
        return cls(
            state=np.concatenate([e.obs["state"][:-1] for e in episodes]).astype(np.float32),
            images={
                c: np.concatenate([np.asarray(e.obs[c][:-1], np.uint8) for e in episodes])
                for c in cameras
            },
            chunk=np.concatenate(
                [
                    e.executed[np.minimum(r, t - 1)]
                    for e, r, t in zip(episodes, rows, lengths, strict=True)
                    if t
                ]
            ).astype(np.float32),
            mask=np.concatenate([r < t for r, t in zip(rows, lengths, strict=True)]).astype(
                np.float32
            ),
            episode=np.repeat(np.arange(len(episodes)), lengths),
            weight=np.repeat(np.asarray(weights, np.float32), lengths),
        )

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.state)

    def rows(self, index: np.ndarray) -> "ChunkWindows":
        """The windows at `index` (integers or a boolean mask)."""
        return replace(
            self,
            state=self.state[index],
            images={name: frames[index] for name, frames in self.images.items()},
            chunk=self.chunk[index],
            mask=self.mask[index],
            episode=self.episode[index],
            weight=self.weight[index],
        )
