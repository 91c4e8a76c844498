"""Push: slide a puck over the table to a goal with the closed fingers."""

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.types import F32, RobotState
from sim.arm import add_arm
from sim.scene import add_cylinder, add_fixture, add_object, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["PushTwin"]

_BLUE = (0.18, 0.38, 0.75, 1.0)
_GREEN = (0.25, 0.65, 0.30, 1.0)
_PUCK_HALF_HEIGHT_M = 0.02
_FINGER_M = 0.022  # from the tool's axis to the outside of the closed fingers, across
_PUSH_HEIGHT_M = 0.028
_FIELDS = (
    StateField("puck_gap_m", 3, "m", "world", "middle of the puck minus tool centre point", 0.1),
    StateField("way_m", 2, "m", "world", "goal minus puck, in the plane", 0.1),
    StateField("way_fine", 2, "-", "world", "tanh(way_m / 0.02): the same, magnified near 0"),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.2),
    StateField("puck_xy_m", 2, "m", "world", "where the puck is", 0.1, (0.5, 0.0)),
    StateField("tool_height_m", 1, "m", "world", "height of the tool", 0.05, 0.05),
)


@dataclass(frozen=True, kw_only=True)
class PushTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        puck_radius_m: Its radius; round, so that only its place counts.
        distance_m: Least and greatest way from puck to goal.
        start_range_m: Half range of the tool's start, along and across.
        goal_radius_m: How near the puck must lie to the goal.
    """

    tracked = ("puck", "goal")

    name: str = "push"
    puck_radius_m: float = 0.035
    distance_m: tuple[float, float] = (0.08, 0.16)
    start_range_m: float = 0.05
    goal_radius_m: float = 0.02
    friction_spread: float = 0.4
    step_m: float = 0.012
    horizon: int = 150

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Push the puck onto the goal.", _FIELDS)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name)
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        puck = add_object(spec, "puck", (0.45, 0.0, _PUCK_HALF_HEIGHT_M))
        half = _PUCK_HALF_HEIGHT_M
        add_cylinder(puck, self.puck_radius_m, half, _BLUE, mass_kg=0.2, friction=0.3, priority=1)
        goal = add_fixture(spec, "goal", (0.6, 0.0, 0.001))
        add_cylinder(goal, self.goal_radius_m, 0.001, _GREEN, solid=False)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        puck = np.array([0.45, 0.0, _PUCK_HALF_HEIGHT_M])
        puck[:2] += rng.uniform(-1, 1, 2) * 0.04
        away, angle = rng.uniform(*self.distance_m), rng.uniform(-0.7, 0.7)
        goal = puck + away * np.array([np.cos(angle), np.sin(angle), 0.0])
        goal[2] = 0.001
        tip = np.array([0.38, 0.0, rng.uniform(0.08, 0.12)])
        tip[:2] += rng.uniform(-1, 1, 2) * self.start_range_m
        return Start(
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            gripper_m=np.zeros(1),
            poses={"puck": pose(puck), "goal": pose(goal)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 13): puck from tool, goal from puck (coarse, fine), velocity, where all stands."""
        hand = tool(self.robot.arms[0], state)
        puck, goal = state.poses["puck"][..., :3], state.poses["goal"][..., :3]
        way = (goal - puck)[..., :2]
        return stack(
            (puck - hand.position) / 0.1,
            way / 0.1,
            np.tanh(way / 0.02),
            hand.velocity / 0.2,
            (puck[..., :2] - (0.5, 0.0)) / 0.1,
            hand.position[..., 2:] / 0.05 - 1.0,
        )

    def achieved(self, state: RobotState) -> bool:
        """The puck lies on the goal."""
        way = state.poses["goal"][..., :2] - state.poses["puck"][..., :2]
        return np.linalg.norm(way, axis=-1) < self.goal_radius_m

    def expert(self, state: RobotState) -> F32:
        """Over to behind the puck, down, and along the line through puck and goal."""
        hand, _, velocity = tool(self.robot.arms[0], state)
        puck, goal = state.poses["puck"][..., :2], state.poses["goal"][..., :2]
        way = goal - puck
        left = np.linalg.norm(way, axis=-1, keepdims=True)
        ahead = way / np.maximum(left, 1e-6)
        reach = self.puck_radius_m + _FINGER_M
        offset = hand[..., :2] - puck
        along = (offset * ahead).sum(-1, keepdims=True)
        across = offset - along * ahead
        astray = np.linalg.norm(across, axis=-1)
        behind = (along[..., 0] < -0.6 * reach) & (astray < 0.6 * self.puck_radius_m)
        low = hand[..., 2] < 0.05
        pushing = behind & low
        start = puck - (reach + 0.008) * ahead
        # Pushing, the tool leads the puck by what is left, and steers back to the line.
        push = hand[..., :2] + np.minimum(left - 0.004, 0.03) * ahead - 1.2 * across
        goal_xy = np.where(pushing[..., None], push, start)
        wrong = np.linalg.norm(start - hand[..., :2], axis=-1)
        height = _PUSH_HEIGHT_M + np.clip(4.0 * (wrong - 0.01), 0.0, 0.06)
        height = np.where(pushing, _PUSH_HEIGHT_M, height)
        done = left[..., 0] < 0.5 * self.goal_radius_m
        goal_xy = np.where((done & low)[..., None], hand[..., :2], goal_xy)
        gap = np.concatenate((goal_xy - hand[..., :2], (height - hand[..., 2])[..., None]), -1)
        gap[..., 2] -= 0.08 * velocity[..., 2]  # brakes in time, above the table
        # It may not sweep sideways at the height of the puck: first up, then over.
        blocked = low & ~behind & ~done & (wrong > 0.015)
        gap[..., :2] *= np.where(blocked, 0.1, 1.0)[..., None]
        return toward(gap, self.step_m).astype(np.float32)
