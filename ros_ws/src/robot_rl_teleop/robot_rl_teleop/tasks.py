"""From the words of a launch file to a robot, a task, and how both are observed.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from robot_rl_control.state_reader import StateReaderCfg

from robot_rl.control.observe import ObserveCfg
from robot_rl.control.robot_file import load_robot
from robot_rl.env.task import Task
from robot_rl.env.task_file import load_task
from robot_rl.errors import ConfigError
from robot_rl.types import F32, RobotSpec, RobotState

__all__ = ["Job", "find_job", "make_expert"]

_PIXELS = "/pixels"
_FILES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What is to be demonstrated, on which robot, and what a policy will see of it."""

    spec: RobotSpec  # with the cameras, poses and signals that are observed, and no others
    task: Task
    observe: ObserveCfg
    reader: StateReaderCfg


def find_job(robot: str, task: str) -> Job:
    """The job of a robot file and of a task: one of the twin, or a task file.

    Raises:
        UnknownNameError: There is no such task.
        ConfigError: A file cannot be read, or the package of tasks is not installed.
    """
    file = load_robot(robot)
    if task.endswith(_FILES):
        found = load_task(task)
        observe, made = found.observe, found.task()
        tracked, signals = found.poses, found.all_signals
    else:
        twin = _twin(task)
        observe, made = ObserveCfg(pixels=task.endswith(_PIXELS)), twin.task
        tracked, signals = twin.robot.tracked, dict(twin.robot.signals)
    cameras = file.spec.cameras if observe.pixels else ()
    spec = replace(file.spec, cameras=cameras, tracked=tracked, signals=signals)
    return Job(spec=spec, task=made, observe=observe, reader=StateReaderCfg.of_robot(file))


def make_expert(task: str, seed: int) -> Callable[[RobotState], F32]:
    """Who demonstrates a task of the twin: its expert with the faults of a person.

    Raises:
        UnknownNameError: There is no such task.
        ConfigError: It is the task of a real robot, or the package of tasks is not installed.
    """
    if task.endswith(_FILES):
        raise ConfigError(f"task '{task}' has no scripted expert. Take a device in your hand.")
    demonstrator = import_module("sim.tasks.demonstrator").Demonstrator(_twin(task))
    demonstrator.reset(seed)
    return demonstrator.act


def _twin(task: str) -> Any:
    try:
        return import_module("sim.tasks").make_twin(task.removesuffix(_PIXELS))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task '{task}' needs the module '{error.name}'. pip install 'robot-rl[sim]', or give "
            "a task file."
        ) from error
