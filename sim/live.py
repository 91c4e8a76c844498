"""A twin that runs on its own, as a robot does: commands come when they come, and time goes on.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

One thread calls `tick` every 10 ms; commands and resets may come from any other. As in `SimPort`,
an episode begins exactly at its start: the scene stands until a command asks for motion.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import mujoco
import numpy as np

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.types import F64, RobotState
from sim.bridge import BRIDGE_PERIOD_S
from sim.drive import Drive
from sim.simulation import Simulation
from sim.twin import Twin

__all__ = ["Episode", "LiveTwin", "Pacer", "Pose"]


class Episode(NamedTuple):
    """Which start the scene was put at last, and how many there have been."""

    seed: int
    count: int


class Pose(NamedTuple):
    """All that a picture of the scene needs, at one instant."""

    tick: int
    qpos: F64
    mocap_pos: F64
    mocap_quat: F64

    def write(self, data: mujoco.MjData) -> None:
        """Put the scene of another thread here."""
        data.qpos[:], data.mocap_pos[:] = self.qpos, self.mocap_pos
        data.mocap_quat[:] = self.mocap_quat


class LiveTwin:
    """One task in the twin, moved by a stream of commands.

    Args:
        twin: The task.
        delay_s: How long a command travels to the drives.
        command_timeout_s: Silence after which the drives brake and hold.
        seed: Of the first scene.
        now_s: The monotonic clock.

    Raises:
        ConfigError: A time is out of its range.
    """

    def __init__(
        self,
        twin: Twin,
        *,
        delay_s: float = 0.0,
        command_timeout_s: float,
        seed: int = 0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not delay_s >= 0:
            raise ConfigError(f"delay_s is {delay_s}, but must be >= 0.")
        self.robot, self._delay_s, self._now_s = twin.robot, delay_s, now_s
        self.drive = Drive(twin.robot.arms, timeout_s=command_timeout_s)
        self._simulation = Simulation(twin)
        self._joints: deque[tuple[float, F64]] = deque()  # when to act on it, and on what
        self._widths: deque[tuple[float, F64]] = deque()
        self._seeds: deque[int] = deque()
        self._tick = 0
        self.ignored = 0
        """Commands that came before one near enough to the arm's start."""
        self._begin(seed, count=0)

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled scene."""
        return self._simulation.model

    def reset(self, seed: int) -> None:
        """Put the scene at another start, at the next tick."""
        self._seeds.append(seed)

    def command(self, q_rad: F64) -> None:
        """Take a joint command (dof,) [rad].

        Raises:
            ShapeError: It is of another robot.
            NonFiniteError: It holds NaN or infinity.
        """
        _check("joint command", q_rad, self.robot.dof)
        self._joints.append((self._now_s() + self._delay_s, q_rad))

    def grip(self, gripper_m: F64) -> None:
        """Take the openings (num_grippers,) [m].

        Raises:
            ShapeError: They are of another robot.
            NonFiniteError: One is NaN or infinite.
        """
        _check("gripper command", gripper_m, self.robot.num_grippers)
        self._widths.append((self._now_s() + self._delay_s, gripper_m))

    def tick(self) -> RobotState:
        """Do what is due, move the drives and the scene by 10 ms, and read; stamped now."""
        while self._seeds:
            self._begin(self._seeds.popleft(), count=self.episode.count + 1)
        now_s = self._now_s()
        q_rad, gripper_m = _newest(self._joints, now_s), _newest(self._widths, now_s)
        if q_rad is not None:
            self.ignored += not self.drive.aim(q_rad)
        if gripper_m is not None:
            self.drive.grip(gripper_m)
        setpoint = self.drive.step()
        if not self.drive.is_untouched:
            self._simulation.step(*setpoint)
        self._tick += 1
        return self._simulation.read(self._now_s())

    def pose(self) -> Pose:
        """The scene as it stands, a copy; to be called by the thread that ticks."""
        data = self._simulation.data
        return Pose(self._tick, data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy())

    def _begin(self, seed: int, count: int) -> None:
        start = self._simulation.draw(seed)
        self._simulation.place(start)
        self._joints.clear()
        self._widths.clear()
        self.drive.start(start.q_rad, start.gripper_m)
        self.episode = Episode(seed, count)


class Pacer:
    """Ticks on an absolute schedule; what was missed is not made up for, but counted.

    Args:
        period_s: From one tick to the next.
        max_behind_s: How far ticks may lag before the schedule gives way.
        now_s: The monotonic clock.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        period_s: float = BRIDGE_PERIOD_S,
        *,
        max_behind_s: float = 0.05,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period_s, self._max_behind_s = period_s, max_behind_s
        self._now_s, self._sleep = now_s, sleep
        self._next_s = now_s() + period_s
        self.slip_s = 0.0
        """By how much the schedule has given way since the beginning."""

    def wait(self) -> None:
        """Return at the next tick; at once if it is late."""
        behind_s = self._now_s() - self._next_s
        if behind_s > self._max_behind_s:
            self.slip_s += behind_s
            self._next_s += behind_s
        elif behind_s < 0:
            self._sleep(-behind_s)
        self._next_s += self._period_s


def _check(name: str, value: F64, length: int) -> None:
    if value.shape != (length,):
        raise ShapeError(name, value.shape, (length,))
    if not np.isfinite(value).all():
        raise NonFiniteError(name, value, "It is not acted on; stop what sent it.")


def _newest(queue: deque[tuple[float, F64]], now_s: float) -> F64 | None:
    """The last command that is due, and drop those before it."""
    newest = None
    while queue and queue[0][0] <= now_s:
        newest = queue.popleft()[1]
    return newest
