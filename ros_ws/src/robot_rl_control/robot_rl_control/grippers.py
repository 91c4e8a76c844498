"""Gripper commands by kind of driver; sent on change only.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

Topics get the opening as it moves, at the gripper's own speed. Services and actions plan the
motion themselves, so they get where it goes.
"""

import importlib
from typing import Any, Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_rl.control.driver_cfg import GripperDriverCfg
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import ConfigError
from robot_rl.types import F64
from robot_rl_control.qos import COMMAND

__all__ = ["GripperCommands"]

_HALF = 0.5  # of the greatest opening: above it a gripper with two services opens


class _Gripper(Protocol):
    """One or more grippers behind one topic, action or pair of services."""

    topics: tuple[str, ...]
    """Full names of what nobody else may publish."""

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        """Send openings (n,) [m] now, or where they go."""
        ...


class GripperCommands:
    """Sends the openings of all grippers, each the way its driver wants."""

    def __init__(self, node: Node, robot: RobotFile) -> None:
        """Open what the drivers need.

        Raises:
            ConfigError: An action's package is not installed.
        """
        self._parts: list[tuple[list[int], _Gripper]] = []
        shared: dict[str, list[tuple[int, GripperDriverCfg]]] = {}
        pairs = [
            (arm.gripper, driver.gripper)
            for arm, driver in zip(robot.spec.arms, robot.drivers, strict=True)
        ]
        index = 0
        for spec, cfg in pairs:
            if spec is None or cfg is None:
                continue
            if cfg.kind == "position":
                shared.setdefault(str(cfg.topic), []).append((index, cfg))
            elif cfg.kind == "trigger":
                self._parts.append(([index], _Services(node, cfg, _HALF * spec.max_width_m)))
            elif cfg.kind == "gripper_command":
                self._parts.append(([index], _Action(node, cfg)))
            else:
                self._parts.append(([index], _Joints(node, cfg)))
            index += 1
        for users in shared.values():
            where = [i for i, _ in users]
            self._parts.append((where, _Positions(node, [cfg for _, cfg in users])))

    @property
    def topics(self) -> tuple[str, ...]:
        """Full names of the topics that nobody else may command."""
        return tuple(name for _, part in self._parts for name in part.topics)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        """Send openings (num_grippers,) [m] now, and where they go."""
        for where, part in self._parts:
            part.send(gripper_m[where], goal_m[where])


class _Change:
    """Whether openings differ from the last ones that were sent."""

    def __init__(self, change_m: float) -> None:
        self._change_m = change_m
        self._sent: F64 | None = None
        self._listeners = 0

    def is_new(self, width_m: F64, listeners: int) -> bool:
        """Whether to send openings (n,) [m]; they then count as sent. A new listener gets all."""
        joined, self._listeners = listeners > self._listeners, listeners
        if self._sent is not None and not joined:
            moved = np.abs(width_m - self._sent)
            if (moved < self._change_m).all() and not self._arrived(width_m, moved):
                return False
        self._last, self._sent = width_m.copy(), width_m.copy()
        return True

    def _arrived(self, width_m: F64, moved: F64) -> bool:
        """Whether a motion ended on less than a change: its end is sent all the same."""
        same, self._last = np.array_equal(width_m, self._last), width_m.copy()
        return same and bool(moved.any())


class _Positions:
    """One Float64MultiArray for all grippers of a topic."""

    def __init__(self, node: Node, cfgs: list[GripperDriverCfg]) -> None:
        self._cfgs = cfgs
        self._publisher: Any = node.create_publisher(
            Float64MultiArray, str(cfgs[0].topic), COMMAND
        )
        self._change = _Change(min(cfg.change_m for cfg in cfgs))
        self.topics: tuple[str, ...] = (self._publisher.topic_name,)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        if self._change.is_new(gripper_m, self._publisher.get_subscription_count()):
            pairs = zip(self._cfgs, gripper_m.tolist(), strict=True)
            values = [cfg.command_value(width) for cfg, width in pairs]
            self._publisher.publish(Float64MultiArray(data=values))


class _Joints:
    """JointState or a trajectory of one point, for the gripper's joints."""

    def __init__(self, node: Node, cfg: GripperDriverCfg) -> None:
        self._cfg, self._clock = cfg, node.get_clock()
        kind = JointState if cfg.kind == "joint_state" else JointTrajectory
        self._publisher: Any = node.create_publisher(kind, str(cfg.topic), COMMAND)
        self._change = _Change(cfg.change_m)
        self.topics: tuple[str, ...] = (self._publisher.topic_name,)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        if not self._change.is_new(gripper_m, self._publisher.get_subscription_count()):
            return
        names = list(self._cfg.command_joints)
        values = [self._cfg.command_value(float(gripper_m[0]))] * len(names)
        if self._cfg.kind == "joint_state":
            message: Any = JointState(name=names, position=values)
            message.header.stamp = self._clock.now().to_msg()
        else:
            lead = Duration(seconds=self._cfg.lead_s or 0.0).to_msg()
            point = JointTrajectoryPoint(positions=values, time_from_start=lead)
            message = JointTrajectory(joint_names=names, points=[point])
        self._publisher.publish(message)


class _Services:
    """Two Trigger services: open and close."""

    topics: tuple[str, ...] = ()

    def __init__(self, node: Node, cfg: GripperDriverCfg, threshold_m: float) -> None:
        self._threshold_m = threshold_m
        self._clients = [
            node.create_client(Trigger, str(name))
            for name in (cfg.close_service, cfg.open_service)
        ]
        self._is_open: bool | None = None

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        is_open = bool(goal_m[0] > self._threshold_m)
        client = self._clients[is_open]
        if is_open != self._is_open and client.service_is_ready():
            client.call_async(Trigger.Request())
            self._is_open = is_open


class _Action:
    """A GripperCommand action; a new goal takes the place of the last."""

    topics: tuple[str, ...] = ()

    def __init__(self, node: Node, cfg: GripperDriverCfg) -> None:
        try:
            self._kind: Any = importlib.import_module("control_msgs.action").GripperCommand
        except ImportError as error:
            raise ConfigError(
                f"gripper of kind 'gripper_command' on '{cfg.topic}' needs control_msgs, which is "
                "not installed. Install ros-jazzy-control-msgs, or choose another kind."
            ) from error
        from rclpy.action.client import ActionClient

        self._client: Any = ActionClient(node, self._kind, str(cfg.topic))
        self._cfg, self._change = cfg, _Change(cfg.change_m)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        if self._client.server_is_ready() and self._change.is_new(goal_m, 1):
            goal = self._kind.Goal()
            goal.command.position = self._cfg.command_value(float(goal_m[0]))
            goal.command.max_effort = float(self._cfg.max_effort_n or 0.0)
            self._client.send_goal_async(goal)
