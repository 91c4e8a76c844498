"""There and back: two policies that practise by undoing each other's work, and call when stuck.

learning:  **attempt → who is next** → env → transition → replay → two residual agents → weights

A robot that practises for hours needs somebody to put the scene back after every episode, and that
is the most expensive part of it. Here a second policy does: one pushes the puck to the goal, the
other pushes it back, and each episode begins where the last one ended (forward-backward learning,
Eysenbach et al. 2018, arXiv 1711.06782; RoboFuME, Yang et al. 2023, arXiv 2310.15145). Both learn
all the time, each by its own success predicate or judge. A person is asked only after several ways
back have failed in a row, and every such call is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robot_rl.errors import ConfigError
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.progress import Progress
from robot_rl.learn.residual import ResidualLearner

__all__ = ["ResetFree", "ResetFreeCfg"]


@dataclass(frozen=True, kw_only=True)
class ResetFreeCfg:
    """How the two take turns."""

    steps: int = 30_000
    """Steps of both together."""
    patience: int = 3
    """Ways back that fail in a row before a person is asked to put the scene back."""

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if self.steps < 1 or self.patience < 1:
            raise ConfigError(
                f"undo: steps {self.steps} and patience {self.patience} must be at least 1."
            )


class ResetFree:
    """Two learners on one robot.

    Args:
        cfg: How they take turns.
        forward: Learns the task; its run keeps the attempts of both.
        backward: Learns to undo it.
        request_reset: Called when the next episode must begin with the scene put back.
        control_hz: Steps a second of the robot's time.
        evaluate: Measures the forward learner's deployed candidate at a step.

    Attributes:
        step: Of both together, as are `resets` and `attempts`.
        resets: How often a person was asked, the first time included.
        attempts: Episodes.
    """

    def __init__(
        self,
        cfg: ResetFreeCfg,
        forward: ResidualLearner,
        backward: ResidualLearner,
        *,
        request_reset: Callable[[], None],
        control_hz: float,
        evaluate: Callable[[int, str], float] | None = None,
    ) -> None:
        if forward.env is None or backward.env is None:
            raise ConfigError("reset-free learning needs an env for each direction.")
        self.cfg, self.forward, self.backward = cfg, forward, backward
        self._request_reset, self._evaluate = request_reset, evaluate
        self._control_hz = control_hz
        self.resets = self.attempts = 0
        self._failed_back = 0
        self._is_back = False

    @property
    def step(self) -> int:
        """Steps of both together."""
        return self.forward.step + self.backward.step

    def train(self, progress: Progress | None = None) -> dict[str, Any]:
        """Practise until the steps are done; returns the headline figures."""
        self._call()
        if self.step == 0:
            self._judge("base")
        while self.step < self.cfg.steps:
            before = self.step
            success = self._attempt()
            if progress is not None:
                stage = "back" if self._is_back else "there"
                progress.update(self.step, resets=str(self.resets), stage=stage)
            self._choose_next(success)
            if self._passed(before, self.forward.cfg.eval_every) and self.step < self.cfg.steps:
                self._judge(self.forward.deployed())
            if self._passed(before, self.forward.cfg.checkpoint_every):
                self.save()
        rate = self._judge(self.forward.deployed())
        self.save()
        return {"steps": self.step, "resets": self.resets, "success": rate}

    def _attempt(self) -> bool:
        """One episode of whoever is next, kept and learned from; whether it succeeded."""
        learner = self.backward if self._is_back else self.forward
        assert learner.env is not None  # checked at the start
        episode = learner.collect(learner.env, step=learner.step, episode=learner.episode)
        learner.absorb(episode)
        self.attempts += 1
        if self.forward.run is not None:
            self.forward.run.log_attempt(
                self.step,
                {
                    "direction": "back" if self._is_back else "there",
                    "success": bool(episode.success),
                    "length": len(episode),
                    "behaviour": episode.attrs["behaviour"],
                    "resets": self.resets,
                    "robot_s": round(self.step / self._control_hz, 1),
                },
            )
        return bool(episode.success)

    def _choose_next(self, success: bool) -> None:
        """There is always followed by back; back by there once it has worked."""
        if not self._is_back:
            self._is_back = True
        elif success:
            self._is_back, self._failed_back = False, 0
        else:
            self._failed_back += 1
            if self._failed_back >= self.cfg.patience:
                self._call()

    def _call(self) -> None:
        """Ask for the scene to be put back, and begin there."""
        self._request_reset()
        self.resets += 1
        self._is_back, self._failed_back = False, 0

    def _judge(self, name: str) -> float:
        return float("nan") if self._evaluate is None else self._evaluate(self.step, name)

    def _passed(self, before: int, every: int) -> bool:
        return every > 0 and before // every < self.step // every

    # Saving -----------------------------------------------------------------------------------

    def save(self) -> None:
        """Checkpoints of both; the scene is not kept."""
        self.forward.save()
        self.backward.save()

    def resume(self) -> bool:
        """Go on from the newest checkpoints; False if there are none.

        How the scene was left is not known, so it goes on with a call, which counts.

        Raises:
            CheckpointError: There are checkpoints, but none fits.
        """
        found = self.forward.resume() and self.backward.resume()
        if found and self.forward.run is not None:
            rows = read_lines(self.forward.run.path / "attempts.jsonl")
            self.attempts = len(rows)
            self.resets = int(rows[-1]["resets"]) if rows else 0
        return found
