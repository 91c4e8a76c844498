"""Gives a demonstration the base actions that residual learning needs.

learning:  transition → **episode (+ base action)** → store → replay → residual agent → weights

The base is run again on what was observed, with its queue reset for each episode, exactly as it
would have been queried there; the action that was executed stays what it was.
"""

from dataclasses import replace

import numpy as np

from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.policy.queue import ChunkQueue
from robot_rl.replay.trajectory import Trajectory

__all__ = ["observation_at", "relabel"]


def observation_at(trajectory: Trajectory, step: int) -> Observation:
    """What a policy saw before step `step`: a vector, or with cameras a dict of state and images.

    The last observation is at `step = len(trajectory)`.
    """
    if trajectory.obs.keys() == {"state"}:
        return np.asarray(trajectory.obs["state"][step], np.float32)
    return {name: rows[step] for name, rows in trajectory.obs.items()}


def relabel(policy: BasePolicy, trajectory: Trajectory) -> Trajectory:
    """The same episode with `base` (T, a) and `next_base` (a,) as this policy would have acted.

    Raises:
        ShapeError: The episode's observations do not fit the policy.
        NonFiniteError: The policy planned NaN or infinity.
    """
    queue = ChunkQueue(policy)
    queue.reset()
    actions = [
        queue.next(observation_at(trajectory, step))[0] for step in range(len(trajectory) + 1)
    ]
    return replace(trajectory, base=np.stack(actions[:-1]), next_base=actions[-1])
