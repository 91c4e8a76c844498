"""Generative value learning: progress of all frames at once, shown in shuffled order.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

A model that sees frames in order says that progress rises, whatever they show. So the first frame
is given as 0 %, the others are shuffled, and the answers are put back in order.
Ref: "Vision Language Models are In-Context Value Learners", arXiv 2411.04549.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.progress import Capabilities, ProgressQuery
from robot_rl.reward.vlm.answer import bounded, json_field
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest
from robot_rl.reward.vlm.judge import ChatJudge, Judgement
from robot_rl.reward.vlm.views import chosen_camera, initial_image
from robot_rl.types import F64, I64, U8

__all__ = [
    "MAX_FRAMES",
    "GvlCfg",
    "GvlJudge",
    "parse_shuffled",
    "shuffled_order",
    "shuffled_request",
]

MAX_FRAMES = 15
"""More frames a prompt and models lose track of which is which."""


def shuffled_order(count: int, seed: int) -> I64:
    """In which order the frames after the first are shown: a permutation of 1..count − 1."""
    return 1 + np.random.default_rng(seed).permutation(count - 1)


def shuffled_request(task: str, frames: U8, order: I64) -> ChatRequest:
    """Ask for the progress of every frame.

    Args:
        task: What the robot shall do.
        frames: (T, H, W, 3), the first one being the start of the episode.
        order: (T − 1,) from `shuffled_order`.

    Raises:
        ConfigError: Too few or too many frames for one prompt.
    """
    if not 2 <= len(frames) <= MAX_FRAMES:
        raise ConfigError(f"{len(frames)} frames are given, but must be 2 to {MAX_FRAMES}.")
    shown = [part for k, index in enumerate(order, 1) for part in (f"\nFrame {k}:", frames[index])]
    return ChatRequest(
        parts=(
            f"Task: {task}\nThe start, where 0 percent of the task is done:",
            frames[0],
            "\nThese frames are of the same attempt, in random order.",
            *shown,
            f"\nFor each of the frames 1 to {len(order)}, how many percent of the task are done? "
            "Describe each frame in a few words, then finish with one line of JSON, as in "
            '{"percent": {"1": 35, "2": 80}}.',
        ),
        max_new_tokens=64 * len(frames),
    )


def parse_shuffled(reply: ChatReply, order: I64) -> F64:
    """Progress of the frames in their true order.

    Returns:
        (T,) in [0, 1], the first one 0; NaN where the answer names no percentage.
    """
    progress = np.full(len(order) + 1, np.nan)
    rows = None if reply.failure else json_field(reply.text, "percent")
    if not isinstance(rows, dict):
        return progress
    for k, index in enumerate(order, 1):
        percent = bounded(rows.get(str(k)), 0.0, 100.0)
        if percent is not None:
            progress[index] = percent / 100.0
    progress[0] = 0.0
    return progress


@dataclass(frozen=True, kw_only=True)
class GvlCfg:
    """What the judge is shown."""

    camera: str = ""
    """Camera that is looked at; "" for the first one."""
    seed: int = 0
    """Which shuffling."""


class GvlJudge(ChatJudge):
    """All frames at once; long episodes in parts that each span the whole of it."""

    kind = "gvl"
    cfg: GvlCfg

    @property
    def capabilities(self) -> Capabilities:
        """Not causal: later frames are in the prompt."""
        return Capabilities(causal=False, multi_view=False)

    def _parts(self, count: int) -> list[I64]:
        parts = -(-count // (MAX_FRAMES - 1))
        return [np.arange(first, count, parts) for first in range(parts)]

    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        camera = chosen_camera(self.cfg.camera, query.frames)
        start, rows = initial_image(query, camera), query.frames[camera]
        return [
            shuffled_request(
                query.task,
                np.concatenate([start[None], rows[part]]),
                shuffled_order(len(part) + 1, self.cfg.seed),
            )
            for part in self._parts(len(query))
        ]

    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        progress = np.full(len(query), np.nan)
        for part, reply in zip(self._parts(len(query)), replies, strict=True):
            order = shuffled_order(len(part) + 1, self.cfg.seed)
            progress[part] = parse_shuffled(reply, order)[1:]
        return Judgement(progress=progress)
