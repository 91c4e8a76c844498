"""Bimanual lift: two arms grasp a tray by its two handles and lift it level."""

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from robot_rl.control.franka import franka_arm
from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.geometry import matrix_from_quat
from robot_rl.types import F32, F64, ArmSpec, RobotState
from sim.arm import add_arm
from sim.scene import add_box, add_object, add_wrist_camera, empty_scene
from sim.tasks.table import TableTwin
from sim.tasks.tool import DOWN, grip, joints_at, pose, stack, tool, toward
from sim.twin import Start

__all__ = ["BimanualLiftTwin"]

_ARM_Y_M = 0.3
_HANDLE_Y_M = 0.22
_HANDLE_Z_M = 0.035  # of the handles' middle, in the frame of the tray
_TRAY_HALF_M = (0.06, 0.26, 0.01)
_TRAY = (0.30, 0.55, 0.60, 1.0)
_HANDLE = (0.85, 0.55, 0.20, 1.0)
_SIDES = ("left", "right")


def _arm_fields(side: str) -> tuple[StateField, ...]:
    """What the features say of one arm."""
    return (
        StateField(f"{side}_gap_m", 3, "m", "world", f"{side} handle minus {side} tool", 0.1),
        StateField(f"{side}_gap_fine", 3, "-", "world", f"tanh({side}_gap_m / 0.015)"),
        StateField(f"{side}_velocity_m_s", 3, "m/s", "world", f"velocity of the {side} tool", 0.2),
        StateField(f"{side}_opening_m", 1, "m", "-", f"opening of the {side} gripper", 0.02, 0.06),
    )


_FIELDS = (
    *(field for side in _SIDES for field in _arm_fields(side)),
    StateField("tray_m", 3, "m", "world", "middle of the tray", 0.05, (0.5, 0.0, 0.05)),
    StateField("tray_tilt", 3, "-", "world", "quaternion of the tray, x y z alone", 0.1),
)


def _arm_at(name: str, y_m: float) -> ArmSpec:
    T_world_base = np.eye(4)
    T_world_base[1, 3] = y_m
    return franka_arm(name, T_world_base=T_world_base)


