"""Episodes as the embedded model learns from them: frames in flat arrays, windows, labels.

learning:  transition → **episode store → frames and labels** → progress model → replay

Progress of a demonstration is the share of its time that has passed, success is its end: nobody
labels a frame. A failed episode says that no frame of it is a success, and how far it came is left
open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from robot_rl.errors import DataError
from robot_rl.policy.eyes import Eyes
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import RecordedEpisode, cameras_of, success_s, time_share
from robot_rl.reward.familiarity import thumbnails
from robot_rl.reward.network import IMAGE_PX
from robot_rl.reward.text import text_vector
from robot_rl.types import F32, F64, I64, U8

__all__ = [
    "Corpus",
    "Lesson",
    "done_labels",
    "image_sizes",
    "rewound_rows",
    "shrink",
    "window_rows",
]

_ROUNDING_S = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """An episode to learn from: what was asked for, and whether it was done."""

    episode: RecordedEpisode
    task: str
    success: bool


def shrink(images: U8, height: int = IMAGE_PX, width: int = IMAGE_PX) -> U8:
    """Images (n, h, w, 3) at the size that is looked at, (n, height, width, 3), by field means."""
    if images.shape[1:3] == (height, width):
        return images
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    small = functional.adaptive_avg_pool2d(pixels, (height, width))
    return small.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def image_sizes(eyes: Eyes | None) -> dict[str, tuple[int, int]]:
    """Height and width of the images that eyes look at, by camera."""
    return {} if eyes is None else {name: (h, w) for name, h, w in eyes.cfg.cameras}


def window_rows(stamps_s: F64, frames: int, gap_s: float) -> I64:
    """Rows (T, frames), oldest first, of the frames `gap_s` apart that end at each frame.

    By stamps, so that keyframes and full recordings are read alike; before the first frame, the
    first one is repeated.
    """
    ages_s = gap_s * np.arange(frames - 1, -1, -1)
    wanted_s = stamps_s[:, None] - ages_s + _ROUNDING_S
    return np.maximum(np.searchsorted(stamps_s, wanted_s, side="right") - 1, 0)


def rewound_rows(stamps_s: F64, frames: int, gap_s: float) -> I64:
    """Rows (T, frames) of the same windows with time running backwards: they end at each frame."""
    return len(stamps_s) - 1 - window_rows(-stamps_s[::-1], frames, gap_s)[::-1]


def done_labels(episode: RecordedEpisode, success: bool, cfg: EmbeddedCfg) -> np.ndarray:
    """int8 (T,): 1 done, 0 not done, -1 for the frames of which nobody can say.

    Args:
        episode: T frames; what follows its success is done.
        success: Whether it ended in success.
        cfg: When a success is certainly reached, and until when certainly not.
    """
    stamps_s, end_s = np.asarray(episode.t_s, np.float64), success_s(episode)
    if not success:
        return np.zeros(len(stamps_s), np.int8)
    left_s = end_s - stamps_s
    is_done = left_s <= cfg.done_last_s + _ROUNDING_S
    is_undone = (time_share(stamps_s, end_s) < cfg.undone_until) & (left_s > cfg.doubt_last_s)
    return np.where(is_done, 1, np.where(is_undone, 0, -1)).astype(np.int8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """N frames of E episodes.

    Attributes:
        proprio: float32 (N, d), state vectors as recorded.
        vector: float32 (N, D), the same with what eyes say of the images, if there are eyes.
        images: Per camera uint8 (N, h, w, 3), of the size that is looked at.
        cameras: Those that networks look at themselves: none if there are eyes.
        thumbs: Per camera float32 (N, 192), see `thumbnails`.
        stamps_s: float64 (N,).
        episode: int64 (N,), 0 ... E - 1.
        share: float32 (N,), share of the time until success, or the end, that has passed.
        left_s: float64 (N,), time until then; negative after it.
        done: int8 (N,), see `done_labels`.
        first, last: int64 (E,), first and last row of each episode.
        success: bool (E,).
        task: int64 (E,), index into `tasks`.
        tasks: The instructions.
    """

    proprio: F32
    vector: F32
    images: dict[str, U8]
    cameras: tuple[str, ...]
    thumbs: dict[str, F32]
    stamps_s: F64
    episode: I64
    share: F32
    left_s: F64
    done: np.ndarray
    first: I64
    last: I64
    success: np.ndarray
    task: I64
    tasks: tuple[str, ...]

    @classmethod
    def of(cls, lessons: Sequence[Lesson], cfg: EmbeddedCfg, eyes: Eyes | None = None) -> "Corpus":
        """Lay out episodes, labelled as `cfg` says and seen through `eyes` if there are some.

        Raises:
            DataError: No success among them, or they differ in state vector or cameras.
        """
        if not any(lesson.success for lesson in lessons):
            raise DataError(
                f"reward model: {len(lessons)} episodes without a success among them. "
                "Record a few demonstrations first."
            )
        kinds = {(x.episode.obs["state"].shape[1], *cameras_of(x.episode)) for x in lessons}
        if len(kinds) != 1:
            raise DataError(
                f"reward model: episodes differ in length of state and cameras: {sorted(kinds)}. "
                "Train one model on episodes of one robot."
            )
        lengths = np.array([len(lesson.episode.t_s) for lesson in lessons])
        last = np.cumsum(lengths) - 1
        cameras = cameras_of(lessons[0].episode)
        sizes = image_sizes(eyes)
        proprio = np.concatenate([np.asarray(x.episode.obs["state"], np.float32) for x in lessons])
        images, thumbs = {}, {}
        for name in cameras:
            shots = [np.asarray(x.episode.obs[name], np.uint8) for x in lessons]
            images[name] = np.concatenate([shrink(shot, *sizes.get(name, ())) for shot in shots])
            thumbs[name] = np.concatenate([thumbnails(shot) for shot in shots])
        stamps = [np.asarray(lesson.episode.t_s, np.float64) for lesson in lessons]
        ends_s = [success_s(lesson.episode) for lesson in lessons]
        shares = [time_share(s, end_s) for s, end_s in zip(stamps, ends_s, strict=True)]
        labels = [done_labels(x.episode, x.success, cfg) for x in lessons]
        tasks = tuple(dict.fromkeys(lesson.task for lesson in lessons))
        return cls(
            proprio=proprio,
            vector=proprio if eyes is None else eyes.see_all(proprio, images),
            images=images,
            cameras=tuple(cameras) if eyes is None else (),
            thumbs=thumbs,
            stamps_s=np.concatenate(stamps),
            episode=np.repeat(np.arange(len(lessons)), lengths),
            share=np.concatenate(shares).astype(np.float32),
            left_s=np.repeat(ends_s, lengths) - np.concatenate(stamps),
            done=np.concatenate(labels),
            first=last - lengths + 1,
            last=last,
            success=np.array([lesson.success for lesson in lessons]),
            task=np.array([tasks.index(lesson.task) for lesson in lessons]),
            tasks=tasks,
        )

    def __len__(self) -> int:
        """Number of frames N."""
        return len(self.vector)

    def texts(self) -> F32:
        """The instructions as vectors, (tasks, TEXT_DIM)."""
        return np.stack([text_vector(task) for task in self.tasks])

    def windows(self, frames: int, gap_s: float, *, rewound: bool) -> I64:
        """For each row, the rows (N, frames) of the window that ends there."""
        cut = rewound_rows if rewound else window_rows
        parts = [
            first + cut(self.stamps_s[first : last + 1], frames, gap_s)
            for first, last in zip(self.first, self.last, strict=True)
        ]
        return np.concatenate(parts)
