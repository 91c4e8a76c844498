"""Imports stay light: a laptop needs no ROS, a robot workstation needs no renderer."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "mujoco", "cv2", "rclpy", "pyrealsense2", "matplotlib", "zarr", "gymnasium")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "module",
    ["robot_rl", "robot_rl.types", "robot_rl.errors", "robot_rl.clock", "robot_rl.env.port"],
)
def test_leaf_modules_load_nothing_heavy(module):
    assert loaded_after(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["sim", "calibration"])
def test_packages_load_nothing_heavy(module):
    assert loaded_after(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["robot_rl.env.task", "robot_rl.replay.trajectory"])
def test_the_library_knows_neither_simulator_nor_ros(module):
    assert loaded_after(f"import {module}").isdisjoint({"mujoco", "sim", "rclpy", "torch"})


def test_every_module_imports_where_there_is_no_ros_no_camera_and_no_gamepad():
    absent = ("rclpy", "sensor_msgs", "std_msgs", "launch_ros", "pyrealsense2", "pygame")
    code = (
        "import importlib, pkgutil, sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"  # None: importing it is an ImportError
        "import calibration, robot_rl, sim\n"
        "for package in (robot_rl, sim, calibration):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
