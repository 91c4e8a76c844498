"""Measured joints and openings of all arms, from however many topics they come in.

command:   camera, **arm** → observe → policy (base + residual) → decode → safety → send
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import JointState

from robot_rl.types import F64, ArmSpec, RobotSpec
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp
from robot_rl_control.reader_cfg import GripperJoints, StateReaderCfg
from robot_rl_control.stream import Intake, Stream

__all__ = ["JointIntake", "Joints"]


class Joints(NamedTuple):
    """What one message says of one arm, or of one gripper."""

    q: F64
    dq: F64
    tau: F64 | None


class _Part(NamedTuple):
    """Joints that belong together, and where they are reported."""

    stream: Stream
    topic: str
    joints: tuple[str, ...]
    offset: F64  # added to what the driver says


class JointIntake:
    """A stream an arm and a stream a gripper; to be read under the intake's lock."""

    def __init__(self, intake: Intake, spec: RobotSpec, cfg: StateReaderCfg) -> None:
        self._intake, self._cfg = intake, cfg
        self._indices: dict[tuple[str, ...], list[tuple[_Part, list[int]]]] = {}
        self._parts: list[_Part] = []
        self.arms = [self._follow_arm(arm) for arm in spec.arms]
        self._widths = [
            (self._gripper(arm), self._follow_gripper(arm)) for arm in spec.arms if arm.gripper
        ]
        for topic in sorted({part.topic for part in self._parts}):
            intake.subscribe(JointState, topic, partial(self._on_joints, topic))

    @property
    def streams(self) -> list[Stream]:
        """Of all arms, then of all grippers."""
        return [part.stream for part in self._parts]

    def widths_m(self) -> F64:
        """(num_grippers,) openings [m]."""
        return np.array(
            [how.offset_m + how.scale_m * float(s.value.q.sum()) for how, s in self._widths]
        )

    def _follow_arm(self, arm: ArmSpec) -> Stream:
        topic = self._cfg.joint_topics.get(arm.name, names.JOINT_STATES)
        calibration = self._cfg.calibration
        offset = calibration.offset_of(arm) if calibration else np.zeros(arm.dof)
        return self._part(f"joints of {arm.name}", topic, arm.joint_names, offset)

    def _follow_gripper(self, arm: ArmSpec) -> Stream:
        how = self._gripper(arm)
        none = np.zeros(len(how.joints))
        return self._part(f"gripper of {arm.name}", how.topic, how.joints, none)

    def _gripper(self, arm: ArmSpec) -> GripperJoints:
        default = GripperJoints(joints=(names.gripper_name(arm.name),))
        return self._cfg.grippers.get(arm.name, default)

    def _part(self, title: str, topic: str, joints: tuple[str, ...], offset: F64) -> Stream:
        stream = Stream(f"{title} ({', '.join(joints)}) on {topic}")
        self._parts.append(_Part(stream, topic, joints, offset))
        return stream

    def _on_joints(self, topic: str, message: JointState) -> None:
        """Drivers order joints as they like, and may report arm and gripper apart."""
        reported = list(message.name)
        given = (topic, *reported)
        if given not in self._indices:
            self._indices[given] = [
                (part, [reported.index(joint) for joint in part.joints])
                for part in self._parts
                if part.topic == topic and set(part.joints) <= set(reported)
            ]
        stamp_ns = ns_from_stamp(message.header.stamp)
        q = np.array(message.position, np.float64)
        dq = np.array(message.velocity, np.float64)
        tau = np.array(message.effort, np.float64)
        if q.size != len(reported):
            self._intake.refuse(f"{topic} holds {q.size} positions for {len(reported)} names.")
            return
        for part, where in self._indices[given]:
            place = q[where] + part.offset
            speed = dq[where] if dq.size == q.size else _speed(part.stream, place, stamp_ns)
            effort = tau[where] if tau.size == q.size else None
            self._intake.take(part.stream, Joints(place, speed, effort), stamp_ns)


def _speed(stream: Stream, q: F64, stamp_ns: int) -> F64:
    """Joint velocities [rad/s] of a driver that reports none: from its last two positions."""
    elapsed_s = (stamp_ns - stream.stamp_ns) * 1e-9
    if not stream.received or elapsed_s <= 0:
        return np.zeros_like(q)
    return (q - stream.value.q) / elapsed_s
