"""From `--reward` to who says what an episode was worth: the env, or a judge in a folder.

learning:  transition → **judge** → replay → residual agent → weights → policy
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.apps.reward_data import instruction_of, lessons
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.late_labels import Reel
from robot_rl.learn.reward_source import RewardCfg, RewardSource
from robot_rl.learn.watched import WatchedEnv, horizon_of, truth_of
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.retraining import RetrainCfg, Retrainer

__all__ = ["REWARDS", "SPARSE", "RewardName", "judged_env", "load_judge_of", "source_of"]

SPARSE = "sparse"
REWARDS = {"judge": "potential", "detector": "none", "naive": "naive"}
"""What a user types before the judge's folder, and what is then paid beside success."""
_COPY = "judge"


@dataclass(frozen=True, kw_only=True)
class RewardName:
    """What `--reward` says: `sparse`, or a kind and the folder of a judge."""

    kind: str
    judge: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "RewardName":
        """Read `sparse`, `judge:DIR`, `detector:DIR` or `naive:DIR`.

        Raises:
            ConfigError: It is none of these.
        """
        kind, _, where = text.partition(":")
        if text == SPARSE:
            return cls(kind=kind)
        if kind not in REWARDS or not where:
            raise ConfigError(
                f"reward is '{text}', but must be sparse, or one of "
                f"{', '.join(f'{name}:DIR' for name in REWARDS)} with the folder of a judge. "
                "Make one: robot-rl reward train."
            )
        return cls(kind=kind, judge=Path(where))

    def digest(self) -> str:
        """Of the judge's small files, which name its weights; "" without one.

        Raises:
            ConfigError: There is no judge in the folder.
        """
        if self.judge is None:
            return ""
        heads = sorted(self.judge.glob("*.json"))
        if not heads:
            raise ConfigError(
                f"{self.judge} holds no judge. Give the folder that robot-rl reward train wrote."
            )
        return hashlib.sha256(b"".join(head.read_bytes() for head in heads)).hexdigest()

    def cfg(self, given: RewardCfg) -> RewardCfg:
        """The configuration with what is paid beside success."""
        return replace(given, auxiliary=REWARDS[self.kind])  # type: ignore[arg-type]


def load_judge_of(where: Path, env_name: str) -> Judge:
    """The judge in a folder, asked by the instruction that it knows, or by the task's.

    Raises:
        CheckpointError: There is none.
    """
    judge = Judge.load(where, "")
    known: Sequence[str] = getattr(judge.model, "tasks", ())
    task = known[0] if len(known) == 1 else instruction_of(env_name)
    return replace(judge, task=task)


def judged_env(
    env: gym.Env[Any, Any],
    judge: Judge,
    demos: Sequence[Trajectory] = (),
    *,
    late: bool = False,
) -> WatchedEnv:
    """The env as the judge ends its episodes; an env without a clock runs at the demos' rate."""
    steps_s = np.concatenate([np.diff(demo.t_s) for demo in demos]) if demos else np.ones(1)
    return WatchedEnv(
        env,
        Reel(judge) if late else Watch(judge),
        horizon=horizon_of(env),
        period_s=float(np.median(steps_s)),
        truth=truth_of(env),
    )


def source_of(
    name: RewardName,
    cfg: RewardCfg,
    env: gym.Env[Any, Any],
    env_name: str,
    run: Path,
    demos: Sequence[Trajectory],
    *,
    retrain: RetrainCfg,
) -> tuple[gym.Env[Any, Any], RewardSource | None]:
    """The env to act in, and who rewards the learner; the env itself and None if sparse.

    The judge is copied into the run's folder, so that the run goes on with the one it began with.

    Args:
        name: What was asked for.
        cfg: How the judge's word becomes a reward.
        env: The task.
        env_name: What a user calls it.
        run: The run's folder.
        demos: What a judge is trained on again, if what it was trained on has gone.
        retrain: When, if somebody is asked.
    """
    if name.judge is None:
        return env, None
    copy = run / _COPY / "given"
    if not copy.exists():
        part = copy.with_name(f".{copy.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(name.judge, part)
        part.rename(copy)
    judge = load_judge_of(copy, env_name)
    watched = judged_env(env, judge, demos, late=cfg.late)
    cfg, retrainer = name.cfg(cfg), None
    if cfg.ask_every:
        retrainer = Retrainer(_lessons(copy, judge, demos), judge, retrain)
    source = RewardSource(
        cfg, judge, watch=watched.watch, shown=demos, retrainer=retrainer, folder=run / _COPY
    )
    return watched, source


def _lessons(folder: Path, judge: Judge, demos: Sequence[Trajectory]) -> list[Lesson]:
    """What the judge was trained on where that is still there, else the demonstrations."""
    try:
        data = json.loads((folder / "training.json").read_text())["cfg"]["data"]
        return lessons(tuple(map(Path, data)), judge.task)
    except (OSError, ValueError, KeyError, DataError):
        return [Lesson(episode=demo, task=judge.task, success=True) for demo in demos]
