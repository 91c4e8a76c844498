"""The driver's side of the arm bridge: joint states in by name, joint commands out by kind.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

What holds the arm when the bridge itself is killed is the driver, as every kind here commands
positions: `forward_position` and crisp's targets keep the last one, a trajectory of one point
without velocity ends at it, and the twin brakes after its own timeout.

Joint offsets of a calibration end here: the bridge knows true joints, the driver its encoders'.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_rl.control.calibrated import RobotCalibration
from robot_rl.control.driver_cfg import CommandCfg
from robot_rl.control.kinematics import forward
from robot_rl.control.robot_file import RobotFile
from robot_rl.geometry import pose_from_matrix
from robot_rl.types import F64, I64, ArmSpec
from robot_rl_control.qos import COMMAND, STATE

__all__ = ["JointCommands", "JointStates"]


class JointStates:
    """Collects measured joints and openings from however many topics and messages they come in.

    Args:
        node: Who subscribes.
        robot: Topics and names.
        on_state: Called with joints (dof,), their speeds or None, openings (num_grippers,) and
            the stamp [s] of the oldest, each time all arms have reported anew.
        calibration: Whose offsets are added.
    """

    def __init__(
        self,
        node: Node,
        robot: RobotFile,
        on_state: Callable[[F64, F64 | None, F64, float], None],
        calibration: RobotCalibration | None = None,
    ) -> None:
        self._robot, self._on_state = robot, on_state
        self._offset_rad = _offsets(robot, calibration)
        self._arms = dict[str, tuple[F64, F64 | None, float]]()  # new since the last call
        self._widths: dict[str, float] = {}
        self._with_gripper = [arm.name for arm in robot.spec.arms if arm.gripper is not None]
        topics = {driver.joint_states for driver in robot.drivers}
        topics |= {d.gripper.state_topic for d in robot.drivers if d.gripper is not None}
        for topic in sorted(topics):
            node.create_subscription(JointState, topic, partial(self._take, topic), STATE)

    def _take(self, topic: str, message: JointState) -> None:
        index = {name: i for i, name in enumerate(message.name)}
        if len(index) != len(message.position):
            return  # which value is whose is not known; the watchdog tells when this goes on
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        position = np.array(message.position, np.float64)
        velocity = np.array(message.velocity, np.float64)
        for arm, driver in zip(self._robot.spec.arms, self._robot.drivers, strict=True):
            gripper = driver.gripper
            if (
                gripper
                and gripper.state_topic == topic
                and set(gripper.state_joints) <= set(index)
            ):
                values = [float(position[index[name]]) for name in gripper.state_joints]
                self._widths[arm.name] = gripper.width_m(values)
            if driver.joint_states == topic and set(arm.joint_names) <= set(index):
                where = [index[name] for name in arm.joint_names]
                speed = velocity[where] if velocity.size == position.size else None
                self._arms[arm.name] = position[where], speed, stamp_s
        if len(self._arms) == len(self._robot.drivers) and len(self._widths) == len(
            self._with_gripper
        ):
            self._report()

    def _report(self) -> None:
        arms = [self._arms[arm.name] for arm in self._robot.spec.arms]
        self._arms.clear()
        speeds = [speed for _, speed, _ in arms if speed is not None]
        self._on_state(
            np.concatenate([q for q, _, _ in arms]) + self._offset_rad,
            np.concatenate(speeds) if len(speeds) == len(arms) else None,
            np.array([self._widths[name] for name in self._with_gripper], np.float64),
            min(stamp_s for _, _, stamp_s in arms),
        )


_Maker = Callable[[F64, Time], Any]
"""The message of joints (n,) [rad] at a time."""


class JointCommands:
    """Publishes joint commands, one message a topic and tick.

    Args:
        node: Who publishes.
        robot: Topics and names.
        calibration: Whose offsets are taken off.
    """

    def __init__(
        self, node: Node, robot: RobotFile, calibration: RobotCalibration | None = None
    ) -> None:
        self._offset_rad = _offsets(robot, calibration)
        self._senders: list[tuple[Any, I64, _Maker]] = []  # publisher, indices of q, message
        by_topic: dict[str, list[tuple[ArmSpec, CommandCfg, int]]] = {}
        joint = 0
        for arm, driver in zip(robot.spec.arms, robot.drivers, strict=True):
            by_topic.setdefault(driver.command.topic, []).append((arm, driver.command, joint))
            joint += arm.dof
        for topic, users in by_topic.items():
            where = np.concatenate([np.arange(start, start + arm.dof) for arm, _, start in users])
            kind, message = _message(users[0][0], users[0][1])
            publisher = node.create_publisher(kind, topic, COMMAND)
            self._senders.append((publisher, where, message))

    @property
    def topics(self) -> tuple[str, ...]:
        """Full names of the topics that nobody else may command."""
        return tuple(publisher.topic_name for publisher, _, _ in self._senders)

    def publish(self, q_rad: F64, stamp: Time) -> None:
        """Send joints (dof,) [rad]."""
        q_rad = q_rad - self._offset_rad
        for publisher, where, message in self._senders:
            publisher.publish(message(q_rad[where], stamp))


def _offsets(robot: RobotFile, calibration: RobotCalibration | None) -> F64:
    """(dof,) [rad] true joints minus the encoders'."""
    if calibration is None:
        return np.zeros(robot.spec.dof)
    return np.concatenate([calibration.offset_of(arm) for arm in robot.spec.arms])


def _message(arm: ArmSpec, command: CommandCfg) -> tuple[type, _Maker]:
    """Message type of a kind of command, and what makes one."""
    if command.kind == "forward_position":
        return Float64MultiArray, lambda q, stamp: Float64MultiArray(data=q.tolist())
    if command.kind == "joint_trajectory":
        lead = Duration(seconds=command.lead_s or 0.0).to_msg()

        def trajectory(q: F64, stamp: Time) -> JointTrajectory:
            # No stamp: it starts on arrival. No velocities: it is followed linearly, and ends.
            point = JointTrajectoryPoint(positions=q.tolist(), time_from_start=lead)
            return JointTrajectory(joint_names=list(arm.joint_names), points=[point])

        return JointTrajectory, trajectory
    if command.kind == "target_joint":

        def target_joint(q: F64, stamp: Time) -> JointState:
            message = JointState(name=list(arm.joint_names), position=q.tolist())
            message.header.stamp = stamp
            return message

        return JointState, target_joint
    from geometry_msgs.msg import PoseStamped

    from robot_rl_control.convert import pose_message

    def target_pose(q: F64, stamp: Time) -> PoseStamped:
        return pose_message(pose_from_matrix(forward(arm, q)), stamp, command.frame_id or "")

    return PoseStamped, target_pose
