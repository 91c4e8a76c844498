"""One scene under way: its compiled model, its state, and where the robot lies in them.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

`SimPort` steps it when its clock is waited on, the twin node in real time; what a start is, how
the drives take a command and what is read out cannot differ between them.
"""

import mujoco
import numpy as np

from robot_rl.types import F64, RobotState
from sim.bridge import BRIDGE_PERIOD_S
from sim.randomize import parameters_of
from sim.scene import TIMESTEP_S
from sim.twin import Layout, ModelFields, Start, Twin

__all__ = ["Simulation"]

_SUBSTEPS = round(BRIDGE_PERIOD_S / TIMESTEP_S)


class Simulation:
    """The scene of one task, compiled here; put it at a start before stepping it.

    Attributes:
        model: The compiled scene.
        data: Its state.
    """

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.model: mujoco.MjModel = twin.build().compile()
        self.data = mujoco.MjData(self.model)
        self._layout = Layout(self.model, twin.robot)
        self._parameters = parameters_of(twin)
        self._start: Start | None = None
        self._tick = 0
        self._fields = ModelFields(
            gain=self.model.actuator_gainprm,
            bias=self.model.actuator_biasprm,
            friction=self.model.geom_friction,
        )

    def draw(self, seed: int) -> Start:
        """The start that belongs to `seed`."""
        return self._twin.draw(np.random.default_rng(seed))

    def place(self, start: Start) -> None:
        """Put everything at a start, with the dynamics that go with it."""
        data = self.data
        if self.model.nhistory:
            data.history[:] = self._layout.history(start, self.model, data)
        else:
            mujoco.mj_resetData(self.model, data)
        self._start, self._tick = start, 0
        self._layout.restore(self._fields)
        if self._parameters is not None:
            values = self._parameters.nominal if start.values is None else start.values
            self._parameters.apply(self.model, values)
        self._layout.scale(start, self._fields)
        self._layout.write_start(
            start,
            qpos=data.qpos,
            ctrl=data.ctrl,
            mocap_pos=data.mocap_pos,
            mocap_quat=data.mocap_quat,
            xfrc_applied=data.xfrc_applied,
        )

    def step(self, q_rad: F64, gripper_m: F64) -> None:
        """One period of the bridge (10 ms) with the drives set to (dof,) and (num_grippers,)."""
        self.data.ctrl[self._layout.ctrl] = q_rad
        self.data.ctrl[self._layout.gripper_ctrl] = gripper_m
        if self._start is not None and self._start.forces_n:
            self._layout.push(self._start, self._tick, self.data.xfrc_applied)
        self._tick += 1
        mujoco.mj_step(self.model, self.data, nstep=_SUBSTEPS)

    def read(self, stamp_s: float) -> RobotState:
        """The state of the robot and of what is tracked, every array a copy; no images."""
        data = self.data
        return self._layout.read(
            stamp_s,
            qpos=data.qpos,
            qvel=data.qvel,
            mocap_pos=data.mocap_pos,
            mocap_quat=data.mocap_quat,
        )
