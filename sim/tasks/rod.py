"""Rod: shove a rod straight ahead onto a goal, though its centre of mass is not in its middle.

Whoever pushes beside the centre of mass turns the rod. The expert knows the nominal one; a twin
with another punishes whoever believes that.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import mujoco
import numpy as np

from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError
from robot_rl.types import F32, F64, RobotState
from sim.arm import add_arm
from sim.scene import add_box, add_fixture, add_object, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["RodTwin", "yaw_of"]

_ORANGE = (0.90, 0.55, 0.15, 1.0)
_GREEN = (0.25, 0.65, 0.30, 1.0)
_HALF_M = np.array([0.015, 0.14, 0.02])  # the rod lies along its y
_FACE_M = 0.010  # from the tool's axis to the front of the closed fingers, along x
_HEIGHT_M = 0.018
_GAP_M = 0.02  # between fingers and rod at the start
_FIELDS = (
    StateField("rod_gap_m", 3, "m", "world", "middle of the rod minus tool centre point", 0.1),
    StateField("turn", 2, "-", "world", "sine and cosine of the rod's yaw"),
    StateField("way_m", 2, "m", "world", "goal minus rod, in the plane", 0.1),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.2),
    StateField("tool_height_m", 1, "m", "world", "height of the tool", 0.05, 0.05),
)


def yaw_of(pose_wxyz: F64) -> F64:
    """Turn about the vertical (...,) [rad] of poses (..., 7)."""
    w, x, y, z = (pose_wxyz[..., i] for i in (3, 4, 5, 6))
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


@dataclass(frozen=True, kw_only=True)
class RodTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        mass_kg: Of the rod.
        com_m: Where along the rod its centre of mass is, from the middle.
        friction: Sliding friction of the rod, on table and fingers.
        distance_m: Least and greatest way to the goal, straight ahead.
        goal_radius_m, goal_yaw_rad: How near to the goal the rod must lie.
    """

    tracked = ("rod", "goal")

    name: str = "rod"
    mass_kg: float = 0.4
    com_m: float = 0.0
    friction: float = 0.35
    distance_m: tuple[float, float] = (0.08, 0.14)
    goal_radius_m: float = 0.02
    goal_yaw_rad: float = 0.15
    gain_spread: float = 0.05
    friction_spread: float = 0.03
    load_n: float = 2.0
    horizon: int = 50

    def __post_init__(self) -> None:
        """Refuse a centre of mass outside the rod."""
        if abs(self.com_m) >= _HALF_M[1]:
            raise ConfigError(
                f"com_m is {self.com_m}, but must lie within the rod: under {_HALF_M[1]}."
            )

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Push the rod straight ahead onto the goal.", _FIELDS)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name)
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        rod = add_object(spec, "rod", (0.5, 0.0, _HALF_M[2]))
        box = add_box(rod, (0, 0, 0), _HALF_M.tolist(), _ORANGE, friction=self.friction)
        box.name, box.priority = "rod", 1
        wide, long, high = (2 * _HALF_M) ** 2
        rod.explicitinertial, rod.mass, rod.ipos = True, self.mass_kg, [0, self.com_m, 0]
        rod.inertia = self.mass_kg / 12 * np.array([long + high, wide + high, wide + long])
        goal = add_fixture(spec, "goal", (0.6, 0.0, 0.001))
        add_box(goal, (0, 0, 0), (_HALF_M[0], _HALF_M[1], 0.001), _GREEN, solid=False)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        rod = np.array([0.45, 0.0, _HALF_M[2]])
        rod[:2] += rng.uniform(-1, 1, 2) * 0.02
        goal = rod + np.array([rng.uniform(*self.distance_m), 0.0, 0.001 - _HALF_M[2]])
        behind = _HALF_M[0] + _FACE_M + _GAP_M
        tip = rod - np.array([behind, 0.0, _HALF_M[2] - _HEIGHT_M])
        return Start(
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            gripper_m=np.zeros(1),
            poses={"rod": pose(rod), "goal": pose(goal)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 11): rod from tool, its yaw, goal from rod, tool velocity, height of the tool."""
        hand = tool(self.robot.arms[0], state)
        rod, goal = state.poses["rod"], state.poses["goal"]
        yaw = yaw_of(rod)
        return stack(
            (rod[..., :3] - hand.position) / 0.1,
            np.stack((np.sin(yaw), np.cos(yaw)), -1),
            (goal - rod)[..., :2] / 0.1,
            hand.velocity / 0.2,
            hand.position[..., 2:] / 0.05 - 1.0,
        )

    def achieved(self, state: RobotState) -> bool:
        """The rod lies on the goal, and across."""
        return cast("bool", self.miss(state) < 1.0)

    def miss(self, state: RobotState) -> F64:
        """(...,): how far the rod is from the goal, in what is allowed of place or yaw."""
        rod, goal = state.poses["rod"], state.poses["goal"]
        way = np.linalg.norm((goal - rod)[..., :2], axis=-1)
        return np.maximum(way / self.goal_radius_m, np.abs(yaw_of(rod)) / self.goal_yaw_rad)

    def expert(self, state: RobotState) -> F32:
        """Push where the centre of mass nominally is."""
        return self.push(state, self.com_m, 0.012)

    def push(self, state: RobotState, contact_m: float | F64, stop_m: float | F64) -> F32:
        """Aside to a place on the rod, then straight ahead until short of the goal.

        Args:
            state: Of one robot or (n,) of them.
            contact_m: Where to push, along the rod from its middle; a number or (n,).
            stop_m: How far before the goal the tool begins to stop; likewise.
        """
        hand = tool(self.robot.arms[0], state)
        rod, goal = state.poses["rod"], state.poses["goal"]
        gap = np.zeros_like(hand.position)
        # Along the line on which the rod lay, so that a rod that turns does not lead the tool.
        gap[..., 1] = goal[..., 1] + contact_m - hand.position[..., 1]
        beside = np.abs(gap[..., 1]) > 0.004
        apart = rod[..., 0] - hand.position[..., 0] > _HALF_M[0] + _FACE_M + 0.5 * _GAP_M
        left = goal[..., 0] - _HALF_M[0] - _FACE_M - hand.position[..., 0] - stop_m
        gap[..., 0] = np.where(beside & apart, 0.0, np.maximum(left, 0.0))
        gap[..., 2] = _HEIGHT_M - hand.position[..., 2]
        return toward(gap, self.step_m).astype(np.float32)
