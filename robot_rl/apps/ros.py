"""Where the ROS side is: rclpy, our packages of the workspace, and the files that come with them.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

An installed workspace (`colcon build`, `source install/setup.bash`) comes first; in a checkout its
sources do, so that the wheels of rclpy are enough.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from robot_rl.errors import ConfigError, RobotRLError, UnknownNameError

__all__ = ["MissingRosError", "find_robot", "graph_node", "ros_module"]

SOURCES = Path(__file__).resolve().parents[2] / "ros_ws" / "src"
"""The packages of a checkout; not there where robot_rl is installed as a wheel."""
BRINGUP = "robot_rl_bringup"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


class MissingRosError(RobotRLError, ImportError):
    """ROS, or our packages for it, are not installed; says how to get them."""


def ros_module(name: str) -> ModuleType:
    """Import a module of our ROS packages, such as `robot_rl_control.ros_port`.

    Raises:
        MissingRosError: There is no rclpy, or no such package.
    """
    if find_spec("rclpy") is None:
        raise MissingRosError(
            "port ros needs the module 'rclpy', which is not installed. On a robot workstation: "
            "install ROS 2 Jazzy by apt, `source /opt/ros/jazzy/setup.bash`, and make the virtual "
            "environment with --system-site-packages. Anywhere else: pip install 'robot-rl[ros]'"
        )
    # The wheels do not set it, and without it every look-up of a package fails.
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    _use_profile()
    package = name.split(".")[0]
    if find_spec(package) is None:
        for source in _packages():
            if str(source) not in sys.path:
                sys.path.append(str(source))
    if find_spec(package) is None:
        raise MissingRosError(
            f"port ros needs the ROS package '{package}', which is neither installed nor in "
            f"{SOURCES}. Build the workspace: cd ros_ws && colcon build && source "
            "install/setup.bash"
        )
    return import_module(name)


@contextmanager
def graph_node(name: str, namespace: str, context: Any = None) -> Iterator[tuple[Any, Any]]:
    """A node and its executor, which the caller spins; gone afterwards.

    Args:
        name: Of the node.
        namespace: Of the node.
        context: The rclpy context; by default one of its own.
    """
    rclpy, executors = import_module("rclpy"), import_module("rclpy.executors")
    is_own, context = context is None, context or rclpy.Context()
    if is_own:
        rclpy.init(args=[], context=context)
    try:
        node = rclpy.create_node(name, namespace=namespace, context=context)
        executor = executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield node, executor
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        if is_own:
            rclpy.try_shutdown(context=context)


def find_robot(robot: str) -> Path:
    """The robot file that a user means: a path, or the name of one that comes along.

    Raises:
        UnknownNameError: There is none of this name.
        ConfigError: There are none at all.
    """
    if robot.endswith((".yaml", ".yml")):
        return Path(robot)
    folder = _share() / "config" / "robots"
    if not folder.is_dir():
        raise ConfigError(
            f"robot '{robot}' is no .yaml file, and the ROS package {BRINGUP}, which brings "
            "robot files, is not installed. Give the path of one."
        )
    file = folder / f"{robot}.yaml"
    if not file.exists():
        raise UnknownNameError("robot", robot, [path.stem for path in folder.glob("*.yaml")])
    return file


def _packages() -> list[Path]:
    """The packages of a checkout."""
    return sorted(path.parent for path in SOURCES.glob("*/package.xml"))


def _share() -> Path:
    """What the bringup package has installed, or its sources."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        share = Path(prefix) / "share" / BRINGUP
        if prefix and share.is_dir():
            return share
    return SOURCES / BRINGUP


def _use_profile() -> None:
    """Give images the room that they need on their way, unless the user has chosen otherwise."""
    profile = _share() / "config" / "fastdds.xml"
    if profile.exists() and not any(name in os.environ for name in PROFILE_VARIABLES):
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(profile)))
