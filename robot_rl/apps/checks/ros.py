"""ROS 2: whether rclpy loads in this interpreter, and the traps around it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

APT_ROOT = Path("/opt/ros")
# Unpinned, pip resolves to kilted's rclpy 9, which does not fit jazzy's messages.
WHEELS = "pip install 'ros-rclpy[fastrtps]==7.1.6' ros-sensor-msgs==5.3.6 ros-std-srvs==5.3.6"


def check() -> list[Finding]:
    """One finding on ROS as this process would meet it."""
    return [_ros(os.environ)]


def _ros(environ: Mapping[str, str]) -> Finding:
    if find_spec("rclpy") is None:
        return _without_rclpy(environ)
    if not environ.get("AMENT_PREFIX_PATH"):
        # The wheels do not set it, and without it every look-up of a package or message fails.
        return Finding(
            name="ros",
            status="broken",
            detail="rclpy is there, but AMENT_PREFIX_PATH is not set",
            mend=f"export AMENT_PREFIX_PATH={sys.prefix} (apt ROS: source its setup.bash instead)",
        )
    failure = _import_failure()
    if failure:
        return Finding(
            name="ros",
            status="broken",
            detail=f"rclpy does not load: {failure}",
            mend="Use the Python that ROS was built for (jazzy: 3.12), or wheels in a new venv.",
        )
    distro = environ.get("ROS_DISTRO", "wheels")
    domain = environ.get("ROS_DOMAIN_ID", "0")
    return Finding(name="ros", status="ok", detail=f"rclpy loads ({distro}, domain {domain})")


def _without_rclpy(environ: Mapping[str, str]) -> Finding:
    if "_ROS_WHEELS_BOOTSTRAP_COMPLETE" in environ:
        return Finding(
            name="ros",
            status="broken",
            detail="started from another environment's ROS: its libraries would be loaded here",
            mend="unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH",
        )
    distros = sorted(path.name for path in APT_ROOT.glob("*") if (path / "setup.bash").exists())
    if distros:
        return Finding(
            name="ros",
            status="absent",
            detail=f"{APT_ROOT / distros[-1]} is installed, but not sourced",
            mend=f"source {APT_ROOT / distros[-1]}/setup.bash, with a venv of the same Python",
        )
    return Finding(
        name="ros",
        status="absent",
        detail="no rclpy; the twin and learning do without",
        mend=f"a robot needs it: {WHEELS}",
    )


def _import_failure() -> str:
    """Why a fresh interpreter cannot import rclpy; empty if it can."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import rclpy"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"died with code {done.returncode}"
