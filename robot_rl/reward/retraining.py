"""Keeps what was lived through since, and trains the reward model again on it.

learning:  transition → episode store → **progress model (again)** → replay → residual agent

A learner finds the states that fool its judge: that is what it is paid for. So the judge learns
from the learner's failures as they come. Only what a person or the environment said is learned
from: a model that is trained on its own verdicts confirms them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg, SuccessDetector, fit_detector
from robot_rl.reward.embedded import Fitted, fit_embedded
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import RecordedEpisode, query_of

__all__ = ["FailureBuffer", "RetrainCfg", "Retrainer", "is_trusted"]

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


class Retrainer:
    """The reward model of a learning run, and the data that the next version learns from.

    Attributes:
        fitted: The model in force.
        detector: The detector that was fitted on it.
    """

    def __init__(
        self,
        demos: Sequence[Lesson],
        cfg: RetrainCfg | None = None,
        *,
        model: EmbeddedCfg | None = None,
        detector: DetectorCfg | None = None,
        seed: int = 0,
    ) -> None:
        """Train the first version on demonstrations, and failures if there are some among them.

        Raises:
            DataError: Too few demonstrations.
        """
        self.cfg = cfg or RetrainCfg()
        self._model_cfg, self._detector_cfg, self._seed = model, detector or DetectorCfg(), seed
        self._demos = list(demos)
        self._successes: deque[Lesson] = deque(maxlen=self.cfg.successes)
        self._failures = FailureBuffer(self.cfg.failures)
        self._since = 0
        self.fitted: Fitted = self._fit(version=1)
        self.detector = self._detect()

    def add(
        self, episode: RecordedEpisode, task: str, *, success: bool, label_source: str
    ) -> None:
        """Count an episode, and learn from it if its outcome can be trusted."""
        self._since += 1
        if not is_trusted(label_source):
            return
        lesson = Lesson(episode=episode, task=task, success=success)
        if success:
            self._successes.append(lesson)
            return
        estimate = self.fitted.model.score([query_of(episode, task)])[0]
        looked = self.detector.probability(estimate)[estimate.valid]
        self._failures.add(lesson, float(np.max(looked, initial=0.0)))

    def is_due(self) -> bool:
        """Whether enough was lived through since the last training."""
        return self._since >= self.cfg.every

    def retrain(self) -> Fitted:
        """Train the next version on all that is kept; it is in force from now on."""
        self.fitted = self._fit(version=self.fitted.model.version + 1)
        self.detector = self._detect()
        self._since = 0
        return self.fitted

    def _fit(self, version: int) -> Fitted:
        lessons = [*self._demos, *self._successes, *self._failures.lessons()]
        seed = self._seed + 7 * version  # a network that was fooled should not start the same
        return fit_embedded(lessons, self._model_cfg, seed=seed, version=version)

    def _detect(self) -> SuccessDetector:
        return SuccessDetector(fit_detector(self.fitted.held_out, self._detector_cfg))
