"""Cameras: USB video devices that the system lists, and RealSense devices where their SDK is."""

import importlib
import os
from importlib.util import find_spec
from pathlib import Path

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

DEV = Path("/dev")
SYS = Path("/sys/class/video4linux")


def check() -> list[Finding]:
    """All cameras that could be used; none is opened, so a running one is not disturbed."""
    return [_usb(), _realsense()]


def _usb() -> Finding:
    nodes = sorted(DEV.glob("video*"), key=lambda node: (len(node.name), node.name))
    if not nodes:
        return Finding(
            name="usb cameras",
            status="absent",
            detail="no /dev/video*",
            mend="Plug one in; in a container pass it on: --device /dev/video0",
        )
    names = ", ".join(f"{node} ({_camera_name(node)})" for node in nodes)
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            name="usb cameras",
            status="broken",
            detail=f"{names}; no permission for {', '.join(closed)}",
            mend='sudo usermod -aG video "$USER", then log in again',
        )
    return Finding(name="usb cameras", status="ok", detail=names)


def _camera_name(node: Path) -> str:
    try:
        return (SYS / node.name / "name").read_text().strip()
    except OSError:  # sysfs is not mounted in every container
        return "no name"


def _realsense() -> Finding:
    if find_spec("pyrealsense2") is None:
        return Finding(
            name="realsense",
            status="absent",
            detail="pyrealsense2 is not installed",
            mend="pip install pyrealsense2",
        )
    try:
        # By name: it tells type checkers nothing of what it holds.
        pyrealsense2 = importlib.import_module("pyrealsense2")
        devices = list(pyrealsense2.context().query_devices())
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(
            name="realsense",
            status="broken",
            detail=f"pyrealsense2 fails: {error}",
            mend="pip install --force-reinstall pyrealsense2, and install Intel's udev rules",
        )
    if not devices:
        return Finding(
            name="realsense",
            status="absent",
            detail="no device",
            mend="Plug one into a USB 3 port, and install Intel's udev rules.",
        )
    info = pyrealsense2.camera_info
    wanted = (info.name, info.serial_number, info.usb_type_descriptor)
    fields = [tuple(device.get_info(key) for key in wanted) for device in devices]
    detail = ", ".join(f"{name} {serial} on USB {usb}" for name, serial, usb in fields)
    if any(not usb.startswith("3") for _, _, usb in fields):
        return Finding(
            name="realsense",
            status="slow",
            detail=detail,
            mend="On USB 2 it drops frames: use a USB 3 port and cable.",
        )
    return Finding(name="realsense", status="ok", detail=detail)
