"""The tasks of the twin by name, and the three calls that turn a name into something to act on.

`make_env` is what learning uses: the same `RobotEnv` as on the robot, over `SimPort`.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from robot_rl.errors import UnknownNameError
from robot_rl.types import CameraSpec

if TYPE_CHECKING:
    from robot_rl.env.robot_env import RobotEnv
    from robot_rl.env.task import Task
    from sim.port import SimPort
    from sim.twin import Twin

__all__ = ["TASKS", "make_env", "make_port", "make_task", "make_twin"]


def _lazy(module: str, name: str) -> "Callable[..., Twin]":
    """A constructor that imports its module, and with it MuJoCo, when it is called."""

    def construct(**settings: Any) -> "Twin":
        return cast("Twin", getattr(import_module(f"sim.tasks.{module}"), name)(**settings))

    return construct


TASKS: "dict[str, Callable[..., Twin]]" = {
    "reach": _lazy("reach", "ReachTwin"),
    "push": _lazy("push", "PushTwin"),
    "push-back": _lazy("push_back", "PushBackTwin"),
    "pick-lift": _lazy("pick_lift", "PickLiftTwin"),
    "drawer": _lazy("drawer", "DrawerTwin"),
    "bimanual-lift": _lazy("bimanual_lift", "BimanualLiftTwin"),
    "peg": _lazy("peg", "PegTwin"),
    "peg-long": _lazy("peg", "peg_long"),
    "slide": _lazy("slide", "SlideTwin"),
    "rod": _lazy("rod", "RodTwin"),
}
"""Constructors of twins; keyword arguments are the fields that set the difficulty."""


def make_twin(name: str, **difficulty: Any) -> "Twin":
    """The task `name` in the twin, with some of its difficulty fields replaced.

    Raises:
        UnknownNameError: There is no such task.
    """
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name](**difficulty)


def make_task(name: str) -> "Task":
    """What the robot shall do: horizon, features, success. Knows no scene."""
    return make_twin(name).task


def make_port(
    name: str,
    pixels: bool = False,
    *,
    image_px: int = 84,
    delay_s: float = 0.0,
    difficulty: dict[str, Any] | None = None,
) -> "SimPort":
    """The twin of task `name` as a robot.

    Args:
        name: One of `TASKS`.
        pixels: Whether its two cameras are read too.
        image_px: Width and height of their images.
        delay_s: How long a command travels.
        difficulty: Fields of the task that differ from its defaults.
    """
    from sim.port import SimPort
    from sim.scene import CAMERA_NAMES

    twin = make_twin(name, **(difficulty or {}))
    cameras = tuple(
        CameraSpec(name=camera, width_px=image_px, height_px=image_px, rate_hz=20.0)
        for camera in CAMERA_NAMES
    )
    return SimPort(twin, delay_s=delay_s, cameras=cameras if pixels else ())


def make_env(
    name: str,
    pixels: bool = False,
    *,
    image_px: int = 84,
    delay_s: float = 0.0,
    difficulty: dict[str, Any] | None = None,
    **cfg: Any,
) -> "RobotEnv":
    """The task `name` as a gymnasium environment; `cfg` are fields of `RobotEnvCfg`.

    In pixel form the policy sees two cameras and what the robot feels, and no tracked pose.
    """
    from robot_rl.control.observe import ObserveCfg
    from robot_rl.env.robot_env import RobotEnv, RobotEnvCfg

    port = make_port(name, pixels, image_px=image_px, delay_s=delay_s, difficulty=difficulty)
    if pixels:
        cfg["observe"] = replace(cfg.get("observe", ObserveCfg()), pixels=True)
    return RobotEnv(port, port.twin.task, RobotEnvCfg(**cfg))
