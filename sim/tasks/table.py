"""What all tasks of the twin are: arms above a table, success by poses, and what a seed hides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from robot_rl.control.franka import franka_arm
from robot_rl.env.state_fields import StateField
from robot_rl.env.task import Task
from robot_rl.types import F32, ArmSpec, RobotSpec, RobotState
from sim.arm import ArmLook

__all__ = ["TableTwin"]


@dataclass(frozen=True, kw_only=True)
class TableTwin(ABC):
    """A task above a table; the fields that each has, and some with another default.

    Attributes:
        gain_spread: Half range of the hidden drive gain, about 1.
        friction_spread: Half range of the hidden friction, about 1; 0 draws none.
        load_n: Half range of the hidden constant load on each hand, along each axis.
        step_m: Motion of an action of 1.
        horizon: Steps of an episode.
        arm_look: Our capsules, or the meshes of MuJoCo Menagerie.
    """

    tracked: ClassVar[tuple[str, ...]]
    signals: ClassVar[Mapping[str, int]] = {}

    name: str
    gain_spread: float = 0.2
    friction_spread: float = 0.2
    load_n: float = 5.0
    step_m: float = 0.015
    horizon: int = 100
    arm_look: ArmLook = "primitives"

    @cached_property
    def robot(self) -> RobotSpec:
        """See `Twin.robot`."""
        return RobotSpec(
            name=f"{self.name} twin",
            arms=self.arms(),
            tracked=self.tracked,
            signals=self.signals,
        )

    @abstractmethod
    def features(self, state: RobotState) -> F32:
        """(..., f): what the policy is told of the state, as the fields of the task name it."""

    @abstractmethod
    def achieved(self, state: RobotState) -> bool:
        """Whether it is done as long as this holds."""

    def arms(self) -> tuple[ArmSpec, ...]:
        """Of the robot: one Panda."""
        return (franka_arm(),)

    def describe(
        self,
        instruction: str,
        fields: tuple[StateField, ...],
        *,
        use_rotation: bool = False,
        use_gripper: bool = False,
    ) -> Task:
        """The task, at 20 Hz."""
        return Task(
            name=self.name,
            instruction=instruction,
            control_hz=20.0,
            horizon=self.horizon,
            hold_s=0.5,
            features=self.features,
            feature_dim=sum(field.size for field in fields),
            achieved=self.achieved,
            translation_step_m=self.step_m,
            use_rotation=use_rotation,
            use_gripper=use_gripper,
            fields=fields,
        )

    def hidden(self, rng: np.random.Generator) -> dict[str, Any]:
        """What no policy is told of an episode: these fields of its `Start`."""
        drawn: dict[str, Any] = {"drive_gain": 1 + rng.uniform(-1, 1) * self.gain_spread}
        if self.friction_spread:
            drawn["friction_gain"] = 1 + rng.uniform(-1, 1) * self.friction_spread
        return {**drawn, "load_n": rng.uniform(-1, 1, 3) * self.load_n}
