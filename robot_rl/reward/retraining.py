"""Keeps what was lived through since, and trains the reward model again on it.

learning:  transition → episode store → **progress model (again)** → replay → residual agent

A learner finds the states that fool its judge: that is what it is paid for. So the judge learns
from the learner's failures as they come. Only what a person or the environment said is learned
from: a model that is trained on its own verdicts confirms them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.policy.eyes import Eyes
from robot_rl.reward.calibrator import Calibrator
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg, SuccessDetector, fit_detector
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.embedded_fit import fit_embedded
from robot_rl.reward.episodes import query_of
from robot_rl.reward.judge import Judge

__all__ = ["FailureBuffer", "RetrainCfg", "Retrainer", "is_trusted", "train_judge"]

_UNTRUSTED = ("none", "reward_model")


def is_trusted(label_source: str) -> bool:
    """Whether an outcome was judged by a person or the environment, not by a reward model."""
    return not label_source.startswith(_UNTRUSTED)


@dataclass(frozen=True, kw_only=True)
class RetrainCfg:
    """When a reward model is trained again, and on what."""

    every: int = 50
    """Episodes between two trainings."""
    failures: int = 40
    """Most failures that are kept: half the newest, half those that looked most like success."""
    successes: int = 40
    """Most own successes that are kept beside the demonstrations, the newest."""

    def __post_init__(self) -> None:
        """Refuse what would never train or never learn."""
        if min(self.every, self.failures, self.successes) < 1:
            raise ConfigError(
                f"retraining: every {self.every}, failures {self.failures} and successes "
                f"{self.successes} must be at least 1."
            )


class FailureBuffer:
    """A bounded number of failures: the newest, and of the older ones those that fooled most."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._newest: deque[tuple[float, Lesson]] = deque()
        self._hardest: list[tuple[float, Lesson]] = []

    def add(self, lesson: Lesson, score: float) -> None:
        """Keep a failure whose most successful frame was given this probability."""
        self._newest.append((score, lesson))
        while len(self._newest) > (self._capacity + 1) // 2:
            self._hardest.append(self._newest.popleft())
            self._hardest.sort(key=lambda entry: -entry[0])
            del self._hardest[self._capacity // 2 :]

    def lessons(self) -> list[Lesson]:
        """All that is kept."""
        return [lesson for _, lesson in (*self._hardest, *self._newest)]

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._newest) + len(self._hardest)


def train_judge(
    lessons: Sequence[Lesson],
    task: str,
    *,
    model: EmbeddedCfg | None = None,
    detector: DetectorCfg | None = None,
    eyes: Eyes | None = None,
    seed: int = 0,
    version: int = 1,
) -> Judge:
    """A judge of these lessons; its detector is fitted on what each network had left out.

    Raises:
        DataError: Too few demonstrations.
    """
    fitted = fit_embedded(lessons, model, eyes=eyes, seed=seed, version=version)
    cfg = fit_detector(fitted.held_out, detector or DetectorCfg())
    return Judge(model=fitted.model, detector=SuccessDetector(cfg), task=task)


class Retrainer:
    """The judge of a learning run, and the data that the next version learns from.

    Args:
        lessons: What the first version learned from: demonstrations, and failures if there are.
        judge: The first version.
        cfg: When it is trained again.
        model: How; that of the first version by default.
        seed: Of weights, windows and disturbances.

    Attributes:
        judge: In force.
        since: Episodes since the last training.
        news: Those among them that something can be learned from.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        judge: Judge,
        cfg: RetrainCfg | None = None,
        *,
        model: EmbeddedCfg | None = None,
        seed: int = 0,
    ) -> None:
        if model is None and isinstance(judge.model, EmbeddedModel):
            model = judge.model.cfg
        self.cfg, self.judge = cfg or RetrainCfg(), judge
        self._model_cfg, self._seed, self._lessons = model, seed, list(lessons)
        self._forget()

    def _forget(self) -> None:
        self._successes: deque[Lesson] = deque(maxlen=self.cfg.successes)
        self._failures = FailureBuffer(self.cfg.failures)
        self.since = self.news = 0

    def count(self) -> None:
        """Count an episode that was lived through."""
        self.since += 1

    def add(self, lesson: Lesson, label_source: str) -> float | None:
        """Learn from an episode, if its outcome can be trusted.

        Returns:
            The probability that the judge gave its most successful frame, to `restore` it by;
            None if nothing is learned from it.
        """
        if not is_trusted(label_source):
            return None
        self.news += 1
        estimate = self.judge.model.score([query_of(lesson.episode, lesson.task)])[0]
        looked = self.judge.detector.probability(estimate)[estimate.valid]
        score = float(np.max(looked, initial=0.0))
        self._keep(lesson, score)
        return score

    def _keep(self, lesson: Lesson, score: float) -> None:
        if lesson.success:
            self._successes.append(lesson)
        else:
            self._failures.add(lesson, score)

    def is_due(self) -> bool:
        """Whether enough was lived through since the last training, and something learned."""
        return self.since >= self.cfg.every and self.news > 0

    def retrain(self) -> Judge:
        """Train the next version on all that is kept; it is in force from now on."""
        version = self.judge.model.version + 1
        known = self.judge.model
        self.judge = train_judge(
            [*self._lessons, *self._successes, *self._failures.lessons()],
            self.judge.task,
            model=self._model_cfg,
            detector=replace(self.judge.detector.cfg, calibrator=Calibrator()),
            eyes=known.eyes if isinstance(known, EmbeddedModel) else None,
            seed=self._seed + 7 * version,  # a network that was fooled should not start the same
            version=version,
        )
        self.since = self.news = 0
        return self.judge

    def restore(
        self, learned: Sequence[tuple[Lesson, float]], judge: Judge, *, since: int, news: int
    ) -> None:
        """Be as another was that had learned these lessons in this order, by what `add` said."""
        self._forget()
        self.judge, self.since, self.news = judge, since, news
        for lesson, score in learned:
            self._keep(lesson, score)
