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

from robot_rl.apps.reward.data import instruction_of, lessons
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.late_labels import Reel
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.learn.reward_source import RewardSource
from robot_rl.learn.watched import WatchedEnv, horizon_of, truth_of
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.retraining import RetrainCfg, Retrainer

__all__ = [
    "REWARDS",
    "SPARSE",
    "RewardName",
    "follow_judge",
    "judged_env",
    "load_judge_of",
    "newest_judge",
    "source_of",
    "watched_of",
]

SPARSE = "sparse"
REWARDS = {"judge": "potential", "detector": "none", "naive": "naive"}
"""What a user types before the judge's folder, and what is then paid beside success."""
FOLDER, _GIVEN = "judge", "given"


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


def watched_of(
    name: RewardName,
    cfg: RewardCfg,
    env: gym.Env[Any, Any],
    env_name: str,
    run: Path,
    demos: Sequence[Trajectory],
) -> gym.Env[Any, Any]:
    """The env to act in: as its judge ends its episodes, or the env itself where there is none.

    The judge is copied into the run's folder, so that the run goes on with the one it began with.

    Args:
        name: What was asked for.
        cfg: How the judge's word becomes a reward.
        env: The task.
        env_name: What a user calls it.
        run: The run's folder.
        demos: What was shown.
    """
    if name.judge is None:
        return env
    copy = run / FOLDER / _GIVEN
    if not copy.exists():
        part = copy.with_name(f".{copy.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(name.judge, part)
        part.rename(copy)
    return judged_env(env, load_judge_of(newest_judge(run), env_name), demos, late=cfg.late)


def newest_judge(run: Path) -> Path:
    """The folder of the latest judge of a run: the one it was given, until it was retrained."""
    made = sorted((run / FOLDER).glob("v[0-9]*"))
    return made[-1] if made else run / FOLDER / _GIVEN


def source_of(
    name: RewardName,
    cfg: RewardCfg,
    env_name: str,
    run: Path,
    demos: Sequence[Trajectory],
    *,
    retrain: RetrainCfg,
    env: gym.Env[Any, Any] | None = None,
) -> RewardSource | None:
    """Who rewards the learner of a run; None where the env does.

    Args:
        name: What was asked for.
        cfg: How the judge's word becomes a reward.
        env_name: What a user calls the task.
        run: The run's folder, with its judge.
        demos: As the judge sees them; what it is trained on again, if all else has gone.
        retrain: When, if somebody is asked.
        env: As `watched_of` made it; None if episodes come from another process.
    """
    if name.judge is None:
        return None
    judge, cfg = load_judge_of(run / FOLDER / _GIVEN, env_name), name.cfg(cfg)
    watch = env.watch if isinstance(env, WatchedEnv) else None
    if watch is not None:
        watch.judge = judge  # a resumed run goes on to later ones by itself
    elif judge.cameras or cfg.late:
        raise ConfigError(
            f"the judge looks at cameras {list(judge.cameras)}, or speaks late: acting and "
            "learning must be one process. Give --engine inline."
        )
    retrainer = None
    if cfg.ask_every or watch is None:  # people label what is in a store
        retrainer = Retrainer(_lessons(run / FOLDER / _GIVEN, judge, demos), judge, retrain)
    return RewardSource(
        cfg, judge, watch=watch, shown=demos, retrainer=retrainer, folder=run / FOLDER
    )


def follow_judge(env: gym.Env[Any, Any], run: Path) -> None:
    """Between episodes: let the env's judge be the one that the learner has trained since."""
    if isinstance(env, WatchedEnv):
        newest, held = newest_judge(run), env.watch.judge
        if newest.name != _GIVEN and newest.name != f"v{held.model.version:04d}":
            env.watch.judge = Judge.load(newest, held.task)


def _lessons(folder: Path, judge: Judge, demos: Sequence[Trajectory]) -> list[Lesson]:
    """What the judge was trained on where that is still there, else the demonstrations."""
    try:
        data = json.loads((folder / "training.json").read_text())["cfg"]["data"]
        return lessons(tuple(map(Path, data)), judge.task)
    except (OSError, ValueError, KeyError, DataError):
        return [Lesson(episode=demo, task=judge.task, success=True) for demo in demos]
