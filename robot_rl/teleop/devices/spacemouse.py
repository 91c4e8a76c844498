"""A SpaceMouse: six axes from its own HID reports.

command:   **person → device** → mapping → decode → safety → send

The cap's axes are right, towards the person and down; the robot's are forward, left and up. Both
are right-handed, so translation and rotation turn alike.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, PortError
from robot_rl.teleop.devices.device import Sample
from robot_rl.teleop.devices.gamepad import past_dead_zone
from robot_rl.teleop.devices.hidraw import HidFile, ReadsReports, find_hid
from robot_rl.types import F64

__all__ = ["PRODUCTS", "SpaceMouse", "SpaceMouseCfg", "SpaceReports"]

PRODUCTS = {
    (0x046D, 0xC626): "SpaceNavigator",
    (0x046D, 0xC628): "SpaceNavigator for Notebooks",
    (0x046D, 0xC62B): "SpaceMouse Pro",
    (0x256F, 0xC62E): "SpaceMouse Wireless (cable)",
    (0x256F, 0xC62F): "SpaceMouse Wireless (receiver)",
    (0x256F, 0xC631): "SpaceMouse Pro Wireless (cable)",
    (0x256F, 0xC632): "SpaceMouse Pro Wireless (receiver)",
    (0x256F, 0xC633): "SpaceMouse Enterprise",
    (0x256F, 0xC635): "SpaceMouse Compact",
    (0x256F, 0xC652): "universal receiver",
}
"""(vendor, product) of the models; vendor 256f is 3Dconnexion, 046d Logitech, its former owner."""

_FULL = 350.0  # what the cap gives at its end
_TRANSLATION, _ROTATION, _BUTTONS = 1, 2, 3  # report ids
_INTO_BASE = (1, 0, 2, 4, 3, 5)  # the cap's axis for each of ours; all with the sign turned


class SpaceReports:
    """What the cap and the buttons say, from one report after another."""

    def __init__(self) -> None:
        self._cap = np.zeros(6)  # right, towards the person, down; then about those axes
        self.buttons = 0

    def take(self, report: bytes) -> bool:
        """Decode one report; False if it is about something else, such as the battery."""
        kind, body = (report[0], report[1:]) if report else (0, b"")
        if kind == _TRANSLATION and len(body) >= 12:  # wireless models send all six at once
            self._cap[:] = struct.unpack_from("<6h", body)
        elif kind == _TRANSLATION and len(body) >= 6:
            self._cap[:3] = struct.unpack_from("<3h", body)
        elif kind == _ROTATION and len(body) >= 6:
            self._cap[3:] = struct.unpack_from("<3h", body)
        elif kind == _BUTTONS and body:
            self.buttons = int.from_bytes(body[:4], "little")
        else:
            return False
        return True

    @property
    def twist(self) -> F64:
        """(6,) deflection as shares: forward, left, up, and rotations about those."""
        share = -self._cap[list(_INTO_BASE)] / _FULL
        return np.minimum(np.maximum(share, -1.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class SpaceMouseCfg:
    """How a SpaceMouse is read."""

    dead_zone: float = 0.08
    """Share of the cap's way that counts as the middle."""

    def __post_init__(self) -> None:
        """Refuse a zone that leaves no way."""
        if not 0.0 <= self.dead_zone < 1.0:
            raise ConfigError(
                f"SpaceMouse: dead_zone is {self.dead_zone} and must be within 0 and 1."
            )


class SpaceMouse:
    """The cap moves, and letting it go is letting the clutch go; buttons: gripper, other arm."""

    name = "spacemouse"

    def __init__(
        self,
        cfg: SpaceMouseCfg | None = None,
        *,
        arms: int = 1,
        source: ReadsReports | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the first SpaceMouse there is, or `source`, for a robot with `arms` arms."""
        self._cfg, self._arms, self._clock = cfg or SpaceMouseCfg(), arms, clock
        self._source = source
        self._decoded = SpaceReports()
        self._arm = 0

    def open(self) -> None:
        """See `Device.open`."""
        if self._source is not None:
            return
        nodes = find_hid(PRODUCTS.keys())
        if not nodes:
            raise PortError(
                "no SpaceMouse is there. Plug one in; `lsusb` must show 3Dconnexion. In a "
                "container, pass /dev/hidraw* on."
            )
        self._source = HidFile(nodes[0])

    def read(self) -> Sample:
        """See `Device.read`."""
        if self._source is None:
            raise PortError("the SpaceMouse is not open. Call open() first.")
        pressed = 0
        for report in self._source.reports():
            before = self._decoded.buttons
            if self._decoded.take(report):
                pressed |= self._decoded.buttons & ~before
        if pressed & 2:
            self._arm = (self._arm + 1) % self._arms
        twist = past_dead_zone(self._decoded.twist, self._cfg.dead_zone)
        return Sample(
            stamp_s=self._clock(),
            twist=twist,
            toggles_gripper=bool(pressed & 1),
            arm=self._arm,
            active=bool(twist.any()) or bool(self._decoded.buttons & 1),
        )

    def close(self) -> None:
        """See `Device.close`."""
        if self._source is not None:
            self._source.close()
            self._source = None
