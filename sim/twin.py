"""What a task is in the twin: a scene to build, a start to draw from a seed, and an expert.

`SimPort` steps one of these, `BatchedTwin` many; both see the model through `Layout`, so that
start, read-out and hidden dynamics cannot differ between them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import mujoco
import numpy as np

from robot_rl.env.task import Task
from robot_rl.errors import PortError
from robot_rl.types import F32, F64, RobotSpec, RobotState
from sim.arm import body_name, tendon_name

__all__ = ["DEMO_SEEDS", "EVAL_SEEDS", "FORCE_TICKS", "Layout", "ModelFields", "Start", "Twin"]

EVAL_SEEDS = range(500_000, 500_100)
"""The frozen evaluation set: start states and hidden dynamics of 100 episodes."""
DEMO_SEEDS = range(700_000, 800_000)
"""Seeds of scripted demonstrations; never evaluated on."""
FORCE_TICKS = 10
"""Ticks of the bridge for which each force of `Start.forces_n` acts; the last acts on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What one seed draws: where everything stands, and the dynamics that no policy is told."""

    q_rad: F64  # (dof,)
    gripper_m: F64  # (num_grippers,)
    poses: Mapping[str, F64] = field(default_factory=dict)  # name -> (7,) position, w x y z
    joints: Mapping[str, float] = field(default_factory=dict)  # name -> position [m or rad]
    drive_gain: float = 1.0  # scales stiffness and damping of the joint drives
    friction_gain: float = 1.0  # scales the sliding friction of every contact
    load_n: F64 = field(default_factory=lambda: np.zeros(3))  # constant force on each hand
    values: F64 | None = None  # (p,) of the parameters of a `RandomizedTwin`; else nominal
    forces_n: Mapping[str, F64] = field(default_factory=dict)  # body -> (k, 3), 0.1 s each


class Twin(Protocol):
    """One task in the twin. The class attributes are cheap; only `build` touches MuJoCo."""

    @property
    def robot(self) -> RobotSpec:
        """The robot, with the names of tracked poses and signals."""
        ...

    @property
    def task(self) -> Task:
        """The task; its features and success also take states with leading dimensions."""
        ...

    def build(self) -> mujoco.MjSpec:
        """The scene with its arms."""
        ...

    def draw(self, rng: np.random.Generator) -> Start:
        """The start of an episode."""
        ...

    @property
    def expert(self) -> Callable[[RobotState], F32]:
        """Closed-loop action (..., a) in [-1, 1] for a state: a pure function, without memory."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelFields:
    """The model fields that hidden dynamics change, of one model or one row of a batch."""

    gain: F64  # actuator_gainprm
    bias: F64  # actuator_biasprm
    friction: F64  # geom_friction


