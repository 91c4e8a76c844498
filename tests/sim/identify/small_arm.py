"""The nominal arm, short motions of it, and few unknowns: enough to fit in a second."""

import functools

import numpy as np

from sim.identify.arm import arm_parameters
from sim.identify.excitation import find_motion
from sim.identify.hidden import nominal_arm
from sim.identify.measurement import Measurement
from sim.identify.motion import ExcitationCfg, Motion
from sim.identify.parameters import ParameterSet
from sim.identify.play import play_motion

SHORT = ExcitationCfg(duration_s=2.5, rest_s=0.25, base_hz=0.6, harmonics=2, candidates=1)
JOINTS = ("arm_joint2", "arm_joint4")


@functools.cache
def unknowns() -> ParameterSet:
    """Armature, damping and friction of two joints, and the delay."""
    spec, robot = nominal_arm()
    every = arm_parameters(spec.compile(), robot.arms)
    chosen = [name for name in every.names if name == "delay" or name.startswith(JOINTS)]
    return every.subset(chosen)


@functools.cache
def short_motion(seed: int = 0) -> Motion:
    spec, robot = nominal_arm()
    return find_motion(spec, robot, None, SHORT, seed=seed)


def truth(seed: int = 0) -> np.ndarray:
    """Values of `unknowns` within a factor of two, and a delay of some milliseconds."""
    known = unknowns()
    values = known.nominal * np.exp(np.random.default_rng(seed).uniform(-0.7, 0.7, len(known)))
    values[known.index("delay")] = 0.0133
    return values


def measured(values: np.ndarray, motion: Motion, seed: int | None = 0) -> Measurement:
    """What an arm with these values does."""
    spec, robot = nominal_arm()
    unknowns().prepare(spec)
    model = spec.compile()
    unknowns().apply(model, values)
    return play_motion(model, robot, motion, seed=seed, source="small arm")
