"""The usual unknowns of an arm, with the twin's own values as nominal.

motion → measurement → **parameters** → fit → posterior → twins drawn from it
"""

from collections.abc import Sequence
from typing import Literal, get_args

import mujoco

from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl.types import ArmSpec, RobotSpec
from sim.arm import DRIVE_STIFFNESS, add_arm
from sim.identify.parameters import Parameter, ParameterSet, nominal_parameter
from sim.scene import empty_scene

__all__ = ["ARM_DEFAULT", "WITH_GAINS", "ArmUnknown", "arm_parameters", "arm_scene", "soften"]

ArmUnknown = Literal["armature", "damping", "frictionloss", "kp", "kv", "encoder_bias", "delay"]
ARM_DEFAULT: tuple[ArmUnknown, ...] = ("armature", "damping", "frictionloss", "delay")
"""What motion in air tells once the drives' gains are known: positions alone fix only ratios."""
WITH_GAINS: tuple[ArmUnknown, ...] = ("armature", "damping", "frictionloss", "kp", "kv", "delay")
"""The same with gains that are not quite known, for motion that the first do not explain."""

_BIAS_RAD = 0.02
_GAIN_STD = 0.05  # data sheets know the gains of drives
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
        prior_std: Of their logarithms, gains aside (default: half the range). Gains are believed
            to 5 %: positions alone would fix only their ratios.

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
            std = _GAIN_STD if quantity in ("kp", "kv") else prior_std
            found += [
                nominal_parameter(model, quantity, joint, factor=factor, prior_std=std)
                for joint in joints
            ]
    return ParameterSet(found)


def arm_scene(robot: RobotSpec, share: float = 1.0) -> mujoco.MjSpec:
    """The nominal twin of a robot: its arms above a table, nothing else, and no contacts.

    Args:
        robot: Arms whose masses are a Panda's.
        share: Of the nominal gains of the drives, see `soften`.

    Raises:
        ConfigError: An arm has other joints than a Panda, or the share is not in (0, 1].
    """
    spec = empty_scene(f"{robot.name} alone")
    # Motions that identify keep clear of everything; looking for contacts costs half again.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    for arm in robot.arms:
        if arm.dof != len(DRIVE_STIFFNESS):
            raise ConfigError(
                f"arm '{arm.name}' has {arm.dof} joints, but the twin knows the masses of an arm "
                f"of {len(DRIVE_STIFFNESS)} (the Panda's). Fit its own MJCF with sim.identify.fit."
            )
        add_arm(spec, arm)
        soften(spec, arm.joint_names, share)
    return spec


def soften(spec: mujoco.MjSpec, joints: Sequence[str], share: float) -> None:
    """Scale stiffness and damping of some drives, as on an arm with adjustable impedance.

    Raises:
        ConfigError: The share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share of the drives' gains is {share}, but must be in (0, 1].")
    for joint in joints:
        drive = spec.actuator(joint)
        drive.gainprm[0] *= share
        for column in (1, 2):
            drive.biasprm[column] *= share
