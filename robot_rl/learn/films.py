"""What a slow judge has yet to see, on disk: a run that is killed loses no verdict.

learning:  **episode → film** → (a thread: progress model) → verdict and potentials → replay

A checkpoint says which episodes wait; what was seen in them, images above all, is written once,
before any checkpoint can know of the episode, and is let go when no checkpoint needs it any more.
"""

import os
from collections import deque
from collections.abc import Collection
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from robot_rl.errors import DataError
from robot_rl.learn.lived import LivedEpisode
from robot_rl.reward.episodes import RecordedEpisode

__all__ = ["Films"]

_STAMPS = "t_s"
_OBS = "obs."
_CHECKPOINTS = 3
"""The one that is being written, and the two that `save_checkpoint` keeps meanwhile."""


class Films:
    """Episodes by number in a folder, each whole or not there at all.

    Args:
        folder: Made when the first film is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needed: deque[set[int]] = deque(maxlen=_CHECKPOINTS)

    def put(self, number: int, episode: RecordedEpisode) -> None:
        """Keep what was seen in an episode, in place of another of this number."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {_STAMPS: np.asarray(episode.t_s, np.float64)}
        for name, rows in episode.obs.items():
            arrays[_OBS + name] = np.ascontiguousarray(rows)
        file = self._file(number)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        with part.open("wb") as handle:
            handle.write(safetensors.numpy.save(arrays))
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(file)

    def read(self, number: int, task: str) -> LivedEpisode:
        """The episode of this number, to be judged by this instruction.

        Raises:
            DataError: There is none, or it is damaged.
        """
        file = self._file(number)
        try:
            arrays = safetensors.numpy.load(file.read_bytes())
            t_s = arrays.pop(_STAMPS)
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise DataError(
                f"{file} cannot be read: {error}. The episode keeps waiting for its verdict; a "
                "person's word settles it."
            ) from error
        obs = {name.removeprefix(_OBS): rows for name, rows in arrays.items()}
        return LivedEpisode(obs=obs, t_s=t_s, attrs={"task": task})

    def numbers(self) -> list[int]:
        """Those that are there, rising."""
        return sorted(int(file.stem[3:]) for file in self._folder.glob("ep_*.safetensors"))

    def checkpoint(self, waiting: Collection[int]) -> None:
        """Let go of what neither this checkpoint needs nor one that may still be gone back to."""
        self._needed.append(set(waiting))
        if len(self._needed) == _CHECKPOINTS:  # sooner, nobody knows what the older ones need
            for number in set(self.numbers()).difference(*self._needed):
                self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"ep_{number:08d}.safetensors"
