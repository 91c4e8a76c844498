import importlib
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from robot_rl.clock import ManualClock, WallClock
from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.errors import ConfigError, NonFiniteError, RobotRLError, ShapeError, UnknownNameError
from robot_rl.types import Command

LEAVES = ("types", "errors", "clock", "geometry")
CONTROL = ("kinematics", "interpolate", "decode", "safety", "observe", "franka")
ENV = ("port", "task", "robot_env", "fake_port", "clauses", "conformance")
MODULES = [
    *(f"robot_rl.{name}" for name in LEAVES),
    *(f"robot_rl.control.{name}" for name in CONTROL),
    *(f"robot_rl.env.{name}" for name in ENV),
]


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist_once(module):
    loaded = importlib.import_module(module)
    assert len(loaded.__all__) == len(set(loaded.__all__))
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def test_the_control_code_of_the_arm_bridge_loads_nothing_heavy():
    names = ", ".join([f"robot_rl.{name}" for name in LEAVES])
    names += ", " + ", ".join(f"robot_rl.control.{name}" for name in CONTROL)
    heavy = "{'torch', 'mujoco', 'cv2', 'gymnasium', 'zarr', 'rclpy'}"
    code = f"import sys, {names}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_arm_without_a_finite_limit_cannot_be_built():
    arm = franka_arm()
    with pytest.raises(NonFiniteError, match="joint_velocity_limit_rad_s is not finite"):
        replace(arm, joint_velocity_limit_rad_s=np.full(7, np.inf))
    with pytest.raises(ShapeError, match=r"joint_upper_rad has shape \(6,\)"):
        replace(arm, joint_upper_rad=np.ones(6))
    with pytest.raises(ConfigError, match="must be finite and below"):
        replace(arm, workspace_lower_m=np.array([9.0, -1.0, 0.0]))
    with pytest.raises(TypeError, match="joint_velocity_limit_rad_s"):
        type(arm)(name="bare")


def test_a_robot_of_two_arms_counts_joints_and_grippers_over_both():
    spec = franka_like_spec(arms=(franka_arm("a"), replace(franka_arm("b"), gripper=None)))
    assert (spec.dof, spec.num_grippers) == (14, 1)


def test_a_command_is_checked_once_and_frozen():
    with pytest.raises(NonFiniteError, match="command is not finite"):
        Command(q_rad=np.array([0.0, np.nan]), gripper_m=np.zeros(1), stamp_s=0.0)
    command = Command(q_rad=np.zeros(2), gripper_m=np.zeros(1), stamp_s=0.0)
    with pytest.raises(FrozenInstanceError):
        command.stamp_s = 1.0  # type: ignore[misc]
    assert set(command.as_dict()) == {"q_rad", "gripper_m", "stamp_s"}


def test_every_error_is_of_the_one_root_and_tells_what_is_allowed():
    error = UnknownNameError("task", "pegg", ["push", "peg"])
    assert isinstance(error, RobotRLError) and isinstance(error, KeyError)
    assert str(error) == "unknown task 'pegg'. Available: peg, push."


def test_clocks_go_on_only():
    manual = ManualClock(2.0)
    manual.sleep_until(1.0)
    assert manual.now() == 2.0
    manual.sleep_until(3.5)
    assert manual.now() == 3.5
    wall = WallClock()
    start = wall.now()
    wall.sleep_until(start - 1.0)
    wall.sleep_until(start + 1e-3)
    assert wall.now() >= start + 1e-3
