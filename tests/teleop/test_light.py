"""Teleoperation loads neither learning nor ROS: it runs beside the arm."""

import json
import pkgutil
import subprocess
import sys

import robot_rl.teleop


def test_no_teleop_module_loads_torch_ros_the_twin_or_pygame():
    found = pkgutil.walk_packages(robot_rl.teleop.__path__, "robot_rl.teleop.")
    names = [module.name for module in found] + ["robot_rl.apps.record"]
    code = f"import {', '.join(names)}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"torch", "rclpy", "mujoco", "sim", "pygame"})
