"""Push, undone: the puck goes from the goal back to where the push task starts, as does the tool.

What undoes a task lets a robot practise it without a person (`learn/reset_free.py`): where this
ends is where the other begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from robot_rl.env.task import Task
from robot_rl.types import F32, F64, RobotState
from sim.tasks.push import PushTwin
from sim.tasks.tool import DOWN, joints_at, pose, tool, toward
from sim.twin import Start

__all__ = ["PushBackTwin"]

_PUCK_HOME = np.array([0.45, 0.0, 0.001])
_TOOL_HOME = np.array([0.38, 0.0, 0.10])
_TOOL_BOX_M = np.array([0.06, 0.06, 0.035])  # half the box of the push task's starts, and more
_CLEAR_M = 0.07  # of the puck, by the fingers


@dataclass(frozen=True, kw_only=True)
class PushBackTwin(PushTwin):
    """`PushTwin` from its end to its start.

    Attributes:
        home_radius_m: How near the puck must lie to the middle of its starts.
    """

    name: str = "push-back"
    home_radius_m: float = 0.035

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        task = PushTwin(name=self.name, step_m=self.step_m, horizon=self.horizon).task
        return replace(
            task,
            instruction="Push the puck back to the start, and take the hand back.",
            features=self.features,
            achieved=self.achieved,
        )

    def draw(self, rng: np.random.Generator) -> Start:
        """A start of the push task, with the puck on its goal and the tool behind it."""
        start = super().draw(rng)
        goal, puck = start.poses["goal"][:3], start.poses["puck"][:3]
        ahead = (goal - puck)[:2] / np.linalg.norm((goal - puck)[:2])
        there = np.array([*goal[:2], puck[2]])
        tip = np.array([*(goal[:2] - ahead * (self.puck_radius_m + 0.025)), 0.03])
        tip[:2] += rng.uniform(-1, 1, 2) * 0.005
        return replace(
            start,
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            poses={"puck": pose(there), "goal": start.poses["goal"]},
        )

    def features(self, state: RobotState) -> F32:
        """Those of the push task, with the puck's start for a goal."""
        return super().features(_turned(state))

    def achieved(self, state: RobotState) -> bool:
        """The puck lies where pushing it starts, and the tool is there, too."""
        away = np.abs(tool(self.robot.arms[0], state).position - _TOOL_HOME)
        return cast("bool", (away < _TOOL_BOX_M).all(-1) & self._is_back(state))

    def expert(self, state: RobotState) -> F32:
        """Push it to the start, rise, and go home over it."""
        position, _, velocity = tool(self.robot.arms[0], state)
        home = _TOOL_HOME - position
        is_clear = position[..., 2:] > _CLEAR_M
        home[..., :2] *= np.where(is_clear, 1.0, 0.0)
        home[..., 2] -= 0.08 * velocity[..., 2]
        back = toward(home, self.step_m).astype(np.float32)
        is_done = self._is_back(state, 0.6)
        return np.where(is_done[..., None], back, super().expert(_turned(state)))

    def _is_back(self, state: RobotState, share: float = 1.0) -> np.ndarray:
        way = state.poses["puck"][..., :2] - _PUCK_HOME[:2]
        return np.asarray(np.linalg.norm(way, axis=-1) < share * self.home_radius_m)


def _turned(state: RobotState) -> RobotState:
    """The state with the goal where the puck starts."""
    goal: F64 = np.array(state.poses["goal"])
    goal[..., :3] = _PUCK_HOME
    poses: Mapping[str, F64] = {**state.poses, "goal": goal}
    return replace(state, poses=poses)
