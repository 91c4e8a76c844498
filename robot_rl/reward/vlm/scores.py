"""Lessons in scores 1 to 5, with the negatives that teach a judge to say no.

learning:  episode store → **lessons** → fine-tuned model → progress model → replay

Demonstrations alone teach that everything is a 5. Negatives come from what is there: a success cut
off early is less than a success, a film of one task is no success at another, and a failure is at
least no 5. `counterfactual` has a language model write further wrong instructions.
Ref: RoboReward, arXiv 2601.00675: without negatives the error doubles (0.845 to 1.450).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.episodes import RecordedEpisode, query_of
from robot_rl.reward.vlm.lessons import ChatLesson
from robot_rl.reward.vlm.roboreward import RoboRewardCfg, score_answer, score_request
from robot_rl.reward.vlm.views import chosen_camera, film_until

__all__ = ["CUTS", "ScoreLessonsCfg", "score_lesson", "score_lessons"]

CUTS = {1: (0.0, 0.05), 2: (0.1, 0.35), 3: (0.4, 0.65), 4: (0.7, 0.9)}
"""Where a success is cut off to be worth a score, as shares of its length; what lies between two
ranges is worth neither for certain, and nearly the whole (0.95) would be a 5."""


@dataclass(frozen=True, kw_only=True)
class ScoreLessonsCfg:
    """How many negatives are made of each kind."""

    cuts_per_score: int = 1
    """Cut-off films for each of the scores 1 to 4, from each success."""
    wrong_tasks: int = 1
    """Instructions of other tasks that each film is judged by, where there are other tasks."""

    def __post_init__(self) -> None:
        """Refuse negative numbers of negatives."""
        for name in ("cuts_per_score", "wrong_tasks"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 0.")


def score_lesson(
    episode: RecordedEpisode, last: int, task: str, scores: Sequence[int], view: RoboRewardCfg
) -> ChatLesson:
    """The film up to frame `last`, judged by `task`, is worth one of `scores`."""
    query = query_of(episode, task)
    film = film_until(query, chosen_camera(view.camera, query.frames), last, view.max_frames)
    first, *more = map(score_answer, scores)
    return ChatLesson(
        request=score_request(task, film, weigh=False), answer=first, also_right=tuple(more)
    )


def score_lessons(
    episodes: Mapping[str, RecordedEpisode],
    cfg: ScoreLessonsCfg,
    view: RoboRewardCfg,
    rng: np.random.Generator,
) -> list[ChatLesson]:
    """Lessons from episodes of one or more tasks; those that nobody has judged are left out.

    Args:
        episodes: By name.
        cfg: Which negatives.
        view: What the judge will be shown.
        rng: Draws cuts and wrong instructions.

    Raises:
        DataError: No episode has a verdict.
    """
    judged = {name: each for name, each in episodes.items() if each.success is not None}
    if not judged:
        raise DataError("no episode has a verdict. Label them success or failure first.")
    tasks = sorted({_task(each) for each in judged.values()})
    lessons = []
    for name, episode in judged.items():
        task, last = _task(episode), len(episode.t_s) - 1
        rows: list[tuple[int, str, tuple[int, ...]]] = [
            (last, task, (5,) if episode.success else (4, 3, 2, 1))
        ]
        if episode.success:
            rows += [
                (round(rng.uniform(low, high) * last), task, (score,))
                for score, (low, high) in CUTS.items()
                for _ in range(cfg.cuts_per_score)
            ]
        others = [other for other in tasks if other != task]
        wrong = rng.permutation(others)[: cfg.wrong_tasks] if others else []
        rows += [(last, str(other), (1,)) for other in wrong]
        for row, instruction, scores in rows:
            made = score_lesson(episode, row, instruction, scores, view)
            lessons.append(
                ChatLesson(
                    request=made.request,
                    answer=made.answer,
                    also_right=made.also_right,
                    source=name,
                )
            )
    return lessons


def _task(episode: RecordedEpisode) -> str:
    return str(episode.attrs.get("task", ""))
