"""The usual unknowns of an arm, with the twin's own values as nominal.

motion → measurement → **parameters** → fit → posterior → twins drawn from it
"""

from collections.abc import Sequence
from typing import Literal, get_args

import mujoco

from robot_rl.errors import UnknownNameError
from robot_rl.types import ArmSpec
from sim.identify.parameters import Parameter, ParameterSet, nominal_parameter

__all__ = ["ARM_DEFAULT", "ArmUnknown", "arm_parameters"]

ArmUnknown = Literal["armature", "damping", "frictionloss", "kp", "kv", "encoder_bias", "delay"]
ARM_DEFAULT: tuple[ArmUnknown, ...] = ("armature", "damping", "frictionloss", "delay")
"""What motion in air tells once the drives' gains are known: positions alone fix only ratios."""

_BIAS_RAD = 0.02
_NOMINAL_DELAY_S, _MAX_DELAY_S = 0.01, 0.04


def arm_parameters(
    model: mujoco.MjModel,
    arms: Sequence[ArmSpec],
    unknowns: Sequence[ArmUnknown] = ARM_DEFAULT,
    *,
    factor: float = 4.0,
    prior_std: float | None = None,
) -> ParameterSet:
    """Parameters of every joint, named "<joint>.<quantity>", and one delay for all drives.

    Args:
        model: The nominal twin.
        arms: Whose joints; the drives are called like them.
        unknowns: What is to be found.
        factor: Bounds of armature, damping, friction and gains, above and below the nominal.
        prior_std: Of their logarithms (default: half the range).

    Raises:
        UnknownNameError: There is no such unknown.
    """
    known: tuple[str, ...] = get_args(ArmUnknown)
    for unknown in unknowns:
        if unknown not in known:
            raise UnknownNameError("unknown of an arm", unknown, known)
    joints = [name for arm in arms for name in arm.joint_names]
    found: list[Parameter] = []
    for quantity in known:
        if quantity not in unknowns:
            continue
        if quantity == "delay":
            least = float(model.opt.timestep)  # MuJoCo reads its history before writing to it
            found.append(
                Parameter(
                    name="delay",
                    quantity="delay",
                    targets=tuple(joints),
                    nominal=_NOMINAL_DELAY_S,
                    low=least,
                    high=_MAX_DELAY_S,
                )
            )
        elif quantity == "encoder_bias":
            found += [
                nominal_parameter(model, quantity, joint, low=-_BIAS_RAD, high=_BIAS_RAD)
                for joint in joints
            ]
        else:
            found += [
                nominal_parameter(model, quantity, joint, factor=factor, prior_std=prior_std)
                for joint in joints
            ]
    return ParameterSet(found)
