"""What a model is taught: a request as a judge asks it, and the answer that would have been right.

learning:  episode store → **lessons** → fine-tuned model → progress model → replay
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import DataError
from robot_rl.reward.vlm.chat import ChatRequest

__all__ = ["ChatLesson", "split"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChatLesson:
    """One example of supervised fine-tuning.

    Attributes:
        request: As a judge asks it.
        answer: What the model shall write, `answer_start` included.
        also_right: Answers that are as right; of a failure one knows that its score is not 5.
        source: Which episode it is from: those of one episode are never split.
    """

    request: ChatRequest
    answer: str
    also_right: tuple[str, ...] = ()
    source: str = ""


def split(
    lessons: Sequence[ChatLesson], held_out_share: float, rng: np.random.Generator
) -> tuple[list[ChatLesson], list[ChatLesson]]:
    """Lessons to train on and lessons to check with, of different episodes.

    Raises:
        DataError: There are lessons of one episode only, so nothing can be held out.
    """
    sources = sorted({lesson.source for lesson in lessons})
    if not lessons or (held_out_share > 0 and len(sources) < 2):
        raise DataError(
            f"{len(lessons)} lessons of {len(sources)} episodes cannot be split. Record more "
            "episodes, or hold nothing out."
        )
    count = min(len(sources) - 1, max(1, round(held_out_share * len(sources))))
    held = set(rng.permutation(sources)[:count]) if held_out_share > 0 else set()
    return (
        [lesson for lesson in lessons if lesson.source not in held],
        [lesson for lesson in lessons if lesson.source in held],
    )
