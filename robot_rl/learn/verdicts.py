"""Who may say how an episode ended: a person, whoever was asked, or else the judge.

learning:  transition → **verdict** → replay → residual agent → weights
"""

from dataclasses import replace

import numpy as np

from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.detector import HUMAN
from robot_rl.reward.judge import Judge

__all__ = ["with_verdict"]


def with_verdict(episode: Trajectory, judge: Judge, *, is_asked: bool) -> Trajectory:
    """The episode with the verdict and the reward of those who may say so.

    A person's word, and what somebody was asked, overrules the judge. What the env itself says of
    success is never looked at.

    Args:
        episode: As it was executed; one that the judge watched has its verdict already.
        judge: Speaks where nobody else has.
        is_asked: Whether whoever knows the truth, if there is one, is asked for it.
    """
    attrs = episode.attrs
    source = str(attrs.get("label_source", ""))
    is_judged = source.startswith("reward_model:")
    said = bool(episode.success)
    is_stopped = episode.terminated and not said
    if is_asked and attrs.get("true_success") is not None:
        said, source = bool(attrs["true_success"]), "asked"
    elif not (is_judged or source.startswith(HUMAN)):
        verdict = judge.judge(episode)[1]
        said, source = verdict.success, verdict.label_source
    reward = np.zeros(len(episode), np.float32)
    reward[-1] = said
    return replace(
        episode,
        reward=reward,
        terminated=said or is_stopped,
        success=said,
        attrs={**attrs, "label_source": source, "seen": is_judged and bool(episode.success)},
    )
