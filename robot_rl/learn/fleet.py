"""Many episodes side by side: what a batched twin is stepped by.

command:   observe → **drivers: one a scene** → batched twin (decode → safety → send)
learning:  **transition → episodes** → replay → residual agent → weights

Physics is what costs, and it is stepped for all scenes at once; drivers are the very ones that act
in a single environment, one for each scene, so that there is no second way to act.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from robot_rl.learn.rollout import Driver, Rows
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.queue import ChunkQueue
from robot_rl.replay.trajectory import CONTROL_SOURCES, Trajectory
from robot_rl.types import F32

__all__ = ["Scenes", "Turn", "run_fleet"]


class Scenes(Protocol):
    """Episodes side by side without autoreset, such as `sim.batch.BatchedTwin`."""

    num_envs: int

    def reset(
        self, seeds: Sequence[int], ids: Sequence[int] | None = None
    ) -> tuple[F32, dict[str, Any]]:
        """Begin one episode a seed; observations (num_envs, d) of all scenes."""
        ...

    def step(self, actions: F32) -> tuple[F32, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every active episode with actions (num_envs, a)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """One episode to be run: by whom, from where, and what is noted of it."""

    driver: Driver
    seed: int
    attrs: Mapping[str, Any] = field(default_factory=dict)


def run_fleet(scenes: Scenes, turns: Sequence[Turn], base: BasePolicy) -> list[Trajectory]:
    """Run one episode a turn to its end, as many at a time as there are scenes.

    Args:
        scenes: Where to act, in the state form.
        turns: The episodes; each with a driver of its own.
        base: Its action is kept at every step, whoever acts, as in `run_episode`.

    Returns:
        The episodes, in the order of the turns.
    """
    count = scenes.num_envs
    groups = [turns[k : k + count] for k in range(0, len(turns), count)]
    return [episode for group in groups for episode in _run_group(scenes, group, base)]


def _run_group(scenes: Scenes, turns: Sequence[Turn], base: BasePolicy) -> list[Trajectory]:
    """At most as many episodes as there are scenes."""
    source = CONTROL_SOURCES.index("policy")
    queues = [ChunkQueue(base) for _ in turns]
    rows = [Rows({"seed": turn.seed, **turn.attrs}, source, None) for turn in turns]
    obs, _ = scenes.reset([turn.seed for turn in turns])
    for i, turn in enumerate(turns):
        queues[i].reset()
        turn.driver.reset()
        rows[i].observe(obs[i], {})
    done: dict[int, Trajectory] = {}
    while len(done) < len(turns):
        running = [i for i in range(len(turns)) if i not in done]
        bases = {i: queues[i].next(obs[i]) for i in running}
        actions = np.zeros((scenes.num_envs, len(bases[running[0]][0])), np.float32)
        for i in running:
            actions[i] = turns[i].driver.act(obs[i], *bases[i])
        obs, reward, terminated, truncated, info = scenes.step(actions)
        for i in running:
            facts = {"executed_action": info["executed_action"][i]}
            rows[i].step(actions[i], facts, bases[i][0], float(reward[i]))
            rows[i].observe(obs[i], {})
            if terminated[i] or truncated[i]:
                done[i] = rows[i].ended(
                    terminated=bool(terminated[i]),
                    success=bool(info["is_success"][i]),
                    next_base=queues[i].next(obs[i])[0],
                )
    return [done[i] for i in range(len(turns))]
