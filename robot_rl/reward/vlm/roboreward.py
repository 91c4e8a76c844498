"""RoboReward: how well the task is done at the end of a film, from 1 (not at all) to 5 (done).

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Ref: arXiv 2601.00675. Scores can be written (`ANSWER: 4`) or weighed: the likelihood of each of
the five answers cannot fail to parse, gives a spread, and is what a small model does best.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.progress import Capabilities, ProgressQuery
from robot_rl.reward.vlm.answer import choice_shares
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest, Video
from robot_rl.reward.vlm.judge import ChatJudge, Judgement
from robot_rl.reward.vlm.views import chosen_camera, film_until
from robot_rl.types import F64

__all__ = [
    "SCORES",
    "RoboRewardCfg",
    "RoboRewardJudge",
    "parse_score",
    "score_answer",
    "score_moments",
    "score_request",
]

SCORES = (1, 2, 3, 4, 5)

_ANSWER = re.compile(r"ANSWER\s*:\s*\**\s*(\d+(?:\.\d+)?)")


def score_request(task: str, film: Video, *, weigh: bool, adapter: str = "") -> ChatRequest:
    """Ask for the score of the film's last moment.

    Args:
        task: What the robot shall do.
        film: At least two frames, oldest first, with their true rate.
        weigh: Ask for the likelihood of each score instead of a written answer.
        adapter: Which adapter answers.
    """
    return ChatRequest(
        parts=(
            film,
            f"The robot was told: {task}\n"
            "Judge only the state at the end of the video, not the effort.\n"
            "1: nothing of the task is done. 2: a first, small part. 3: about half, a necessary "
            "step is missing. 4: nearly done, a small flaw. 5: done.\n"
            "Answer with one line: ANSWER: <score>",
        ),
        max_new_tokens=64,
        adapter=adapter,
        answer_start="ANSWER: " if weigh else "",
        choices=tuple(map(str, SCORES)) if weigh else (),
    )


def score_answer(score: int) -> str:
    """The answer that gives this score: what a model is taught to write."""
    return f"ANSWER: {score}"


def parse_score(reply: ChatReply) -> float:
    """The written score as progress (s − 1)/4; NaN unless all answers given are one of 1..5."""
    found = set() if reply.failure else set(_ANSWER.findall(reply.text[-4096:]))
    if len(found) != 1 or (word := found.pop()) not in map(str, SCORES):
        return float("nan")
    return (int(word) - 1) / 4.0


def score_moments(reply: ChatReply, min_mass: float) -> tuple[float, float, float]:
    """Progress, its spread and the share of "done", from the likelihoods of the five scores.

    Returns:
        Mean and standard deviation of (s − 1)/4, and the probability of 5; NaN without answer.
    """
    share = choice_shares(reply, len(SCORES), min_mass)
    if share is None:
        return float("nan"), float("nan"), float("nan")
    level: F64 = (np.array(SCORES) - 1) / 4.0
    mean = float(share @ level)
    return mean, float(np.sqrt(share @ (level - mean) ** 2)), float(share[-1])


@dataclass(frozen=True, kw_only=True)
class RoboRewardCfg:
    """What the judge is shown, and how it answers."""

    camera: str = ""
    """Camera of the film; "" for the first one."""
    max_frames: int = 16
    """Most frames of a film; longer ones are thinned evenly."""
    weigh: bool = True
    """Weigh the five scores by their likelihood instead of reading one written score."""
    min_mass: float = 0.2
    """Probability the five scores must have together before their ratio says anything."""
    adapter: str = ""
    """Name of the adapter that answers; "" for the model as it is."""

    def __post_init__(self) -> None:
        """Refuse a film of fewer than two frames, and a mass that is no probability."""
        if self.max_frames < 2:
            raise ConfigError(f"max_frames is {self.max_frames}, but must be at least 2.")
        if not 0.0 <= self.min_mass < 1.0:
            raise ConfigError(f"min_mass is {self.min_mass}, but must be within 0 and 1.")


class RoboRewardJudge(ChatJudge):
    """The score of every frame, as the end of the film up to it."""

    kind = "roboreward"
    cfg: RoboRewardCfg

    @property
    def capabilities(self) -> Capabilities:
        """Causal, one camera, no goal."""
        return Capabilities(causal=True, multi_view=False)

    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        camera = chosen_camera(self.cfg.camera, query.frames)
        films = [film_until(query, camera, t, self.cfg.max_frames) for t in range(len(query))]
        cfg = self.cfg
        return [score_request(query.task, f, weigh=cfg.weigh, adapter=cfg.adapter) for f in films]

    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        if not self.cfg.weigh:
            level = np.array([parse_score(reply) for reply in replies])
            done = np.where(np.isfinite(level), level == 1.0, np.nan)
            return Judgement(progress=level, success=done)
        rows = np.array([score_moments(reply, self.cfg.min_mass) for reply in replies])
        return Judgement(progress=rows[:, 0], sigma=rows[:, 1], success=rows[:, 2])
