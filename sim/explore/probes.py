"""What is to be found out on which task, how it may be probed, and which knobs the answer turns.

explore:   **believed twins → motion → measurement** → fit → posterior → **task policy**
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from robot_rl.errors import UnknownNameError
from robot_rl.types import F32, F64, RobotState
from sim.explore.channels import Channel
from sim.explore.motions import Motion, Pull, Stroke
from sim.explore.rehearsal import Rehearsal
from sim.identify.parameters import ParameterSet, nominal_parameter
from sim.randomize import RandomForces
from sim.tasks import make_twin
from sim.twin import Start, Twin

__all__ = ["PROBES", "Probe", "Skill", "find_probe"]

_XY_STD_M, _YAW_STD_RAD = 0.002, np.deg2rad(1.0)  # of a tracker of tags
_JOINT_STD_RAD, _SLIDE_STD_M = 3e-4, 0.001

_SHOT = Stroke(
    forward=(0.0, 1.0),
    step_m=0.05,
    aside_m=0.01,
    heading_rad=0.2,
    speed_m_s=(0.2, 0.9),
    travel_m=(0.03, 0.14),
    aside_steps=3,
    rest_steps=20,
)
_TABLE_M = (0.35, -0.3, 0.75, 0.45)


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A scripted policy with a few knobs, which are tuned in believed twins.

    Attributes:
        names: Of the knobs, with their units.
        low, high: Their bounds.
        act: From the twin, knobs (n, k) and the state of n robots to actions (n, a).
        miss: How far from success a state is (n,); below 1 is success.
        hurry: What of a success is lost if it takes all the time there is.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    act: Callable[[Any, F64, RobotState], F32]
    miss: Callable[[Any, RobotState], F64]
    hurry: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One unknown world.

    Attributes:
        task: Name of the task.
        difficulty: Fields of the task that differ from its defaults.
        unknown: (quantity, target or targets that share it, least, greatest) of each parameter.
        channels: What is measured.
        motion: How it may be probed.
        reach_m: Box (least x, y and greatest x, y) that the object may not leave; () for none.
        skill: The task policy; None where only the parameters are wanted.
        forces: What to inject where forces stand for randomisation.
    """

    task: str
    difficulty: dict[str, Any]
    unknown: tuple[tuple[str, str | tuple[str, ...], float, float], ...]
    channels: tuple[Channel, ...]
    motion: Motion
    reach_m: tuple[float, float, float, float] | tuple[()] = ()
    skill: Skill | None = None
    forces: RandomForces | None = None

    @cached_property
    def twin(self) -> Twin:
        """The task in its nominal twin."""
        return make_twin(self.task, **self.difficulty)

    @cached_property
    def parameters(self) -> ParameterSet:
        """What is unknown, with the twin's own values as nominal."""
        model = self.twin.build().compile()
        return ParameterSet(
            [
                nominal_parameter(model, quantity, target, low=low, high=high)
                for quantity, target, low, high in self.unknown
            ]
        )

    def rehearsal(self, rows: int = 128) -> Rehearsal:
        """Twins to rehearse in."""
        return Rehearsal(self.twin, self.parameters, self.channels, rows=rows)

    def start(self, seed: int = 0) -> Start:
        """Where a motion is rehearsed from: a start of the task, without its hidden dynamics."""
        drawn = self.twin.draw(np.random.default_rng(seed))
        return Start(
            q_rad=drawn.q_rad,
            gripper_m=drawn.gripper_m,
            poses=drawn.poses,
            joints=drawn.joints,
        )

    def is_safe(self, last: F64) -> np.ndarray:
        """Whether what is measured at the end (..., m), places first, is within reach."""
        if not self.reach_m:
            return np.ones(last.shape[:-1], bool)
        low, high = np.reshape(self.reach_m, (2, 2))
        return np.asarray(((last[..., :2] >= low) & (last[..., :2] <= high)).all(-1))


def _slide() -> Probe:
    return Probe(
        task="slide",
        difficulty={},
        unknown=(("friction", "puck", 0.06, 0.24),),
        channels=(Channel(kind="xy", name="puck", std=_XY_STD_M),),
        motion=_SHOT,
        reach_m=_TABLE_M,
        skill=Skill(
            names=("friction",),
            low=(0.04,),
            high=(0.3,),
            act=lambda twin, x, state: twin.shoot(state, x[:, 0]),
            miss=lambda twin, state: twin.miss(state),
        ),
        forces=RandomForces(force_n={"puck": 0.2}),
    )


