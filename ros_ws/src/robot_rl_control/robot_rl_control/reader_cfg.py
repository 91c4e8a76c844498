"""Where each part of a robot's state comes from, and what its calibration adds to it.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.control.calibrated import RobotCalibration, load_calibration
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl.types import RobotSpec
from robot_rl_control import names

__all__ = ["GripperJoints", "StateReaderCfg"]


@dataclass(frozen=True, kw_only=True)
class GripperJoints:
    """How the joints of a gripper give its opening: offset plus scale times their sum."""

    joints: tuple[str, ...]
    """Their names."""
    topic: str = names.JOINT_STATES
    """JointState topic that reports them."""
    scale_m: float = 1.0
    """Opening [m] for each unit of the joints' sum (1 if it is the width, negative if closing
    counts upwards)."""
    offset_m: float = 0.0
    """Opening [m] at a sum of zero."""

    def __post_init__(self) -> None:
        """Refuse what gives no opening."""
        if not self.joints or not np.isfinite([self.scale_m, self.offset_m]).all():
            raise ConfigError(
                f"gripper joints {self.joints} with scale_m {self.scale_m} and offset_m "
                f"{self.offset_m}: name at least one joint, and give finite numbers."
            )


@dataclass(frozen=True, kw_only=True)
class StateReaderCfg:
    """Where each part of the state comes from."""

    joint_topics: Mapping[str, str] = field(default_factory=dict)
    """JointState topic by arm; an arm that is not named reports in `joint_states`."""
    grippers: Mapping[str, GripperJoints] = field(default_factory=dict)
    """By arm; an arm that is not named reports its width [m] as the joint `<arm>_gripper`."""
    image_topics: Mapping[str, str] = field(default_factory=dict)
    """By camera; a camera that is not named is read from `<camera>/color/image_raw`. Topics
    ending in `/compressed` carry JPEG."""
    calibration: RobotCalibration | None = None
    """Adds its joint offsets, and takes the delays of cameras off their stamps."""

    @classmethod
    def of_robot(cls, file: RobotFile) -> "StateReaderCfg":
        """Where the drivers of a robot file report, and the calibration that it names.

        Raises:
            ConfigError: That calibration cannot be applied.
        """
        grippers = {}
        for arm, driver in zip(file.spec.arms, file.drivers, strict=True):
            if (gripper := driver.gripper) is not None:
                share_m = gripper.state_m_per_unit
                grippers[arm.name] = GripperJoints(
                    topic=gripper.state_topic,
                    joints=gripper.state_joints,
                    scale_m=share_m,
                    offset_m=-share_m * gripper.state_closed * len(gripper.state_joints),
                )
        topics = {
            arm.name: driver.joint_states
            for arm, driver in zip(file.spec.arms, file.drivers, strict=True)
        }
        return cls(joint_topics=topics, grippers=grippers, calibration=load_calibration(file))

    def check(self, spec: RobotSpec) -> None:
        """Refuse names that the robot does not have.

        Raises:
            UnknownNameError: An arm or camera is not its.
        """
        _check_names("arm", self.joint_topics, [arm.name for arm in spec.arms])
        _check_names("arm", self.grippers, [arm.name for arm in spec.arms if arm.gripper])
        _check_names("camera", self.image_topics, [camera.name for camera in spec.cameras])

    def delay_s(self, camera: str) -> float:
        """How much later a camera's images are stamped than what they show; 0 if not measured."""
        place = self.calibration.cameras.get(camera) if self.calibration else None
        return place.delay_s if place else 0.0


def _check_names(kind: str, given: Iterable[Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownNameError(kind, name, known)
