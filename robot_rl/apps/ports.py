"""Which robot an environment acts on: the twin in this process, or one on the ROS graph.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from robot_rl.apps import envs
from robot_rl.apps.ros import find_robot, ros_module
from robot_rl.errors import ConfigError

__all__ = ["PortCfg", "PortName", "camera_hashes", "is_task_file", "make_env"]

PortName = Literal["sim", "ros"]


@dataclass(frozen=True, kw_only=True)
class PortCfg:
    """The robot on the ROS graph."""

    robot: str = "twin"
    """Its robot file, or the name of one that comes along, such as fr3."""
    namespace: str = "/robot"
    """Of its arm bridge and topics."""
    silence_s: float = 1.0
    """Longest silence of robot or arm bridge; longer, and it has gone."""
    cameras: Path | None = None
    """YAML of cameras to open in this process, such as config/cameras/fr3.yaml; else their images
    are read from the graph."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What an environment's name asks of the robot."""

    task: Any
    observe: Any
    tracked: tuple[str, ...] = ()
    signals: Mapping[str, int] = field(default_factory=dict)
    cameras: Any = None  # those of the robot


def camera_hashes(env: gym.Env[Any, Any]) -> Mapping[str, str]:
    """What names the calibration of each camera of an environment's robot; empty in the twin."""
    return getattr(getattr(env.unwrapped, "port", None), "camera_hashes", {})


def is_task_file(name: str) -> bool:
    """Whether a user means a file that describes a real robot's task."""
    return name.endswith((".yaml", ".yml"))


def make_env(
    name: str,
    port: PortName = "sim",
    ros: PortCfg | None = None,
    *,
    render_mode: str | None = None,
) -> gym.Env[Any, Any]:
    """Build the environment of a task on a robot.

    Args:
        name: As for `envs.make_env`; on the ROS graph a task of the twin, or a task file.
        port: The twin in this process, or the ROS graph.
        ros: Which robot there.
        render_mode: See `envs.make_env`.

    Raises:
        UnknownNameError: No such task or robot.
        ConfigError: The task cannot be done there.
        MissingExtraError, MissingRosError: What it needs is not installed.
    """
    if port == "ros":
        return _make_ros(name, ros or PortCfg())
    if is_task_file(name):
        raise ConfigError(f"'{name}' is the task of a real robot. Add --port ros.")
    return envs.make_env(name, render_mode=render_mode)


def _make_ros(name: str, ros: PortCfg) -> gym.Env[Any, Any]:
    """The environment over the ROS graph; nothing is opened before its first `reset`."""
    from robot_rl.env.robot_env import RobotEnv, RobotEnvCfg

    module = ros_module("robot_rl_control.ros_port")
    asked = _of_file(name) if is_task_file(name) else _of_twin(name)
    robot = find_robot(ros.robot)
    cfg = module.RosPortCfg(
        robot=robot,
        namespace=ros.namespace,
        tracked=asked.tracked,
        signals=asked.signals,
        cameras=asked.cameras,
        state_timeout_s=ros.silence_s,
        bridge_timeout_s=ros.silence_s,
    )
    port = module.RosPort(cfg, feed=_own_cameras(ros.cameras, robot, asked))
    # A robot waits for late data; an error would end a night's training.
    observe = replace(asked.observe, hold_when_stale=True)
    return RobotEnv(port, asked.task, RobotEnvCfg(observe=observe))


def _own_cameras(path: Path | None, robot: Path, asked: _Asked) -> Any:
    """The cameras of a file at the sizes that the task or the robot's file asks for."""
    if path is None:
        return None
    from robot_rl.cameras.agreement import check_agreement
    from robot_rl.cameras.cfg import load_cameras
    from robot_rl.cameras.feed import CameraFeed
    from robot_rl.control.calibrated import load_calibration
    from robot_rl.control.robot_file import load_robot

    file, cameras = load_robot(robot), load_cameras(path)
    wanted = file.spec.cameras if asked.cameras is None else asked.cameras
    check_agreement(cameras, wanted, opened=str(path), asked=str(robot))
    if calibration := load_calibration(file):
        calibration.check_devices(cameras)
    return CameraFeed(cameras, wanted)


def _of_file(name: str) -> _Asked:
    from robot_rl.env.task_file import load_task

    file = load_task(name)
    return _Asked(
        task=file.task(), observe=file.observe, tracked=file.poses, signals=file.all_signals
    )


def _of_twin(name: str) -> _Asked:
    from robot_rl.control.observe import ObserveCfg

    if name.startswith(envs.GYM):
        raise ConfigError(f"'{name}' is no robot. On the ROS graph, give a task or a task file.")
    tasks = import_module("sim.tasks")
    task, pixels = envs.twin_task(name), name.endswith(envs.PIXELS)
    spec = tasks.make_port(task, pixels).spec
    return _Asked(
        task=tasks.make_task(task),
        observe=ObserveCfg(pixels=pixels),
        tracked=spec.tracked,
        signals=spec.signals,
        cameras=spec.cameras,
    )
