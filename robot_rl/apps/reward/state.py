"""What the recorded state vectors of a task mean, from wherever that is known.

learning:  **episode store → named columns** → written function → progress model → replay
"""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from robot_rl.apps import envs
from robot_rl.apps.ports import is_task_file
from robot_rl.apps.ros import find_robot
from robot_rl.env.state_fields import StateField
from robot_rl.errors import ConfigError
from robot_rl.reward.written.schema import StateSchema, schema_of

__all__ = ["schema_from"]


def schema_from(
    env: str, size: int, *, file: Path | None = None, robot: str = "", instruction: str = ""
) -> StateSchema:
    """The schema of episodes.

    Args:
        env: A task of the twin, gym:<id>, or the task file of a real robot.
        size: Length of the recorded state vectors.
        file: A JSON file that describes them; comes before all else.
        robot: The robot of a task file.
        instruction: What to do, if the task shall not say it.

    Raises:
        ConfigError: The file, or what it needs, cannot be read.
        DataError: The vectors are of another length.
        UnknownNameError: No such task or robot.
        MissingExtraError: The twin is not installed.
    """
    if file is not None:
        found = _of_file(file, size)
    elif is_task_file(env):
        found = _of_task_file(env, robot, size)
    elif env.startswith(envs.GYM):
        found = _of_gym(env, size)
    else:
        found = _of_twin(env, size)
    return replace(found, instruction=instruction) if instruction else found


def _of_file(file: Path, size: int) -> StateSchema:
    """What a person has written down."""
    try:
        found = StateSchema.from_plain(json.loads(file.read_text()))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ConfigError(
            f"{file}: {error}. It must hold an instruction, and fields of name, size, unit, frame "
            "and meaning."
        ) from error
    if found.size != size:
        raise ConfigError(
            f"{file} describes {found.size} numbers, but the episodes hold {size} in a state."
        )
    return found


def _of_twin(env: str, size: int) -> StateSchema:
    from robot_rl.control.observe import ObserveCfg

    name, pixels = envs.twin_task(env), env.endswith(envs.PIXELS)
    tasks = import_module("sim.tasks")
    spec = tasks.make_port(name, pixels).spec
    return schema_of(spec, tasks.make_task(name), ObserveCfg(pixels=pixels), size)


def _of_task_file(env: str, robot: str, size: int) -> StateSchema:
    from robot_rl.control.robot_file import load_robot
    from robot_rl.env.task_file import load_task

    if not robot:
        raise ConfigError(f"'{env}' is the task of a real robot. Say of which by --robot.")
    task = load_task(env)
    return schema_of(load_robot(find_robot(robot)).spec, task.task(), task.observe, size)


def _of_gym(env: str, size: int) -> StateSchema:
    """Nobody has said what the numbers of such an environment are."""
    unknown = StateField("features", size, "?", "?", "not described; see the environment's pages")
    return StateSchema(instruction=env.removeprefix(envs.GYM), fields=(unknown,))