class Layout:
    """Where joints, fingers, tracked bodies and signals of a `RobotSpec` lie in a model."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Look up every name of `robot`.

        Raises:
            PortError: The scene lacks a name that the spec promises.
        """
        try:
            self._find(model, robot)
        except KeyError as error:
            raise PortError(
                f"the scene of '{robot.name}' does not fit its spec: {error.args[0]} "
                "Give the body, joint or actuator this name in the scene."
            ) from error
        self._nominal = ModelFields(
            gain=model.actuator_gainprm.copy(),
            bias=model.actuator_biasprm.copy(),
            friction=model.geom_friction.copy(),
        )

    def _find(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        joints = [name for arm in robot.arms for name in arm.joint_names]
        grippers = [arm for arm in robot.arms if arm.gripper is not None]
        sides = ("left_slide", "right_slide")
        self.qpos = np.array([model.joint(name).qposadr[0] for name in joints])
        self.dof = np.array([model.joint(name).dofadr[0] for name in joints])
        self.ctrl = np.array([model.actuator(name).id for name in joints])
        self.finger = np.array(
            [[model.joint(body_name(arm, s)).qposadr[0] for s in sides] for arm in grippers], int
        ).reshape(len(grippers), 2)
        self.gripper_ctrl = np.array(
            [model.actuator(tendon_name(arm)).id for arm in grippers], int
        )
        self._bodies = {model.body(i).name: i for i in range(model.nbody)}
        self.hands = [model.body(body_name(arm, "hand")).id for arm in robot.arms]
        self.free: dict[str, slice] = {}
        self.mocap: dict[str, int] = {}
        for name in robot.tracked:
            mocap = int(model.body(name).mocapid[0])
            if mocap >= 0:
                self.mocap[name] = mocap
            else:
                start = int(model.joint(name).qposadr[0])
                self.free[name] = slice(start, start + 7)
        self.signals = {name: int(model.joint(name).qposadr[0]) for name in robot.signals}
        self._joint_qpos = {
            model.joint(j).name: int(model.joint(j).qposadr[0]) for j in range(model.njnt)
        }

    def write_start(
        self,
        start: Start,
        *,
        qpos: F64,
        ctrl: F64,
        mocap_pos: F64,
        mocap_quat: F64,
        xfrc_applied: F64,
    ) -> None:
        """Write a start into the state of one simulation that was reset before."""
        qpos[self.qpos], ctrl[self.ctrl] = start.q_rad, start.q_rad
        qpos[self.finger] = start.gripper_m[:, None] / 2
        ctrl[self.gripper_ctrl] = start.gripper_m
        for name, pose in start.poses.items():
            if name in self.mocap:
                mocap_pos[self.mocap[name]], mocap_quat[self.mocap[name]] = pose[:3], pose[3:]
            else:
                qpos[self.free[name]] = pose
        for name, value in start.joints.items():
            qpos[self._joint_qpos[name]] = value
        xfrc_applied[:] = 0
        xfrc_applied[self.hands, :3] = start.load_n

    def history(self, start: Start, model: mujoco.MjModel, data: mujoco.MjData) -> F64:
        """(nhistory,) of drives that delay commands: all along, they were told to hold the start.

        Without it, a delayed drive would begin by going to zero.
        """
        told = dict(zip(self.ctrl.tolist(), start.q_rad, strict=True))
        told |= dict(zip(self.gripper_ctrl.tolist(), start.gripper_m, strict=True))
        mujoco.mj_resetData(model, data)
        for row in np.flatnonzero(model.actuator_history[:, 0]):
            past = np.full((int(model.actuator_history[row, 0]), 1), told[int(row)])
            mujoco.mj_initCtrlHistory(model, data, int(row), None, past)
        return data.history.copy()

    def restore(self, fields: ModelFields) -> None:
        """Write what the scene was compiled with into the fields of one simulation, or of more."""
        nominal = self._nominal
        fields.gain[:], fields.bias[:] = nominal.gain, nominal.bias
        fields.friction[:] = nominal.friction

    def scale(self, start: Start, fields: ModelFields) -> None:
        """Scale the fields of one simulation by the hidden dynamics of an episode."""
        fields.gain[self.ctrl] *= start.drive_gain
        fields.bias[self.ctrl] *= start.drive_gain
        fields.friction[:, 0] *= start.friction_gain

    def push(self, start: Start, tick: int, xfrc_applied: F64) -> None:
        """Write the forces of an episode at a tick of the bridge, counted from its start."""
        for name, forces in start.forces_n.items():
            row = min(tick // FORCE_TICKS, len(forces) - 1)
            body = self._bodies[name]
            load = start.load_n if body in self.hands else 0.0
            xfrc_applied[body, :3] = forces[row] + load

    def read(
        self, stamp_s: float, *, qpos: F64, qvel: F64, mocap_pos: F64, mocap_quat: F64
    ) -> RobotState:
        """The state of one simulation, or of all with leading dimensions; every array a copy."""
        poses = {name: qpos[..., where].copy() for name, where in self.free.items()}
        for name, i in self.mocap.items():
            poses[name] = np.concatenate((mocap_pos[..., i, :], mocap_quat[..., i, :]), -1)
        return RobotState(
            stamp_s=stamp_s,
            q_rad=qpos[..., self.qpos],
            dq_rad_s=qvel[..., self.dof],
            gripper_m=qpos[..., self.finger].sum(-1),
            poses=poses,
            signals={name: qpos[..., [i]] for name, i in self.signals.items()},
        )
