"""From a recorded episode to a question for a progress model.

learning:  transition → **episode** store → **progress model** → replay → residual agent → weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from robot_rl.reward.progress import ProgressQuery
from robot_rl.types import F32, F64, I64, U8

__all__ = [
    "SETTLED_S",
    "Goal",
    "RecordedEpisode",
    "cameras_of",
    "goal_of",
    "query_of",
    "success_s",
    "time_share",
]

SETTLED_S = "settled_s"
"""The fact that says how long an episode went on after its success [s]."""
_ROUNDING_S = 1e-6


class RecordedEpisode(Protocol):
    """The part of a `replay.trajectory.Trajectory` that judging reads; T + 1 observations."""

    @property
    def obs(self) -> Mapping[str, F32 | U8]:
        """Float32 (T + 1, d) under "state", and per camera uint8 (T + 1, h, w, 3)."""
        ...

    @property
    def t_s(self) -> F64:
        """float64 (T + 1,) stamps of the observations."""
        ...

    @property
    def success(self) -> bool | None:
        """Whether it succeeded; None if nobody has said."""
        ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Facts: task, seed, who labelled it ..."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """How it looks when the task is done: images per camera, and the state vector (D,)."""

    images: Mapping[str, U8] = field(default_factory=dict)
    proprio: F32 | None = None


def cameras_of(episode: RecordedEpisode) -> list[str]:
    """Names of the cameras of an episode, sorted."""
    return sorted(name for name in episode.obs if name != "state")


def goal_of(demo: RecordedEpisode) -> Goal:
    """The goal as the last observation of a successful episode shows it."""
    images = {name: np.asarray(demo.obs[name][-1], np.uint8) for name in cameras_of(demo)}
    return Goal(images=images, proprio=np.asarray(demo.obs["state"][-1], np.float32))


def success_s(episode: RecordedEpisode) -> float:
    """The stamp at which an episode's success was complete: its last, unless it went on."""
    return float(episode.t_s[-1]) - float(episode.attrs.get(SETTLED_S, 0.0))


def time_share(stamps_s: F64, end_s: float | None = None) -> F64:
    """How much of the time until `end_s` (default: the last stamp) has passed, (T,) in [0, 1]."""
    end_s = float(stamps_s[-1]) if end_s is None else end_s
    return np.clip((stamps_s - stamps_s[0]) / max(end_s - float(stamps_s[0]), _ROUNDING_S), 0, 1)


def query_of(
    episode: RecordedEpisode, task: str, *, goal: Goal | None = None, frames: I64 | None = None
) -> ProgressQuery:
    """Ask for an episode's frames.

    Args:
        episode: What happened.
        task: The instruction that it is judged by.
        goal: How it looks when done; None leaves that to the model.
        frames: Rising indices (K,) of the observations to judge; None for all T + 1.
    """
    rows = np.arange(len(episode.t_s)) if frames is None else frames
    cameras = cameras_of(episode)
    goal = goal or Goal()
    return ProgressQuery(
        stamps_s=np.asarray(episode.t_s, np.float64)[rows],
        task=task,
        frames={name: np.asarray(episode.obs[name], np.uint8)[rows] for name in cameras},
        proprio=np.asarray(episode.obs["state"], np.float32)[rows],
        initial={name: np.asarray(episode.obs[name][0], np.uint8) for name in cameras},
        initial_proprio=np.asarray(episode.obs["state"][0], np.float32),
        goal=goal.images,
        goal_proprio=goal.proprio,
    )
