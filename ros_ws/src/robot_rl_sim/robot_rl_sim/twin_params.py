"""What the twin node is told: its task, rates and cameras, and the faults it shall have.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send
"""

from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl.types import CameraSpec
from sim.scene import CAMERA_NAMES
from sim.tasks import TASKS

__all__ = ["FAULT", "TwinParams"]

FAULT = "fault_"
"""Parameters so named may be set while the node runs; all others only when it starts."""
_TICK_HZ = 100.0


@dataclass(frozen=True, kw_only=True)
class TwinParams:
    """Parameters of the twin node."""

    task: str
    """Scene: a task of the twin."""
    seed: int = 0
    """Of the first scene, and of noise and faults."""
    rate_hz: float = 100.0
    """Of joint states, tracked poses and signals; rounded to whole ticks of 10 ms."""
    delay_s: float = 0.0
    """How long a command travels to the drives."""
    joint_noise_rad: float = 0.0
    """Standard deviation of the noise of measured joints."""
    joint_offset_rad: tuple[float, ...] = ()
    """Where each joint stands minus what it reports and is told; empty for none."""
    camera_delay_s: float = 0.0
    """How much later images are stamped than the joints that they show."""
    command_timeout_s: float = 0.25
    """Silence of the commands after which the drives brake and hold."""
    cameras: str = ""
    """Names of cameras, separated by commas."""
    camera_width_px: int = 640
    """Width of images."""
    camera_height_px: int = 480
    """Height of images."""
    camera_rate_hz: float = 30.0
    """Images a second of each camera, as far as this machine can render them."""
    fault_frozen_cameras: str = ""
    """Cameras, separated by commas, that repeat their last image with its old stamp."""
    fault_dropped_share: float = 0.0
    """Share of joint states that are lost."""
    fault_frozen_stamps: bool = False
    """Whether joint states keep the stamp that they had when this was set."""
    fault_latency_s: float = 0.0
    """How much later everything is published than it was measured."""
    fault_jitter_s: float = 0.0
    """Greatest further, random delay of each message; messages may overtake each other."""

    def __post_init__(self) -> None:
        """Refuse unknown names and values out of their range."""
        if self.task not in TASKS:
            raise UnknownNameError("task", self.task, TASKS)
        for name in (*self.camera_names, *self.frozen):
            if name not in CAMERA_NAMES:
                raise UnknownNameError("camera", name, CAMERA_NAMES)
        if not 1.0 <= self.rate_hz <= _TICK_HZ:
            raise ConfigError(f"rate_hz is {self.rate_hz}, but must be in 1 to {_TICK_HZ}.")
        if not (self.camera_rate_hz > 0 and min(self.camera_width_px, self.camera_height_px) > 0):
            raise ConfigError(
                f"cameras of {self.camera_width_px} x {self.camera_height_px} px at "
                f"{self.camera_rate_hz} Hz; all three must be positive."
            )
        if not 0.0 <= self.fault_dropped_share <= 1.0:
            raise ConfigError(
                f"fault_dropped_share is {self.fault_dropped_share}, but must be in 0 to 1."
            )
        if not np.isfinite(self.joint_offset_rad).all():
            raise ConfigError(
                f"joint_offset_rad is {self.joint_offset_rad}, but must be finite numbers."
            )
        for key in (
            "delay_s",
            "joint_noise_rad",
            "camera_delay_s",
            "fault_latency_s",
            "fault_jitter_s",
        ):
            value = getattr(self, key)
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{key} is {value}, but must be at least 0.")

    @property
    def ticks_a_state(self) -> int:
        """Ticks of 10 ms from one joint state to the next."""
        return max(1, round(_TICK_HZ / self.rate_hz))

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras that are rendered."""
        return _listed(self.cameras)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The cameras that repeat themselves."""
        return _listed(self.fault_frozen_cameras)

    @property
    def camera_specs(self) -> tuple[CameraSpec, ...]:
        """The cameras, each with its size and rate."""
        return tuple(
            CameraSpec(
                name=name,
                width_px=self.camera_width_px,
                height_px=self.camera_height_px,
                rate_hz=self.camera_rate_hz,
            )
            for name in self.camera_names
        )


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