def _rod() -> Probe:
    return Probe(
        task="rod",
        difficulty={},
        unknown=(("com_y", "rod", -0.08, 0.08), ("friction", "rod", 0.15, 0.6)),
        channels=(
            Channel(kind="xy", name="rod", std=_XY_STD_M),
            Channel(kind="yaw", name="rod", std=_YAW_STD_RAD),
        ),
        motion=Stroke(
            forward=(1.0, 0.0),
            step_m=0.015,
            aside_m=0.12,
            heading_rad=0.5,
            speed_m_s=(0.12, 0.3),
            travel_m=(0.03, 0.14),
            rest_steps=8,
        ),
        reach_m=(0.3, -0.3, 0.75, 0.3),
        skill=Skill(
            names=("contact_m",),
            low=(-0.11,),
            high=(0.11,),
            act=lambda twin, x, state: twin.push(state, x[:, 0], 0.012),
            miss=lambda twin, state: twin.miss(state),
        ),
        forces=RandomForces(force_n={"rod": 0.7}),
    )


def _drawer() -> Probe:
    return Probe(
        task="drawer",
        # The motion is blind, so that cabinet and tool must be where it expects them.
        difficulty={
            "cabinet_range_m": 0.0,
            "start_range_m": 0.0,
            "start_height_m": (0.2, 0.2),
            "load_n": 1.0,
            "gain_spread": 0.05,
        },
        unknown=(("frictionloss", "drawer", 0.5, 12.0), ("damping", "drawer", 2.0, 60.0)),
        channels=(
            Channel(kind="signal", name="drawer", std=_SLIDE_STD_M),
            Channel(kind="joints", std=_JOINT_STD_RAD),
        ),
        motion=Pull(
            approach_m=(0.0995, 0.0, -0.125),
            axis=(-1.0, 0.0, 0.0),
            step_m=0.015,
            speed_m_s=(0.02, 0.14),
        ),
    )


def _heavy() -> Probe:
    """A puck of unknown weight: how far the arm lags when it pushes, and how far the puck goes."""
    return Probe(
        task="slide",
        difficulty={"puck_mass_kg": 3.0, "load_n": 1.0},
        unknown=(("mass", "puck", 1.0, 8.0), ("friction", "puck", 0.08, 0.24)),
        channels=(
            Channel(kind="xy", name="puck", std=_XY_STD_M),
            Channel(kind="joints", std=_JOINT_STD_RAD),
        ),
        motion=_SHOT,
        reach_m=_TABLE_M,
    )


def _peg() -> Probe:
    """A peg on an arm that hears late: how hurried may it be?"""
    joints = tuple(f"arm_joint{i}" for i in range(1, 8))
    return Probe(
        task="peg",
        difficulty={"gain_spread": 0.03, "load_n": 1.0, "horizon": 60},
        unknown=(("delay", joints, 0.0, 0.12),),
        channels=(Channel(kind="joints", std=_JOINT_STD_RAD),),
        motion=Stroke(
            forward=(1.0, 0.0),
            step_m=0.005,
            aside_m=0.02,
            heading_rad=0.5,
            speed_m_s=(0.03, 0.1),
            travel_m=(0.01, 0.03),
            rest_steps=6,
        ),
        skill=Skill(
            names=("gain", "approach"),
            low=(0.08, 0.1),
            high=(1.0, 1.0),
            act=lambda twin, x, state: twin.insert(state, x[:, 0], x[:, 1]),
            miss=lambda twin, state: twin.miss(state),
            hurry=0.3,
        ),
        forces=RandomForces(force_n={"arm/hand": 5.0}),
    )


PROBES: dict[str, Callable[[], Probe]] = {
    "slide": _slide,
    "heavy": _heavy,
    "rod": _rod,
    "drawer": _drawer,
    "peg": _peg,
}
"""What can be explored, by name."""


def find_probe(name: str) -> Probe:
    """The probe of a name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in PROBES:
        raise UnknownNameError("probe", name, PROBES)
    return PROBES[name]()