@dataclass(frozen=True, kw_only=True)
class BimanualLiftTwin(TableTwin):
    """The task and what makes it hard.

    Attributes:
        handle_half_m: Half the width of a handle; the grippers open to 8 cm.
        start_range_m: Half range of each tool's start, along each axis.
        tray_range_m: Half range of the tray, along and across.
        yaw_range_rad: Half range of the tray's yaw.
        lift_m: How high it must be lifted.
        level_rad: How level it must be held.
    """

    tracked = ("tray",)

    name: str = "bimanual-lift"
    handle_half_m: float = 0.02
    start_range_m: float = 0.05
    tray_range_m: float = 0.04
    yaw_range_rad: float = 0.1
    lift_m: float = 0.08
    level_rad: float = 0.15
    load_n: float = 3.0
    horizon: int = 120

    @cached_property
    def task(self) -> Task:
        """See `Twin.task`."""
        return self.describe("Lift the tray with both arms.", _FIELDS, use_gripper=True)

    def arms(self) -> tuple[ArmSpec, ...]:
        """Two of them, side by side."""
        return (_arm_at("left", _ARM_Y_M), _arm_at("right", -_ARM_Y_M))

    def build(self) -> mujoco.MjSpec:
        """See `Twin.build`."""
        spec = empty_scene(self.name)
        hands = [add_arm(spec, arm, self.arm_look) for arm in self.robot.arms]
        add_wrist_camera(hands[0])
        tray = add_object(spec, "tray", (0.5, 0.0, _TRAY_HALF_M[2]))
        add_box(tray, (0, 0, 0), _TRAY_HALF_M, _TRAY, mass_kg=0.3)
        half = self.handle_half_m
        for side in (1, -1):
            handle = (0, side * _HANDLE_Y_M, _HANDLE_Z_M)
            add_box(tray, handle, (half, half, 0.025), _HANDLE, mass_kg=0.05)
        return spec

    def draw(self, rng: np.random.Generator) -> Start:
        """See `Twin.draw`."""
        tray = np.array([0.5, 0.0, _TRAY_HALF_M[2]])
        tray[:2] += rng.uniform(-1, 1, 2) * self.tray_range_m
        tips = np.array([[0.5, _HANDLE_Y_M, 0.18], [0.5, -_HANDLE_Y_M, 0.18]])
        tips += rng.uniform(-1, 1, (2, 3)) * self.start_range_m
        arms = zip(self.robot.arms, tips, strict=True)
        return Start(
            q_rad=np.concatenate([joints_at(arm, tip, DOWN) for arm, tip in arms]),
            gripper_m=np.full(2, 0.08),
            poses={"tray": pose(tray, rng.uniform(-1, 1) * self.yaw_range_rad)},
            **self.hidden(rng),
        )

    def features(self, state: RobotState) -> F32:
        """(..., 26): per arm handle from tool (coarse, fine), velocity, opening; the tray."""
        tray = state.poses["tray"]
        parts: list[F64] = []
        for i, (gap, velocity) in enumerate(self._gaps(state)):
            opening = (state.gripper_m[..., i : i + 1] - 0.06) / 0.02
            parts += [gap / 0.1, np.tanh(gap / 0.015), velocity / 0.2, opening]
        return stack(*parts, (tray[..., :3] - (0.5, 0.0, 0.05)) / 0.05, tray[..., 4:] / 0.1)

    def achieved(self, state: RobotState) -> bool:
        """The tray is up and level, both hands at their handles."""
        tray = state.poses["tray"]
        level = matrix_from_quat(tray[..., 3:])[..., 2, 2] > np.cos(self.level_rad)
        held = np.stack([np.linalg.norm(gap, axis=-1) for gap, _ in self._gaps(state)])
        return (tray[..., 2] > self.lift_m) & level & (held < 0.04).all(0)

    def expert(self, state: RobotState) -> F32:
        """Each arm to its handle and close; up together once both hold."""
        gaps = [gap for gap, _ in self._gaps(state)]
        around = [self._is_around(gap) for gap in gaps]
        closed = (state.gripper_m < 2 * self.handle_half_m + 0.003).all(-1)
        held = around[0] & around[1] & closed
        lift = self.lift_m + 0.03 - state.poses["tray"][..., 2]
        actions = []
        for gap, near in zip(gaps, around, strict=True):
            aside = np.linalg.norm(gap[..., :2], axis=-1)
            goal = gap.copy()
            goal[..., 2] += np.minimum(4.0 * np.maximum(aside - 0.006, 0.0), 0.06)
            goal[..., 2] = np.where(held, lift, goal[..., 2])
            actions.append(grip(toward(goal, self.step_m), near))
        return np.concatenate(actions, -1)

    def _is_around(self, gap: F64) -> np.ndarray:
        """Whether the fingers stand around the handle."""
        return (np.linalg.norm(gap[..., :2], axis=-1) < 0.014) & (np.abs(gap[..., 2]) < 0.012)

    def _gaps(self, state: RobotState) -> list[tuple[F64, F64]]:
        """Per arm: (..., 3) [m] from the tool to its handle, and the tool's velocity [m/s]."""
        tray = state.poses["tray"]
        rotation = matrix_from_quat(tray[..., 3:])
        out = []
        for i, (arm, side) in enumerate(zip(self.robot.arms, (1.0, -1.0), strict=True)):
            handle = rotation @ np.array([0.0, side * _HANDLE_Y_M, _HANDLE_Z_M])
            hand = tool(arm, state, 7 * i)
            out.append((tray[..., :3] + handle - hand.position, hand.velocity))
        return out
