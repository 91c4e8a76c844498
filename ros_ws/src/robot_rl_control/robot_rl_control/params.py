"""ROS parameters as one frozen dataclass: each declared, typed and read once, unknown ones fatal.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import TypeVar

from rclpy.node import Node

from robot_rl.config import from_plain
from robot_rl.errors import ConfigError
from robot_rl_control.realtime import PRIORITIES

__all__ = ["ArmBridgeParams", "read_params"]

T = TypeVar("T")

_OF_ROS = re.compile(r"use_sim_time|start_type_description_service|qos_overrides\..*")


@dataclass(frozen=True, kw_only=True)
class ArmBridgeParams:
    """Parameters of the arm bridge; all else stands in the robot file."""

    robot: str
    """Path of the robot file."""
    autostart: bool = False
    """Whether to configure and activate without being told, as soon as the arm reports itself."""
    realtime_priority: int = 0
    """Of the whole process, by SCHED_FIFO: 1 to 99; 0 leaves it to the system's fair share."""

    def __post_init__(self) -> None:
        """Refuse a missing path, and a priority that does not exist."""
        if not self.robot:
            raise ConfigError("robot is empty. Pass -p robot:=<path of a robot file>.")
        if self.realtime_priority and self.realtime_priority not in PRIORITIES:
            raise ConfigError(
                f"realtime_priority is {self.realtime_priority}, but must be 0 or within 1 and 99."
            )


def read_params(node: Node, cls: type[T]) -> T:
    """The parameters of a node as `cls`.

    Args:
        node: Created with `automatically_declare_parameters_from_overrides=True`, so that what
            was passed but is not known can be told.
        cls: A frozen dataclass.

    Raises:
        ConfigError: A parameter is unknown, missing, of another type or out of its range.
    """
    given = {
        name: node.get_parameter(name).value
        for name in node.get_parameters_by_prefix("")
        if not _OF_ROS.fullmatch(name)
    }
    params = from_plain(cls, given, f"parameters of {node.get_name()}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if not node.has_parameter(field.name):
            node.declare_parameter(field.name, getattr(params, field.name))
    return params
