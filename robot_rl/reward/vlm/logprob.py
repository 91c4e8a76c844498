"""Log-probability scoring: how readily a model without any training says "True" (TOPReward).

learning:  transition → episode store → **progress model** → replay → residual agent → weights

The text is continued without a chat template, which answers worse (VOC 0.945 falls to 0.500).
ln P("True") spans about −26 to −7, so its exponential is no probability one could use: it is
mapped linearly. Ref: TOPReward; the range is the one of the Large Reward Model's code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.progress import Capabilities, ProgressQuery
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest, Video
from robot_rl.reward.vlm.judge import ChatJudge, Judgement
from robot_rl.reward.vlm.views import chosen_camera, film_until

__all__ = ["LogProbCfg", "LogProbJudge", "done_request", "parse_done"]


def done_request(task: str, film: Video) -> ChatRequest:
    """Ask for ln P("True") after the statement that the task is done at the end of the film."""
    return ChatRequest(
        parts=(
            film,
            "The video shows a robot. Statement: at the end of the video the robot has completed "
            f"the task '{task}'. The statement is",
        ),
        choices=(" True",),
        raw=True,
    )


@dataclass(frozen=True, kw_only=True)
class LogProbCfg:
    """What the judge is shown, and the scale of its answer."""

    camera: str = ""
    """Camera of the film; "" for the first one."""
    max_frames: int = 16
    """Most frames of a film; longer ones are thinned evenly."""
    low_logp: float = -25.0
    """ln P("True") that counts as progress 0; depends on the model, see `reward eval`."""
    high_logp: float = -5.0
    """ln P("True") that counts as progress 1."""

    def __post_init__(self) -> None:
        """Refuse a film of fewer than two frames, and an empty range."""
        if self.max_frames < 2:
            raise ConfigError(f"max_frames is {self.max_frames}, but must be at least 2.")
        if not self.low_logp < self.high_logp:
            raise ConfigError(
                f"low_logp is {self.low_logp}, but must be below high_logp {self.high_logp}."
            )


def parse_done(reply: ChatReply, cfg: LogProbCfg) -> float:
    """Progress in [0, 1]: ln P("True") mapped from the range, clipped; NaN without answer."""
    logp = reply.choice_logp
    if reply.failure or logp is None or logp.shape != (1,) or not math.isfinite(logp[0]):
        return float("nan")
    share = (float(logp[0]) - cfg.low_logp) / (cfg.high_logp - cfg.low_logp)
    return min(max(share, 0.0), 1.0)


class LogProbJudge(ChatJudge):
    """One forward pass for the film up to each frame; says nothing about success."""

    kind = "logprob"
    cfg: LogProbCfg

    @property
    def capabilities(self) -> Capabilities:
        """Causal, one camera, no goal."""
        return Capabilities(causal=True, multi_view=False)

    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        camera = chosen_camera(self.cfg.camera, query.frames)
        films = [film_until(query, camera, t, self.cfg.max_frames) for t in range(len(query))]
        return [done_request(query.task, film) for film in films]

    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        return Judgement(progress=np.array([parse_done(reply, self.cfg) for reply in replies]))
