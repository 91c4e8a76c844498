"""HID devices by the kernel's own hidraw files: found through sysfs, read without any library.

command:   **person → device** → mapping → decode → safety → send
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from robot_rl.errors import PortError

__all__ = ["HidFile", "HidNode", "ReadsReports", "find_hid"]

_LONGEST_REPORT = 256


@dataclass(frozen=True, kw_only=True)
class HidNode:
    """One hidraw file and what it belongs to."""

    path: Path
    vendor: int
    product: int
    name: str


class ReadsReports(Protocol):
    """Where HID reports come from: a device file, or a recording of one."""

    def reports(self) -> list[bytes]:
        """Every report since the last call, oldest first; never waits."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


def find_hid(
    ids: Collection[tuple[int, int]],
    *,
    sysfs: Path = Path("/sys/class/hidraw"),
    dev: Path = Path("/dev"),
) -> list[HidNode]:
    """HID files whose (vendor, product) is one of `ids`, by the name of their file."""
    found = []
    for folder in sorted(sysfs.glob("hidraw*")):
        try:
            lines = (folder / "device" / "uevent").read_text().splitlines()
        except OSError:
            continue  # unplugged in this moment
        facts = dict(line.split("=", 1) for line in lines if "=" in line)
        bus_vendor_product = facts.get("HID_ID", "").split(":")  # 0003:0000256F:0000C635
        if len(bus_vendor_product) != 3:
            continue
        vendor, product = (int(part, 16) for part in bus_vendor_product[1:])
        if (vendor, product) in ids:
            name = facts.get("HID_NAME", "HID device")
            found.append(
                HidNode(path=dev / folder.name, vendor=vendor, product=product, name=name)
            )
    return found


class HidFile:
    """An open hidraw file."""

    def __init__(self, node: HidNode) -> None:
        """Open it.

        Raises:
            PortError: It may not be read, or it has gone.
        """
        self._node = node
        try:
            self._fd = os.open(node.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            raise PortError(
                f"{node.name} is there, but {node.path} may not be read. Once, as root: echo "
                f'\'KERNEL=="hidraw*", ATTRS{{idVendor}}=="{node.vendor:04x}", '
                'MODE="0660", TAG+="uaccess"\' > /etc/udev/rules.d/70-teleop.rules, then '
                "plug it in again."
            ) from error
        except OSError as error:
            raise PortError(f"{node.path}: {error}. Plug the {node.name} in again.") from error

    def reports(self) -> list[bytes]:
        """See `ReadsReports.reports`.

        Raises:
            PortError: It was unplugged.
        """
        found = []
        try:
            while report := os.read(self._fd, _LONGEST_REPORT):
                found.append(report)
        except BlockingIOError:
            pass  # nothing more for now
        except OSError as error:
            raise PortError(f"the {self._node.name} has gone ({error}). Plug it in.") from error
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
