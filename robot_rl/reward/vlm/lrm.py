"""Large Reward Model: three heads that answer three questions, each with its own prompt.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Which of two images is nearer to the goal (direction), how far is this one (progress), is it done
(completion). They are kept apart: direction goes to `hop`, completion to `success`.
Ref: arXiv 2603.16065.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robot_rl.reward.progress import Capabilities, ProgressQuery
from robot_rl.reward.vlm.answer import json_field, json_number
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest
from robot_rl.reward.vlm.judge import ChatJudge, Judgement
from robot_rl.reward.vlm.views import chosen_camera, goal_image, initial_image
from robot_rl.types import U8

__all__ = [
    "LrmCfg",
    "LrmJudge",
    "completion_request",
    "contrast_request",
    "parse_completion",
    "parse_contrast",
    "parse_progress",
    "progress_request",
]

_NAN = float("nan")


def contrast_request(task: str, older: U8, newer: U8, adapter: str = "") -> ChatRequest:
    """Ask which image is nearer to the goal."""
    return ChatRequest(
        parts=(
            f"Task: {task}\nImageA:",
            older,
            "ImageB:",
            newer,
            "Which image is nearer to the task being done? Think step by step: what must happen, "
            "what each image shows. Then finish with one line of JSON: "
            '{"closer": "ImageA"} or {"closer": "ImageB"}.',
        ),
        max_new_tokens=512,
        adapter=adapter,
    )


def parse_contrast(reply: ChatReply) -> float:
    """−1 if the older image is nearer, +1 if the newer is; NaN without a clear answer."""
    word = None if reply.failure else json_field(reply.text, "closer")
    return {"ImageA": -1.0, "ImageB": 1.0}.get(word, _NAN) if isinstance(word, str) else _NAN


def progress_request(
    task: str, now: U8, initial: U8 | None, goal: U8 | None, adapter: str = ""
) -> ChatRequest:
    """Ask how far the task is, in tenths."""
    shown = [("Goal:", goal), ("Start:", initial), ("Now:", now)]
    return ChatRequest(
        parts=(
            f"Task: {task}",
            *(part for name, image in shown if image is not None for part in (name, image)),
            "How far is the task done now, from 0.0 (start) to 1.0 (done), in steps of 0.1? "
            'Answer with one line of JSON, as in {"progress": 0.4}.',
        ),
        max_new_tokens=128,
        adapter=adapter,
    )


def parse_progress(reply: ChatReply) -> float:
    """Progress in [0, 1]; NaN without a clear answer."""
    value = None if reply.failure else json_number(reply.text, "progress", 0.0, 1.0)
    return _NAN if value is None else value


def completion_request(task: str, now: U8, adapter: str = "") -> ChatRequest:
    """Ask whether the task is done."""
    return ChatRequest(
        parts=(
            f"Task: {task}",
            now,
            "Is the task completely done in this image? Answer with one line of JSON: "
            '{"done": "yes"} or {"done": "no"}.',
        ),
        max_new_tokens=128,
        adapter=adapter,
    )


def parse_completion(reply: ChatReply) -> float:
    """1 for done, 0 for not; NaN without a clear answer."""
    word = None if reply.failure else json_field(reply.text, "done")
    return {"yes": 1.0, "no": 0.0}.get(word.lower(), _NAN) if isinstance(word, str) else _NAN


@dataclass(frozen=True, kw_only=True)
class LrmCfg:
    """What the judge is shown, and which heads of the model answer."""

    camera: str = ""
    """Camera that is looked at; "" for the first one."""
    contrastive_adapter: str = ""
    """Name of the adapter that compares images; "" for the model as it is."""
    progress_adapter: str = ""
    """Name of the adapter that says how far the task is; "" for the model as it is."""
    completion_adapter: str = ""
    """Name of the adapter that says whether the task is done; "" for the model as it is."""


class LrmJudge(ChatJudge):
    """Progress, direction since the frame before, and completion: three questions a frame."""

    kind = "lrm"
    cfg: LrmCfg

    @property
    def capabilities(self) -> Capabilities:
        """Causal, one camera, compares pairs; a goal helps and is not needed."""
        return Capabilities(causal=True, multi_view=False, pairwise=True)

    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        camera = chosen_camera(self.cfg.camera, query.frames)
        rows, start, goal = (
            query.frames[camera],
            initial_image(query, camera),
            goal_image(query, camera),
        )
        cfg = self.cfg
        compared = [
            contrast_request(query.task, older, newer, cfg.contrastive_adapter)
            for older, newer in pairwise(rows)
        ]
        far = [
            progress_request(query.task, now, start, goal, cfg.progress_adapter) for now in rows
        ]
        done = [completion_request(query.task, now, cfg.completion_adapter) for now in rows]
        return [*compared, *far, *done]

    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        n = len(query)
        hop = np.array([0.0, *(parse_contrast(reply) for reply in replies[: n - 1])])
        progress = np.array([parse_progress(reply) for reply in replies[n - 1 : 2 * n - 1]])
        done = np.array([parse_completion(reply) for reply in replies[2 * n - 1 :]])
        # Half a step of its scale, and all of a rise or fall that its other head denies.
        change = np.diff(progress, prepend=progress[:1])
        denied = np.where(change * hop < 0, np.abs(change), 0.0)
        return Judgement(progress=progress, success=done, sigma=0.05 + denied, hop=hop)
