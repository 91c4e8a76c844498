"""What the arm was really told, at the instants of the observations; and when a goal has held.

learning:  **executed command → transition** → episode store → progress model → replay → ...

The arm bridge publishes its commands in its own rhythm. Sampling the newest one at each step would
alternate between actions of nothing and of twice the motion; so commands are interpolated.
"""

import bisect
from collections import deque
from typing import NamedTuple

from robot_rl.env.task import Task
from robot_rl.types import F64, Command, RobotState

__all__ = ["Executed", "ExecutedLog", "GoalHold"]

_KEPT_S = 10.0


class Executed(NamedTuple):
    """The command in force at one instant, and who was behind it."""

    command: Command
    source: str


class ExecutedLog:
    """The last seconds of executed commands, by their stamps; later ones may come any time."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, F64, F64, str]] = deque()
        self._begin_s = float("-inf")

    @property
    def newest_s(self) -> float:
        """Stamp of the newest; minus infinity before the first."""
        return self._entries[-1][0] if self._entries else float("-inf")

    def restart(self, now_s: float) -> None:
        """Forget all before now: the arm was put elsewhere, and nothing leads there."""
        self._entries.clear()
        self._begin_s = now_s

    def add(self, stamp_s: float, q_rad: F64, gripper_m: F64, source: str) -> None:
        """Take one command; a stamp that does not move on is left out."""
        if stamp_s <= max(self.newest_s, self._begin_s):
            return
        self._entries.append((stamp_s, q_rad, gripper_m, source))
        while self._entries[0][0] < stamp_s - _KEPT_S:
            self._entries.popleft()

    def at(self, time_s: float) -> Executed | None:
        """The command at an instant, or None as long as nothing later is known.

        Before the first stamp it is the first command. Grippers and sources do not interpolate:
        those of the later command hold.
        """
        if time_s > self.newest_s:
            return None
        k = bisect.bisect_left(self._entries, time_s, key=lambda entry: entry[0])
        later_s, q_rad, gripper_m, source = self._entries[k]
        if k > 0:
            earlier_s, q_before, _, _ = self._entries[k - 1]
            share = (time_s - earlier_s) / (later_s - earlier_s)
            q_rad = q_before + share * (q_rad - q_before)
        return Executed(Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=time_s), source)


class GoalHold:
    """Whether a task's goal has held for long enough without a break, as `RobotEnv` judges it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._since_s: float | None = None

    def reset(self) -> None:
        """Begin an episode."""
        self._since_s = None

    def judge(self, state: RobotState) -> bool:
        """Look at the next state."""
        if not self._task.achieved(state):
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = state.stamp_s
        return state.stamp_s - self._since_s >= self._task.hold_s - 1e-6
