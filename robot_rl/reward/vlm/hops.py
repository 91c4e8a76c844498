"""Lessons in hops, from one's own successful episodes, as a general reward model is taught.

learning:  episode store → **lessons** → fine-tuned model → progress model → replay

Pairs of keyframes are balanced over the size of the hop and over the time between them: drawn
evenly, nearly all would be small steps forward. Start and goal image come from another episode in
most lessons, or the model would learn to compare with its own last frame.
Ref: Robo-Dopamine, arXiv 2512.23703 (25 × 4 bins, 5 % zero hops, references swapped at 0.75).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.episodes import RecordedEpisode, cameras_of
from robot_rl.reward.labeler import keyframes_of
from robot_rl.reward.vlm.grm import GrmCfg, hop_answer, hop_request, hop_views
from robot_rl.reward.vlm.hop_fusion import hop_label
from robot_rl.reward.vlm.lessons import ChatLesson
from robot_rl.reward.vlm.views import chosen_camera
from robot_rl.types import U8

__all__ = ["HopLessonsCfg", "balanced_pairs", "hop_lessons"]


@dataclass(frozen=True, kw_only=True)
class HopLessonsCfg:
    """Which pairs are drawn, and what they are compared with."""

    per_episode: int = 200
    """Lessons drawn from one episode."""
    keyframe_every_s: float = 0.25
    """Time between the frames that pairs are made of."""
    hop_bins: int = 25
    """Sizes of hop that are drawn equally often."""
    gap_bins: int = 4
    """Times between two frames that are drawn equally often."""
    zero_share: float = 0.05
    """Share of pairs in which nothing happens."""
    swap_share: float = 0.75
    """Share of lessons whose start and goal image are those of another episode."""

    def __post_init__(self) -> None:
        """Refuse shares that are none, and bins that cannot be filled."""
        for name in ("per_episode", "hop_bins", "gap_bins"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")
        for name in ("zero_share", "swap_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be within 0 and 1.")


def balanced_pairs(
    count: int, cfg: HopLessonsCfg, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs of keyframes 1..count, drawn evenly over the sizes of hops and gaps that there are.

    Returns:
        `per_episode` pairs (before, after); some repeat where an episode is short.

    Raises:
        DataError: There are fewer than two keyframes.
    """
    if count < 2:
        raise DataError(f"{count} keyframes make no pair. Lower keyframe_every_s.")
    cells: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for p in range(1, count + 1):
        for q in range(1, count + 1):
            if p != q:
                hop_bin = int((hop_label(p, q, count) + 1) / 2 * cfg.hop_bins)
                gap_bin = int((abs(q - p) - 1) / (count - 1) * cfg.gap_bins)
                cells.setdefault((min(hop_bin, cfg.hop_bins - 1), gap_bin), []).append((p, q))
    order, pairs = list(cells.values()), []
    for _ in range(cfg.per_episode):
        if rng.random() < cfg.zero_share:
            same = int(rng.integers(1, count + 1))
            pairs.append((same, same))
        else:
            cell = order[rng.integers(len(order))]
            pairs.append(cell[rng.integers(len(cell))])
    return pairs


def hop_lessons(
    demos: Mapping[str, RecordedEpisode],
    cfg: HopLessonsCfg,
    views: GrmCfg,
    rng: np.random.Generator,
) -> list[ChatLesson]:
    """Lessons from successful episodes of one task.

    Args:
        demos: Episodes by name; those that did not succeed say nothing and are left out.
        cfg: Which pairs.
        views: Which cameras, as the judge will use them.
        rng: Draws pairs and references.

    Raises:
        DataError: None succeeded.
    """
    names = [name for name, demo in demos.items() if demo.success]
    if not names:
        raise DataError("no episode succeeded, so nobody knows how far any had come. Record some.")
    ends = {name: _ends(demos[name], views) for name in names}
    lessons: list[ChatLesson] = []
    for name in names:
        others = [other for other in names if other != name] or [name]
        demo = demos[name]
        rows = keyframes_of(np.asarray(demo.t_s), cfg.keyframe_every_s)
        for p, q in balanced_pairs(len(rows), cfg, rng):
            swap = rng.random() < cfg.swap_share
            start, goal = ends[others[rng.integers(len(others))] if swap else name]
            request = hop_request(
                str(demo.attrs.get("task", "")),
                start,
                goal,
                _moment(demo, int(rows[p - 1]), views),
                _moment(demo, int(rows[q - 1]), views),
            )
            answer = hop_answer(hop_label(p, q, len(rows)))
            lessons.append(ChatLesson(request=request, answer=answer, source=name))
    return lessons


def _images(episode: RecordedEpisode, row: int) -> dict[str, U8]:
    return {name: np.asarray(episode.obs[name][row], np.uint8) for name in cameras_of(episode)}


def _moment(episode: RecordedEpisode, row: int, views: GrmCfg) -> tuple[U8, U8, U8]:
    return hop_views(_images(episode, row), views)


def _ends(episode: RecordedEpisode, views: GrmCfg) -> tuple[U8, U8]:
    """Front view of the first and of the last moment."""
    front = chosen_camera(views.front, _images(episode, 0))
    first, last = _images(episode, 0)[front], _images(episode, -1)[front]
    return first, last
