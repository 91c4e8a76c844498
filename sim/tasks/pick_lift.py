"""Pick and lift: grasp a cube that nearly fills the open gripper, and lift it 10 cm."""

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.types import F32, RobotState
from sim.arm import add_arm
from sim.scene import add_box, add_object, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, grip, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["PickLiftTwin"]

_RED = (0.80, 0.22, 0.18, 1.0)
_FIELDS = (
    StateField("gap_m", 3, "m", "world", "middle of the cube minus tool centre point", 0.1),
    StateField("gap_fine", 3, "-", "world", "tanh(gap_m / 0.015): the same, magnified near 0"),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.2),
    StateField("opening_m", 1, "m", "-", "opening of the gripper", 0.02, 0.06),
    StateField("tool_height_m", 1, "m", "world", "height of the tool", 0.1, 0.1),
    StateField("cube_height_m", 1, "m", "world", "height of the cube's middle", 0.1, 0.05),
    StateField("cube_turn", 1, "-", "world", "sine of the cube's yaw"),
    StateField("cube_x_m", 1, "m", "world", "where the cube is, along x", 0.1, 0.5),
)


@dataclass(frozen=True, kw_only=True)
class PickLiftTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        cube_half_m: Half the edge; the gripper opens to 8 cm.
        start_range_m: Half range of the tool's start, along and across.
        cube_range_m: Half range of the cube, along and across.
        yaw_range_rad: Half range of the cube's yaw.
        lift_m: How high it must be lifted.
    """

    tracked = ("cube",)

    name: str = "pick-lift"
    cube_half_m: float = 0.033
    start_range_m: float = 0.08
    cube_range_m: float = 0.08
    yaw_range_rad: float = 0.15
    lift_m: float = 0.10

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Pick up the cube and lift it.", _FIELDS, use_gripper=True)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name)
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        half = self.cube_half_m
        cube = add_object(spec, "cube", (0.5, 0.0, half))
        add_box(cube, (0, 0, 0), (half, half, half), _RED, mass_kg=0.1)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        cube = np.array([0.5, 0.0, self.cube_half_m])
        cube[:2] += rng.uniform(-1, 1, 2) * self.cube_range_m
        tip = np.array([0.5, 0.0, rng.uniform(0.16, 0.22)])
        tip[:2] += rng.uniform(-1, 1, 2) * self.start_range_m
        arm = self.robot.arms[0]
        return Start(
            q_rad=joints_at(arm, tip, DOWN),
            gripper_m=np.array([0.08]),
            poses={"cube": pose(cube, rng.uniform(-1, 1) * self.yaw_range_rad)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 14): cube from tool (coarse, fine), tool velocity, opening, heights, cube turn."""
        hand = tool(self.robot.arms[0], state)
        cube = state.poses["cube"]
        gap = cube[..., :3] - hand.position
        return stack(
            gap / 0.1,
            np.tanh(gap / 0.015),
            hand.velocity / 0.2,
            (state.gripper_m - 0.06) / 0.02,
            hand.position[..., 2:] / 0.1 - 1.0,
            cube[..., 2:3] / 0.1 - 0.5,
            2.0 * cube[..., 3:4] * cube[..., 6:7],
            (cube[..., :1] - 0.5) / 0.1,
        )

    def achieved(self, state: RobotState) -> bool:
        """The cube hangs in the gripper, lifted."""
        hand = tool(self.robot.arms[0], state)
        cube = state.poses["cube"][..., :3]
        near = np.linalg.norm(cube - hand.position, axis=-1) < 0.04
        return near & (cube[..., 2] > self.cube_half_m + self.lift_m)

    def expert(self, state: RobotState) -> F32:
        """Along a cone to above the cube, down around it, close, and up once it is held."""
        hand = tool(self.robot.arms[0], state)
        gap = state.poses["cube"][..., :3] - hand.position
        aside = np.linalg.norm(gap[..., :2], axis=-1)
        goal = gap.copy()
        goal[..., 2] += np.minimum(4.0 * np.maximum(aside - 0.005, 0.0), 2.5 * self.cube_half_m)
        around = (aside < 0.012) & (np.abs(gap[..., 2]) < 0.012)
        held = around & (state.gripper_m[..., 0] < 2 * self.cube_half_m + 0.003)
        lift = self.cube_half_m + self.lift_m + 0.03 - state.poses["cube"][..., 2]
        goal[..., 2] = np.where(held, lift, goal[..., 2])
        return grip(toward(goal, self.step_m), around)
