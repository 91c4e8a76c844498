"""ROS 2: whether rclpy loads in this interpreter, over what transport, and the traps around it."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

APT_ROOT = Path("/opt/ros")
PROFILE = "robot_rl_bringup's config/fastdds.xml"
PROFILE_VARIABLE = {"jazzy": "FASTRTPS_DEFAULT_PROFILES_FILE"}  # of all others:
NEW_PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
DISTRO_OF_RCLPY = {"7": "jazzy", "9": "kilted"}


def check() -> list[Finding]:
    """ROS as this process would meet it, and how its messages would travel."""
    if find_spec("rclpy") is None:
        return [_without_rclpy(os.environ)]
    told = _load(os.environ)
    if isinstance(told, str):
        return [_not_loading(told)]
    ros = _ros(os.environ, told["distro"])
    return [ros, _transport(os.environ, told["distro"], told["rmw"])]


def _load(environ: Mapping[str, str]) -> dict[str, str] | str:
    """Distro and middleware of rclpy in a fresh interpreter, or why it does not load."""
    code = (
        "import json, rclpy\nprint(json.dumps({'rmw': rclpy.get_rmw_implementation_identifier()}))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"AMENT_PREFIX_PATH": sys.prefix} | dict(environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"died with code {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"distro": _distro(environ)}


def _distro(environ: Mapping[str, str]) -> str:
    if environ.get("ROS_DISTRO"):
        return environ["ROS_DISTRO"]
    try:
        return DISTRO_OF_RCLPY.get(version("ros-rclpy").split(".")[0], "unknown")
    except PackageNotFoundError:
        return "unknown"


def _not_loading(failure: str) -> Finding:
    return Finding(
        name="ros",
        status="broken",
        detail=f"rclpy does not load: {failure}",
        mend="Use the Python that ROS was built for (jazzy: 3.12), or wheels in a new venv.",
    )


def _ros(environ: Mapping[str, str], distro: str) -> Finding:
    domain = environ.get("ROS_DOMAIN_ID", "0")
    reach = environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    source = "installed" if environ.get("ROS_DISTRO") else "wheels"
    detail = f"rclpy loads ({distro}, {source}), domain {domain}, discovery {reach}"
    if environ.get("AMENT_PREFIX_PATH"):
        return Finding(name="ros", status="ok", detail=detail)
    # The wheels do not set it, and without it every look-up of a package or message fails.
    return Finding(
        name="ros",
        status="slow",
        detail=f"{detail}; AMENT_PREFIX_PATH is not set: only robot-rl, which sets it, will work",
        mend=f"export AMENT_PREFIX_PATH={sys.prefix} (apt ROS: source its setup.bash instead)",
    )


def _transport(environ: Mapping[str, str], distro: str, rmw: str) -> Finding:
    """The middleware, and whether its shared memory holds an image."""
    if "fastrtps" not in rmw:
        return Finding(
            name="ros transport",
            status="slow",
            detail=f"{rmw}: not what robot_rl is tested with",
            mend="export RMW_IMPLEMENTATION=rmw_fastrtps_cpp, on every machine and node alike",
        )
    variable = PROFILE_VARIABLE.get(distro, NEW_PROFILE_VARIABLE)
    profile = environ.get(variable)
    if not profile:
        other = {*PROFILE_VARIABLE.values(), NEW_PROFILE_VARIABLE} - {variable}
        ignored = [name for name in sorted(other) if environ.get(name)]
        said = f" ({ignored[0]} is set, but {distro} ignores it)" if ignored else ""
        return Finding(
            name="ros transport",
            status="absent",
            detail=f"{rmw} without a profile{said}: of images above 0.5 MB three in four are lost",
            mend="Our launch files set one for what they start. For a camera driver started "
            f"elsewhere: export {variable}=<path of {PROFILE}>",
        )
    try:
        segments = ElementTree.parse(profile).iter()
        sizes = [int(e.text or 0) for e in segments if e.tag.endswith("segment_size")]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return Finding(
            name="ros transport",
            status="broken",
            detail=f"{variable} names {profile}, which cannot be read: {error}",
            mend=f"export {variable}=<path of {PROFILE}>",
        )
    if not sizes:
        return Finding(
            name="ros transport",
            status="slow",
            detail=f"{rmw} with {profile}, which leaves shared memory at 0.5 MB",
            mend=f"Give it a larger segment_size, as in {PROFILE}",
        )
    detail = f"{rmw} with {profile}: {max(sizes) / 2**20:.0f} MB of shared memory a process"
    return Finding(name="ros transport", status="ok", detail=detail)


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
        mend="a robot needs it: apt's ROS 2 Jazzy, or the wheels: pip install 'robot-rl[ros]'",
    )
