"""The devices of the teleop node: what a person holds, a leader arm's topic, or the expert.

command:   **person → device** → arm bridge (mux → limits) → send
"""

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from robot_rl_control.qos import STATE
from robot_rl_control.state_reader import StateReader
from sensor_msgs.msg import JointState

from robot_rl.control.decode import ActionDecoder
from robot_rl.errors import ConfigError, PortError
from robot_rl.teleop.devices.combined import WithKeys
from robot_rl.teleop.devices.device import Device, Sample
from robot_rl.teleop.devices.gamepad import Gamepad
from robot_rl.teleop.devices.keyboard import Keyboard, RawTerminal
from robot_rl.teleop.devices.leader import LeaderArm, LeaderCfg, Reading
from robot_rl.teleop.devices.spacemouse import SpaceMouse
from robot_rl.types import F64, Command, RobotSpec
from robot_rl_teleop.params import TeleopParams
from robot_rl_teleop.tasks import Job, make_expert

if TYPE_CHECKING:
    from robot_rl_teleop.teleop_node import TeleopNode

__all__ = ["ExpertHand", "make_device"]

_REBASE_RAD = 0.1  # a target this far ahead of the arm is not built upon


def make_device(node: "TeleopNode", params: TeleopParams, job: Job) -> Device:
    """The device that the parameters name, beside the keyboard where there is a terminal.

    Raises:
        ConfigError: A leader arm is asked for, but its joints do not fit the robot.
    """
    arms = len(job.spec.arms)
    fd = os.open(params.terminal, os.O_RDWR | os.O_NOCTTY) if params.terminal else None
    keyboard = Keyboard(RawTerminal(fd), arms=arms)
    if params.device == "keyboard":
        return keyboard
    device: Device
    if params.device == "gamepad":
        device = Gamepad(arms=arms)
    elif params.device == "spacemouse":
        device = SpaceMouse(arms=arms)
    elif params.device == "leader":
        device = _leader(node, params, job.spec)
    else:
        device = ExpertHand(node, params, job)
    has_keys = fd is not None or (sys.stdin is not None and sys.stdin.isatty())
    return WithKeys(device, keyboard) if has_keys else device


class ExpertHand:
    """The task's expert at the switch: acts while an episode is recorded, at the task's rate."""

    name = "scripted"

    def __init__(self, node: "TeleopNode", params: TeleopParams, job: Job) -> None:
        spec = replace(job.spec, cameras=())
        self._node, self._states = node, StateReader(node, spec, job.reader)
        self._period_s = 1.0 / job.task.control_hz
        self._act = make_expert(params.task, params.seed)
        self._decoder = ActionDecoder(spec, job.task)
        self._command: Command | None = None
        self._due_s = 0.0

    def open(self) -> None:
        """Nothing to claim."""

    def read(self) -> Sample:
        """See `Device.read`."""
        now_s = time.monotonic()
        executed = self._node.executed
        if self._node.status.get("state") != "recording" or executed is None:
            self._command = None
            return Sample(stamp_s=now_s)
        try:
            state = self._states.read()
        except PortError as error:
            return Sample(stamp_s=now_s, note=str(error))
        q_rad, gripper_m = executed
        if self._command is None or np.abs(self._command.q_rad - q_rad).max() > _REBASE_RAD:
            self._command = Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=now_s)
            self._due_s = now_s
        if now_s >= self._due_s:
            self._due_s = max(self._due_s + self._period_s, now_s)
            self._command = self._decoder.decode(self._act(state), self._command)
        return Sample(
            stamp_s=now_s,
            joints_rad=self._command.q_rad,
            grippers_m=self._command.gripper_m,
            active=True,
        )

    def close(self) -> None:
        """Nothing to release."""


def _leader(node: "TeleopNode", params: TeleopParams, spec: RobotSpec) -> LeaderArm:
    """A leader arm by its topic; it follows where the robot's joints are."""
    newest: list[Reading] = []
    wanted = params.leader_joints

    def take(message: JointState) -> None:
        where = {name: k for k, name in enumerate(message.name)}
        if all(name in where for name in wanted):
            positions = np.array([message.position[where[name]] for name in wanted])
            newest[:] = [(time.monotonic(), positions)]

    node.create_subscription(JointState, params.leader_topic, take, STATE)
    joints = tuple(name for arm in spec.arms for name in arm.joint_names)
    has_trigger = bool(params.leader_trigger_rad)
    if len(wanted) != len(joints) + has_trigger:
        raise ConfigError(
            f"leader_joints names {len(wanted)}, but the robot has {len(joints)} joints"
            f"{' and the leader a trigger' if has_trigger else ''}. Name them in its order."
        )
    trigger = params.leader_trigger_rad or (0.0, 1.0)
    cfg = LeaderCfg(
        joint_names=joints,
        offset_rad=params.leader_offset_rad or (0.0,) * len(joints),
        sign=params.leader_sign or (1,) * len(joints),
        has_trigger=has_trigger,
        trigger_open_rad=trigger[0],
        trigger_closed_rad=trigger[1],
        align_rad=params.leader_align_rad,
    )

    def robot() -> F64 | None:
        return None if node.executed is None else node.executed[0]

    return LeaderArm(cfg, lambda: newest[0] if newest else None, robot)
