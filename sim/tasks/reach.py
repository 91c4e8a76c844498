"""Reach: bring the tool to a pose within 1 cm and 0.1 rad; the smoke test."""

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.geometry import (
    matrix_from_quat,
    matrix_from_rotvec,
    quat_from_matrix,
    rotvec_from_matrix,
)
from robot_rl.types import F32, F64, RobotState
from sim.arm import add_arm
from sim.scene import add_box, add_fixture, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, stack, tool, toward
from sim.twin import Start

__all__ = ["ReachTwin"]

_GREEN = (0.25, 0.65, 0.30, 1.0)
_FIELDS = (
    StateField("gap_m", 3, "m", "world", "marker minus tool centre point", 0.1),
    StateField("turn_rad", 3, "rad", "world", "rotation vector from the tool to the marker", 0.2),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.2),
    StateField("tool_position_m", 3, "m", "world", "where the tool is", 0.1, (0.45, 0.0, 0.3)),
)


@dataclass(frozen=True, kw_only=True)
class ReachTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        range_m: Half range of the goal's position, along each axis.
        range_rad: Half range of the goal's turn, about each axis.
        near_m, near_rad: How near the tool must come.
    """

    tracked = ("goal",)

    name: str = "reach"
    range_m: float = 0.12
    range_rad: float = 0.3
    near_m: float = 0.01
    near_rad: float = 0.1
    friction_spread: float = 0.0
    horizon: int = 60

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Bring the gripper to the marker.", _FIELDS, use_rotation=True)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name, look_at=(0.45, 0.0, 0.3))
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        goal = add_fixture(spec, "goal", (0.45, 0.0, 0.3))
        add_box(goal, (0, 0, 0), (0.012, 0.03, 0.003), _GREEN, solid=False)
        add_box(goal, (0, 0, -0.02), (0.003, 0.003, 0.02), _GREEN, solid=False)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        middle = np.array([0.45, 0.0, 0.3])
        position = middle + rng.uniform(-1, 1, 3) * self.range_m
        rotation = matrix_from_rotvec(rng.uniform(-1, 1, 3) * self.range_rad) @ DOWN
        return Start(
            q_rad=joints_at(self.robot.arms[0], middle + rng.uniform(-1, 1, 3) * 0.05, DOWN),
            gripper_m=np.zeros(1),
            poses={"goal": np.concatenate((position, quat_from_matrix(rotation)))},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 12): goal from tool (position, rotation vector), tool velocity, tool place."""
        hand = tool(self.robot.arms[0], state)
        gap, turn = self._gap(state)
        place = (hand.position - (0.45, 0.0, 0.3)) / 0.1
        return stack(gap / 0.1, turn / 0.2, hand.velocity / 0.2, place)

    def achieved(self, state: RobotState) -> bool:
        """Position and rotation are near."""
        gap, turn = self._gap(state)
        is_near = np.linalg.norm(gap, axis=-1) < self.near_m
        return is_near & (np.linalg.norm(turn, axis=-1) < self.near_rad)

    def expert(self, state: RobotState) -> F32:
        """Straight there, turning on the way."""
        gap, turn = self._gap(state)
        # At 0.3 m/s the arm needs room to brake, so it aims from where it will be in 0.12 s.
        ahead = gap - 0.12 * tool(self.robot.arms[0], state).velocity
        move = toward(ahead, self.task.translation_step_m, gain=0.25)
        turn = toward(turn, self.task.rotation_step_rad, gain=0.2)
        return np.concatenate((move, turn), -1).astype(np.float32)

    def _gap(self, state: RobotState) -> tuple[F64, F64]:
        """From tool to goal: (..., 3) [m] and rotation vector (..., 3) [rad] in world."""
        hand, goal = tool(self.robot.arms[0], state), state.poses["goal"]
        turn = matrix_from_quat(goal[..., 3:]) @ hand.rotation.swapaxes(-1, -2)
        return goal[..., :3] - hand.position, rotvec_from_matrix(turn)
