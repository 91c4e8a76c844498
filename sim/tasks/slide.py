"""Slide: shoot a puck over the table so that friction stops it on the goal.

One shot, no second touch: what decides is how well the friction of the puck is known. With its
nominal friction the expert knows it; a twin of another friction punishes whoever believes that.
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
from sim.scene import add_cylinder, add_fixture, add_object, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, pose, stack, tool
from sim.twin import Start

__all__ = ["SlideTwin"]

_RED = (0.78, 0.22, 0.20, 1.0)
_GREEN = (0.25, 0.65, 0.30, 1.0)
_HALF_HEIGHT_M = 0.02
_FINGER_M = 0.022  # from the tool's axis to the outside of the closed fingers, along y
_HEIGHT_M = 0.018
_GRAVITY_M_S2 = 9.81
_LAG_S = 0.09  # the arm is so far behind its command when it lets go

_FIELDS = (
    StateField("puck_gap_m", 3, "m", "world", "middle of the puck minus tool centre point", 0.1),
    StateField("way_m", 2, "m", "world", "goal minus puck, in the plane", 0.2),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.5),
    StateField("puck_xy_m", 2, "m", "world", "where the puck is", 0.25, (0.55, 0.0)),
    StateField("tool_height_m", 1, "m", "world", "height of the tool", 0.05, 0.05),
)


@dataclass(frozen=True, kw_only=True)
class SlideTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        puck_radius_m: Its radius.
        puck_mass_kg: Its mass.
        friction: Sliding friction of the puck on the table: what a shot must know.
        run_m: Way over which the tool pushes before it lets go.
        distance_m: Least and greatest way from there to the goal.
        goal_radius_m: How near to the goal the puck must stop.
    """

    tracked = ("puck", "goal")

    name: str = "slide"
    puck_radius_m: float = 0.035
    puck_mass_kg: float = 0.2
    friction: float = 0.15
    run_m: float = 0.16
    distance_m: tuple[float, float] = (0.1, 0.18)
    goal_radius_m: float = 0.03
    gain_spread: float = 0.05
    friction_spread: float = 0.03
    load_n: float = 2.0
    step_m: float = 0.05
    horizon: int = 50

    def __post_init__(self) -> None:
        """Refuse a puck that would never stop."""
        if self.friction <= 0:
            raise ConfigError(f"friction is {self.friction}, but must be > 0.")

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Shoot the puck onto the goal.", _FIELDS)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name, look_at=(0.55, 0.0, 0.05))
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        puck = add_object(spec, "puck", (0.55, -0.25, _HALF_HEIGHT_M))
        geom = add_cylinder(
            puck,
            self.puck_radius_m,
            _HALF_HEIGHT_M,
            _RED,
            mass_kg=self.puck_mass_kg,
            friction=self.friction,
            priority=1,
        )
        geom.name = "puck"
        goal = add_fixture(spec, "goal", (0.55, 0.1, 0.001))
        add_cylinder(goal, self.goal_radius_m, 0.001, _GREEN, solid=False)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        puck = np.array([0.55, -0.25, _HALF_HEIGHT_M])
        puck[:2] += rng.uniform(-1, 1, 2) * 0.01
        ahead = self.run_m + rng.uniform(*self.distance_m)
        goal = puck + np.array([0.0, ahead, 0.001 - _HALF_HEIGHT_M])
        behind = self.puck_radius_m + _FINGER_M + 0.01
        tip = puck - np.array([0.0, behind, _HALF_HEIGHT_M - _HEIGHT_M])
        return Start(
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            gripper_m=np.zeros(1),
            poses={"puck": pose(puck), "goal": pose(goal)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 11): puck from tool, goal from puck, tool velocity, where the puck lies."""
        hand = tool(self.robot.arms[0], state)
        puck, goal = state.poses["puck"][..., :3], state.poses["goal"][..., :3]
        return stack(
            (puck - hand.position) / 0.1,
            (goal - puck)[..., :2] / 0.2,
            hand.velocity / 0.5,
            (puck[..., :2] - (0.55, 0.0)) / 0.25,
            hand.position[..., 2:] / 0.05 - 1.0,
        )

    def achieved(self, state: RobotState) -> bool:
        """The puck lies on the goal; it has stopped if this holds for as long as it must."""
        return cast("bool", self.miss(state) < 1.0)

    def miss(self, state: RobotState) -> F64:
        """(...,): how far the puck is from the goal, in what is allowed."""
        way = state.poses["goal"][..., :2] - state.poses["puck"][..., :2]
        return np.linalg.norm(way, axis=-1) / self.goal_radius_m

    def expert(self, state: RobotState) -> F32:
        """Shoot as the nominal friction asks for."""
        return self.shoot(state, self.friction)

    def shoot(self, state: RobotState, friction: float | F64) -> F32:
        """Push at the speed from which friction will stop the puck on the goal, and let go.

        Args:
            state: Of one robot or (n,) of them.
            friction: What the shot believes; a number or (n,).
        """
        hand = tool(self.robot.arms[0], state)
        puck, goal = state.poses["puck"][..., :2], state.poses["goal"][..., :2]
        pace = np.maximum(hand.velocity[..., 1], 0.0)
        left = np.maximum(goal[..., 1] - puck[..., 1] - _LAG_S * pace, 0.0)
        speed = np.sqrt(2 * friction * _GRAVITY_M_S2 * left)
        touches = puck[..., 1] - hand.position[..., 1] < self.puck_radius_m + _FINGER_M + 0.02
        pushing = touches & (left > self.distance_m[0])
        action = np.zeros((*left.shape, 3))
        action[..., 0] = 0.3 * (puck[..., 0] - hand.position[..., 0]) / self.step_m
        action[..., 1] = np.minimum(speed, pace + 0.2) / (self.step_m * self.task.control_hz)
        action[..., 2] = 0.3 * (_HEIGHT_M - hand.position[..., 2]) / self.step_m
        return np.clip(np.where(pushing[..., None], action, 0.0), -1.0, 1.0).astype(np.float32)
