"""From the word a user types to twins side by side: nominal, randomised, or as identified.

command:   observe → policy → **batched twin (decode → safety → send)**
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from robot_rl.apps.envs import GYM, PIXELS, twin_task
from robot_rl.errors import ConfigError

__all__ = ["BELIEFS", "make_scenes", "make_twin", "usual_parameters"]

BELIEFS = ("nominal", "uniform", "forces")
"""What may be believed of the robot without having measured it; else the file of a posterior."""

UNIFORM_FACTOR = 2.0
"""Uniform randomisation reaches this far below and above the nominal value of each parameter."""
FORCE_N = 3.0
"""Greatest random force along each level axis, on the hand and on everything that lies about."""


def make_scenes(env: str, belief: str, count: int, *, threads: int = 1) -> Any:
    """A `BatchedTwin` of a task.

    Args:
        env: A task of the twin, in its state form.
        belief: One of `BELIEFS`, or the file of a posterior, of robot-rl identify.
        count: How many scenes.
        threads: That step physics.

    Raises:
        ConfigError: The task has no batched twin, or the posterior is of another robot.
        UnknownNameError: No such task.
        DataError: The file is damaged.
    """
    return import_module("sim.batch").BatchedTwin(
        make_twin(env, belief), count, num_threads=threads
    )


def make_twin(env: str, belief: str) -> Any:
    """The task's `Twin`, drawn from what is believed; see `make_scenes`."""
    if env.startswith(GYM) or env.endswith(PIXELS):
        raise ConfigError(
            f"'{env}' has no twins side by side; tasks of the twin in their state form have. Give "
            "--twin none to learn from data alone."
        )
    twin = import_module("sim.tasks").make_twin(twin_task(env))
    if belief == "nominal":
        return twin
    randomize = import_module("sim.randomize")
    if belief == "uniform":
        return randomize.RandomizedTwin(twin, randomize.Uniform(parameters=usual_parameters(twin)))
    if belief == "forces":
        model = twin.build().compile()
        parameters = usual_parameters(twin)
        exactly = randomize.Exactly(parameters=parameters, values=parameters.nominal)
        bodies = _hands(twin) + _free(model)
        forces = randomize.RandomForces(force_n=dict.fromkeys(bodies, FORCE_N))
        return randomize.RandomizedTwin(twin, exactly, forces=forces)
    if not Path(belief).is_file():
        raise ConfigError(
            f"twin is '{belief}', but must be one of {', '.join(BELIEFS)}, none, or the file of a "
            "posterior, of robot-rl identify."
        )
    posterior = import_module("sim.identify.posterior").Posterior.load(Path(belief))
    found = randomize.RandomizedTwin(twin, posterior)
    try:
        posterior.parameters.apply(found.build().compile(), posterior.values)
    except ConfigError as error:
        raise ConfigError(f"{belief} is of another twin than '{env}': {error}") from error
    return found


def usual_parameters(twin: Any) -> Any:
    """What is usually uncertain: the drives, and mass and friction of what lies about."""
    identify = import_module("sim.identify.parameters")
    model = twin.build().compile()
    drives = import_module("sim.identify.arm").arm_parameters(
        model,
        twin.robot.arms,
        ("armature", "damping", "frictionloss", "kp", "kv", "delay"),
        factor=UNIFORM_FACTOR,
    )
    objects = [
        identify.nominal_parameter(model, quantity, body, factor=UNIFORM_FACTOR)
        for body in _free(model)
        for quantity in ("mass", "friction")
    ]
    return identify.ParameterSet([*drives.parameters, *objects])


def _free(model: Any) -> list[str]:
    """Bodies that no joint but a free one holds."""
    free = import_module("mujoco").mjtJoint.mjJNT_FREE
    joints = (model.joint(i) for i in range(model.njnt))
    return [model.body(int(j.bodyid[0])).name for j in joints if int(j.type[0]) == int(free)]


def _hands(twin: Any) -> list[str]:
    """The body of each arm's hand."""
    name = import_module("sim.arm").body_name
    return [name(arm, "hand") for arm in twin.robot.arms]
