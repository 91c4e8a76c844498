"""Drawer: hook the closed fingers behind a handle and pull the drawer 15 cm open."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import mujoco
import numpy as np

from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.types import F32, F64, RobotState
from sim.arm import add_arm
from sim.scene import add_box, add_fixture, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["DrawerTwin"]

_OAK = (0.62, 0.46, 0.30, 1.0)
_PALE = (0.80, 0.70, 0.55, 1.0)
_STEEL = (0.55, 0.57, 0.60, 1.0)
_HANDLE_HEIGHT_M = 0.09
_BAR_HALF_M = 0.006
_TRAVEL_M = 0.22
_FIELDS = (
    StateField("gap_m", 3, "m", "world", "where fingers hook behind the handle minus tool", 0.1),
    StateField("gap_fine", 3, "-", "world", "tanh(gap_m / 0.015): the same, magnified near 0"),
    StateField("tool_velocity_m_s", 3, "m/s", "world", "velocity of the tool", 0.2),
    StateField("drawer_m", 1, "m", "-", "how far the drawer is open", 0.1, 0.075),
    StateField("cabinet_xy_m", 2, "m", "world", "where the cabinet is", 0.05, (0.58, 0.0)),
)


@dataclass(frozen=True, kw_only=True)
class DrawerTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        slot_m: Room for the fingers, 2 cm thick, between handle and drawer front.
        start_range_m: Half range of the tool's start, along and across.
        start_height_m: Least and greatest height of the tool's start.
        cabinet_range_m: Half range of the cabinet, along and across.
        open_m: How far it must be opened.
    """

    tracked = ("cabinet",)
    signals: ClassVar[Mapping[str, int]] = {"drawer": 1}

    name: str = "drawer"
    slot_m: float = 0.027
    start_range_m: float = 0.06
    start_height_m: tuple[float, float] = (0.18, 0.24)
    cabinet_range_m: float = 0.05
    open_m: float = 0.15
    horizon: int = 120

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Open the drawer.", _FIELDS)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name, look_at=(0.5, 0.0, 0.1))
        add_wrist_camera(add_arm(spec, self.robot.arms[0], self.arm_look))
        # The origin of the cabinet lies on the table below the handle of the closed drawer.
        cabinet = add_fixture(spec, "cabinet", (0.58, 0.0, 0.0))
        front = self.slot_m + _BAR_HALF_M
        add_box(cabinet, (front + 0.17, 0, 0.02), (0.13, 0.13, 0.02), _OAK)
        add_box(cabinet, (front + 0.18, 0, 0.16), (0.13, 0.13, 0.01), _OAK)
        for side in (-1, 1):
            add_box(cabinet, (front + 0.17, 0.12 * side, 0.095), (0.13, 0.01, 0.055), _OAK)
        drawer = cabinet.add_body(name="drawer", gravcomp=1)
        slide = drawer.add_joint(
            name="drawer", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[-1, 0, 0], range=[0, _TRAVEL_M]
        )
        slide.damping[0], slide.frictionloss, slide.armature = 8.0, 2.0, 0.2
        z = _HANDLE_HEIGHT_M
        add_box(drawer, (front + 0.005, 0, z), (0.005, 0.10, 0.045), _PALE, mass_kg=0.6)
        add_box(drawer, (front + 0.12, 0, z - 0.035), (0.11, 0.10, 0.005), _PALE, mass_kg=0.4)
        add_box(drawer, (0, 0, z), (_BAR_HALF_M, 0.05, _BAR_HALF_M), _STEEL, mass_kg=0.1)
        for side in (-1, 1):
            stem = (front / 2, 0.05 * side, z)
            add_box(drawer, stem, (front / 2, 0.005, 0.005), _STEEL, mass_kg=0.05)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        cabinet = np.array([0.58, 0.0, 0.0])
        cabinet[:2] += rng.uniform(-1, 1, 2) * self.cabinet_range_m
        tip = np.array([0.5, 0.0, rng.uniform(*self.start_height_m)])
        tip[:2] += rng.uniform(-1, 1, 2) * self.start_range_m
        return Start(
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            gripper_m=np.zeros(1),
            poses={"cabinet": pose(cabinet)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 12): slot from tool (coarse, fine), tool velocity, opening, where all stands."""
        hand = tool(self.robot.arms[0], state)
        gap = self._gap(state)
        return stack(
            gap / 0.1,
            np.tanh(gap / 0.015),
            hand.velocity / 0.2,
            state.signals["drawer"] / 0.1 - 0.75,
            (state.poses["cabinet"][..., :2] - (0.58, 0.0)) / 0.05,
        )

    def achieved(self, state: RobotState) -> bool:
        """The drawer is open."""
        return cast("bool", state.signals["drawer"][..., 0] > self.open_m)

    def expert(self, state: RobotState) -> F32:
        """Along a cone over the slot, down into it, and pull while the fingers are in."""
        gap = self._gap(state)
        inside = np.maximum(np.abs(gap[..., 0]) - self.slot_m / 2, np.abs(gap[..., 1]) - 0.03)
        aside = np.maximum(inside, np.abs(gap[..., 0]) - 0.002)
        goal = gap.copy()
        goal[..., 2] += np.clip(4.0 * aside, 0.0, 0.055)
        hooked = (gap[..., 2] > -0.014) & (inside < 0.0)
        left = state.signals["drawer"][..., 0] - (self.open_m + 0.03)
        goal[..., 0] = np.where(hooked, left, goal[..., 0])
        return toward(goal, self.step_m).astype(np.float32)

    def _gap(self, state: RobotState) -> F64:
        """(..., 3) [m] from the tool to where its fingers hook: in the slot, below the bar."""
        hook = np.array([_BAR_HALF_M + self.slot_m / 2, 0.0, _HANDLE_HEIGHT_M - 0.015])
        hook = state.poses["cabinet"][..., :3] + hook
        hook[..., 0] -= state.signals["drawer"][..., 0]
        return hook - tool(self.robot.arms[0], state).position
