"""Peg insertion: lower a square peg, held in the hand, into a hole 0.8 mm wider on each side.

The hand keeps its orientation; the arm is a little different in every episode (drive gain, a
constant load), so that chunks played open loop drift.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import mujoco
import numpy as np

from robot_rl.control.franka import franka_arm
from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError
from robot_rl.types import F32, F64, ArmSpec, RobotState
from sim.arm import add_arm, touch_scene
from sim.scene import add_box, add_fixture, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["PegTwin", "peg_long"]

_PEG_LENGTH_M = 0.06
_HAND_TO_PEG_M = 0.09
_HOLE_DEPTH_M = 0.03
_BLOCK_HALF_M = 0.04
_BLOCK_HEIGHT_M = _HOLE_DEPTH_M + 0.01
_WOOD = (0.72, 0.53, 0.32, 1.0)
_STEEL = (0.20, 0.42, 0.75, 1.0)
_FIELDS = (
    StateField(
        "gap_m", 3, "m", "world", "tip of the peg minus the hole's mouth; z < 0 is inside", 0.05
    ),
    StateField("gap_fine", 3, "-", "world", "tanh(gap_m / 0.004): the same, magnified near 0"),
    StateField("tip_velocity_m_s", 3, "m/s", "world", "velocity of the tip", 0.1),
    StateField("hole_xy_m", 2, "m", "world", "where the hole is", 0.05, (0.5, 0.0)),
    StateField("peg_tilt", 3, "-", "world", "direction of the peg minus straight down", 0.02),
)


def _peg_arm() -> ArmSpec:
    """A Panda whose tool centre point is the tip of the peg, and which has no gripper to move."""
    arm = franka_arm(workspace_lower_m=(0.25, -0.3, 0.0), workspace_upper_m=(0.75, 0.3, 0.5))
    T = arm.T_flange_tcp.copy()
    T[2, 3] = 0.107 + _HAND_TO_PEG_M + _PEG_LENGTH_M
    return replace(arm, T_flange_tcp=T, gripper=None)


@dataclass(frozen=True, kw_only=True)
class PegTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        clearance_m: Gap between peg and hole on each side.
        peg_half_m: Half the width of the peg.
        start_range_m: Half range of the tip's start, along and across, about the hole's middle.
        hole_range_m: Half range of the hole, along and across.
        approach: Speed of the expert, as a share of a full step, where walls are near.
    """

    tracked = ("hole",)

    name: str = "peg"
    clearance_m: float = 0.0008
    peg_half_m: float = 0.005
    start_range_m: float = 0.04
    hole_range_m: float = 0.03
    friction_spread: float = 0.0
    step_m: float = 0.005
    approach: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a hole that the peg does not fit."""
        if self.clearance_m <= 0:
            raise ConfigError(f"clearance_m is {self.clearance_m}, but must be > 0.")

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Insert the peg into the hole.", _FIELDS)

    def arms(self) -> tuple[ArmSpec, ...]:
        """A Panda that holds the peg."""
        return (_peg_arm(),)

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name)
        hand = add_arm(spec, self.robot.arms[0], self.arm_look)
        add_wrist_camera(hand)
        half = self.peg_half_m
        shaft = touch_scene(hand.add_geom(name="peg", type=mujoco.mjtGeom.mjGEOM_BOX))
        shaft.pos = [0, 0, _HAND_TO_PEG_M + _PEG_LENGTH_M / 2]
        shaft.size, shaft.rgba = [half, half, _PEG_LENGTH_M / 2], list(_STEEL)
        grip = touch_scene(hand.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE))
        grip.size = [0.015, 0, 0]
        grip.fromto, grip.rgba = [0, 0, 0.03, 0, 0, _HAND_TO_PEG_M], [0.2, 0.2, 0.22, 1]
        block = add_fixture(spec, "hole", (0.5, 0.0, _BLOCK_HEIGHT_M))
        _add_block(block, half + self.clearance_m)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        hole = np.array([0.5, 0.0, _BLOCK_HEIGHT_M])
        hole[:2] += rng.uniform(-1, 1, 2) * self.hole_range_m
        tip = np.array([0.5, 0.0, _BLOCK_HEIGHT_M + rng.uniform(0.05, 0.09)])
        tip[:2] += rng.uniform(-1, 1, 2) * self.start_range_m
        return Start(
            q_rad=joints_at(self.robot.arms[0], tip, DOWN),
            gripper_m=np.zeros(0),
            poses={"hole": pose(hole)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 14): tip from hole (coarse, fine), its velocity, where the hole is, peg's tilt."""
        tip = tool(self.robot.arms[0], state)
        hole = state.poses["hole"][..., :3]
        return stack(
            (tip.position - hole) / 0.05,
            np.tanh((tip.position - hole) / 0.004),
            tip.velocity / 0.1,
            (hole[..., :2] - (0.5, 0.0)) / 0.05,
            (tip.rotation[..., :, 2] - DOWN[:, 2]) / 0.02,
        )

    def achieved(self, state: RobotState) -> bool:
        """The tip is in the hole, deeper than 80 % of it."""
        gap = self._gap(state)
        inside = np.abs(gap[..., :2]).max(-1) < self.peg_half_m
        return inside & (gap[..., 2] > 0.8 * _HOLE_DEPTH_M)

    def miss(self, state: RobotState) -> F64:
        """(...,): below 1 in the hole, else how far from there the tip is, in centimetres."""
        gap = self._gap(state)
        gap[..., 2] = np.maximum(0.8 * _HOLE_DEPTH_M - gap[..., 2], 0.0)
        return np.where(self.achieved(state), 0.0, 1.0 + 100.0 * np.linalg.norm(gap, axis=-1))

    def expert(self, state: RobotState) -> F32:
        """Along a cone to the hole's axis, and down the more surely the nearer to the axis.

        Smooth in the state on purpose: switches between modes would be averaged by any policy
        that imitates it.
        """
        return self.insert(state, 0.35, self.approach)

    def insert(self, state: RobotState, gain: float | F64, approach: float | F64) -> F32:
        """As the expert, with another pace.

        Args:
            state: Of one robot or (n,) of them.
            gain: Share of the gap that a step closes; a number or (n,).
            approach: Speed where walls are near, as a share of a full step; likewise.
        """
        gap = self._gap(state)
        aside = np.abs(gap[..., :2]).max(-1)
        depth = gap[..., 2]
        certain = np.clip(1.4 - aside / self.clearance_m, 0.0, 1.0)
        certain = np.where(depth > 0.001, 1.0, certain)
        hover = depth + 0.004 + np.minimum(0.7 * aside, 0.03)
        goal = gap.copy()
        goal[..., 2] = certain * (depth - _HOLE_DEPTH_M) + (1.0 - certain) * hover
        action = toward(goal, self.step_m, gain)
        # Slowly where walls are near: the joints' different inertias bend fast motions.
        slow = approach + np.clip(-0.007 - depth, 0.0, 0.02) / 0.02
        action[..., 2] = np.minimum(np.maximum(action[..., 2], -slow), slow)
        return action.astype(np.float32)

    def _gap(self, state: RobotState) -> F64:
        """(..., 3) [m] from the tip to the middle of the hole's opening; z > 0 is depth."""
        tip = tool(self.robot.arms[0], state).position
        return state.poses["hole"][..., :3] - tip


def peg_long(**difficulty: Any) -> PegTwin:
    """The same in small steps: longer credit assignment."""
    return PegTwin(**{"name": "peg-long", "step_m": 0.003, "horizon": 150, **difficulty})


def _add_block(block: mujoco.MjsBody, hole_half: float) -> None:
    """Four walls around a square hole, and a floor."""
    height, outer = _HOLE_DEPTH_M / 2, _BLOCK_HALF_M
    wall = (outer - hole_half) / 2
    for sign in (-1.0, 1.0):
        offset = sign * (hole_half + wall)
        add_box(block, (offset, 0, -height), (wall, outer, height), _WOOD, friction=0.4)
        add_box(block, (0, offset, -height), (hole_half, wall, height), _WOOD, friction=0.4)
    floor = (_BLOCK_HEIGHT_M - _HOLE_DEPTH_M) / 2
    add_box(block, (0, 0, -_BLOCK_HEIGHT_M + floor), (outer, outer, floor), _WOOD)
