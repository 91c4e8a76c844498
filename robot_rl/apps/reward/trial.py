"""What a written function is worth to a learner: a short training with it, and its true success.

learning:  written function → **judge → residual agent → policy** → language model (again)

Training and evaluation run in processes of their own and go on after a kill. Success is measured
in the twin, on starts that no final evaluation uses: whoever chooses on those has nothing left to
measure with.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_rl.config import save_config
from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.judge import DETECTOR_FILE
from robot_rl.reward.written.candidate import Trial
from robot_rl.reward.written.model import WrittenModel
from robot_rl.reward.written.scoring import Examples
from robot_rl.reward.written.verdicts import fit_verdicts

__all__ = ["TRIAL_SEEDS", "ShortTraining", "TrialCfg"]

TRIAL_SEEDS = range(610_000, 611_000)
"""Starts on which candidates are compared; no final evaluation is made on them."""
_LAST_LINES = 3


@dataclass(frozen=True, kw_only=True)
class TrialCfg:
    """Short training with the best functions of a round, in the twin."""

    steps: int = 0
    """Environment steps of a training; 0 for none: figures on recordings decide."""
    base: Path | None = None
    """Base to learn on: folder of a saved policy, of robot-rl bc, or of a run."""
    demos: str = ""
    """Episode store with demonstrations that the learner sees, too."""
    episodes: int = 40
    """Episodes that measure what was learned."""
    seed: int = 0
    """Of the learner."""

    def __post_init__(self) -> None:
        """Refuse a training without anything to learn on."""
        if self.steps < 0 or not 1 <= self.episodes <= len(TRIAL_SEEDS):
            raise ConfigError(
                f"trial: steps is {self.steps} and must be at least 0; episodes is "
                f"{self.episodes} and must be within 1 and {len(TRIAL_SEEDS)}."
            )
        if self.steps and self.base is None:
            raise ConfigError(
                f"trial: steps is {self.steps}, but there is no base to learn on, and cloning one "
                "for each function would cost more than the trial. Give --trial.base."
            )


class ShortTraining:
    """Trains as `robot-rl train --reward judge:DIR` does; see `search.Trainer`.

    Args:
        cfg: How long, and on what.
        env: The task.
        examples: Episodes that the detector is fitted on.
    """

    def __init__(self, cfg: TrialCfg, env: str, examples: Examples) -> None:
        self.cfg, self._env, self._examples = cfg, env, examples

    def __call__(self, model: Path, out: Path) -> Trial:
        """What training with the function in `model` comes to.

        Raises:
            DataError: Training or evaluation failed; says why.
        """
        judge = WrittenModel.load(model)
        with judge.sandbox:
            save_config(model / DETECTOR_FILE, fit_verdicts(judge, self._examples))
        run, result = out / "run", out / "eval" / "result.json"
        train = ["train", "--env", self._env, "--reward", f"judge:{model}", "--out", str(run)]
        train += ["--steps", str(self.cfg.steps), "--seed", str(self.cfg.seed), "--resume"]
        train += ["--videos", "0", "--eval-episodes", "1", "--base", str(self.cfg.base)]
        if self.cfg.demos:
            train += ["--demos", self.cfg.demos]
        _run(train, out / "train.log")
        seeds = [str(seed) for seed in TRIAL_SEEDS[: self.cfg.episodes]]
        measure = ["eval", str(run), "--env", self._env, "--out", str(result.parent), "--seeds"]
        _run([*measure, *seeds], out / "eval.log")
        rows = json.loads(result.read_text())["episodes"]
        rate = float(np.mean([row["success"] for row in rows]))
        words = f"{rate:.0%} of {len(rows)} episodes succeed after {self.cfg.steps} steps"
        return Trial(success=rate, words=words)


def _run(arguments: Sequence[str], log: Path) -> None:
    """One `robot-rl` command in a process of its own.

    Raises:
        DataError: It failed.
    """
    with log.open("w") as file:
        code = subprocess.run(
            [sys.executable, "-m", "robot_rl", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        said = " ".join(log.read_text().strip().splitlines()[-_LAST_LINES:])
        raise DataError(f"robot-rl {arguments[0]} failed ({code}), see {log}: {said}")
