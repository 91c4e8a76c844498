"""General reward model (Robo-Dopamine): the hop between two moments, seen by three cameras.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Eight images in a fixed order: start and goal of the task (front view), then front, left and right
wrist view of the moment before, then of the moment after. The answer is one signed percentage in
`<score>` tags. Ref: arXiv 2512.23703, section 3; the wording is ours, the structure theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.progress import Capabilities, ProgressQuery
from robot_rl.reward.vlm.answer import tagged_number
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest
from robot_rl.reward.vlm.hop_fusion import fuse
from robot_rl.reward.vlm.judge import ChatJudge, Judgement
from robot_rl.reward.vlm.views import chosen_camera, goal_image, initial_image
from robot_rl.types import U8

__all__ = [
    "GREY_GOAL",
    "GrmCfg",
    "GrmJudge",
    "hop_answer",
    "hop_request",
    "hop_views",
    "parse_hop",
]

GREY_GOAL: int = 128
"""Level of the flat image that stands for a goal nobody has shown."""


@dataclass(frozen=True, kw_only=True)
class GrmCfg:
    """Which cameras show the task, and how the reconstructions are fused."""

    front: str = ""
    """Camera of the whole scene; "" for the first one."""
    left_wrist: str = ""
    """Camera on the left (or only) arm; "" for none, then the front view stands in."""
    right_wrist: str = ""
    """Camera on the right arm; "" for none, then the front view stands in."""
    alpha: float = 1.0
    """How strongly disagreement of forward and backward holds the progress back; 0: not."""
    adapter: str = ""
    """Name of the adapter that answers; "" for the model as it is."""

    def __post_init__(self) -> None:
        """Refuse an alpha that would reward disagreement."""
        if not self.alpha >= 0:
            raise ConfigError(f"alpha is {self.alpha}, but must be >= 0.")


def hop_views(images: Mapping[str, U8], cfg: GrmCfg) -> tuple[U8, U8, U8]:
    """Front, left wrist and right wrist image of one moment.

    Raises:
        UnknownNameError: A camera is named that is not there.
    """
    front = chosen_camera(cfg.front, images)
    left = chosen_camera(cfg.left_wrist or front, images)
    right = chosen_camera(cfg.right_wrist or front, images)
    return images[front], images[left], images[right]


def hop_request(
    task: str,
    start: U8,
    goal: U8 | None,
    before: tuple[U8, U8, U8],
    after: tuple[U8, U8, U8],
    adapter: str = "",
) -> ChatRequest:
    """Ask for the hop from `before` to `after`.

    Args:
        task: What the robot shall do.
        start: (H, W, 3) front view at the start of the episode.
        goal: (H, W, 3) front view of the task done, or None.
        before: Front, left wrist, right wrist.
        after: The same views, of the moment to judge.
        adapter: Which adapter answers.
    """
    end = np.full_like(start, GREY_GOAL) if goal is None else goal
    return ChatRequest(
        parts=(
            f"You judge how far a robot has come with a task.\nTask: {task}\n\n"
            "Reference, to scale by.\nStart of the task, front view:",
            start,
            "Task done, front view:",
            end,
            "\nBEFORE. Front view:",
            before[0],
            "Left wrist view:",
            before[1],
            "Right wrist view:",
            before[2],
            "\nAFTER. Front view:",
            after[0],
            "Left wrist view:",
            after[1],
            "Right wrist view:",
            after[2],
            "\nHow does AFTER compare with BEFORE?\n"
            "- If AFTER is nearer to the goal: the share of the way from BEFORE to the goal that "
            "was gone, from 0 to +100 percent.\n"
            "- If AFTER is farther from the goal: the share of the way from the start to BEFORE "
            "that was lost, from -100 to 0 percent.\n"
            "- Trust the wrist views on grasp and contact. If nothing relevant changed, or you "
            "cannot tell, the answer is 0.\n"
            "Answer with one signed percentage and nothing else, as in <score>+25%</score>.",
        ),
        max_new_tokens=48,
        adapter=adapter,
    )


def hop_answer(hop: float) -> str:
    """The answer that says this hop: what a model is taught to write."""
    return f"<score>{100.0 * hop:+.1f}%</score>"


def parse_hop(reply: ChatReply) -> float:
    """The hop in [-1, 1]; NaN if the model gave none."""
    percent = None if reply.failure else tagged_number(reply.text, "score", -100.0, 100.0)
    return float("nan") if percent is None else percent / 100.0


class GrmJudge(ChatJudge):
    """Three hops a frame (from the frame before, the start and the goal), fused to progress."""

    kind = "grm"
    cfg: GrmCfg

    @property
    def capabilities(self) -> Capabilities:
        """Causal, sees three cameras, judges hops; a goal helps and is not needed."""
        return Capabilities(causal=True, pairwise=True)

    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        front = chosen_camera(self.cfg.front, query.frames)
        start, goal = initial_image(query, front), goal_image(query, front)
        moments = [
            hop_views({name: rows[t] for name, rows in query.frames.items()}, self.cfg)
            for t in range(len(query))
        ]
        first = hop_views(
            {name: initial_image(query, name) for name in query.frames},
            self.cfg,
        )
        pairs = list(pairwise(moments))
        pairs += [(first, now) for now in moments]
        if goal is not None:
            pairs += [((goal, goal, goal), now) for now in moments]
        return [hop_request(query.task, start, goal, *pair, self.cfg.adapter) for pair in pairs]

    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        count = len(query)
        hops = np.array([parse_hop(reply) for reply in replies])
        step = np.concatenate([[0.0], hops[: count - 1]])
        forward = hops[count - 1 : 2 * count - 1]
        backward = hops[2 * count - 1 :]
        fused = fuse(step, forward, backward if len(backward) else None, self.cfg.alpha)
        return Judgement(progress=fused.progress, sigma=fused.sigma, hop=step)
