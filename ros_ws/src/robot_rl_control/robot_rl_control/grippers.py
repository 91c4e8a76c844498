"""Gripper commands by kind of driver; sent on change only.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

from typing import Any

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from robot_rl.control.driver_cfg import GripperDriverCfg
from robot_rl.control.robot_file import RobotFile
from robot_rl.types import F64
from robot_rl_control.qos import COMMAND

__all__ = ["GripperCommands"]


class GripperCommands:
    """Sends the openings of all grippers, each the way its driver wants."""

    def __init__(self, node: Node, robot: RobotFile) -> None:
        self._senders: list[tuple[list[int], _Positions]] = []
        by_topic: dict[str, list[tuple[int, GripperDriverCfg]]] = {}
        drivers = [d.gripper for d in robot.drivers if d.gripper is not None]
        for i, driver in enumerate(drivers):
            by_topic.setdefault(str(driver.topic), []).append((i, driver))
        for users in by_topic.values():
            sender = _Positions(node, [driver for _, driver in users])
            self._senders.append(([i for i, _ in users], sender))

    @property
    def topics(self) -> tuple[str, ...]:
        """Full names of the topics that nobody else may command."""
        return tuple(name for _, sender in self._senders for name in sender.topics)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        """Send openings (num_grippers,) [m] now, or where they go for drivers that plan."""
        for where, sender in self._senders:
            sender.send(gripper_m[where], goal_m[where])


class _Positions:
    """One Float64MultiArray for all grippers of a topic."""

    def __init__(self, node: Node, drivers: list[GripperDriverCfg]) -> None:
        self._drivers = drivers
        self._publisher: Any = node.create_publisher(
            Float64MultiArray, str(drivers[0].topic), COMMAND
        )
        self._sent: F64 | None = None
        self._listeners = 0

    @property
    def topics(self) -> tuple[str, ...]:
        return (self._publisher.topic_name,)

    def send(self, gripper_m: F64, goal_m: F64) -> None:
        listeners = self._publisher.get_subscription_count()
        is_new, self._listeners = listeners != self._listeners, listeners
        change = self._drivers[0].change_m
        if (
            not is_new
            and self._sent is not None
            and (np.abs(gripper_m - self._sent) < change).all()
        ):
            return
        pairs = zip(self._drivers, gripper_m, strict=True)
        values = [driver.command_value(float(width)) for driver, width in pairs]
        self._publisher.publish(Float64MultiArray(data=values))
        self._sent = gripper_m.copy()
