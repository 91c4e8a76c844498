from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.driver_cfg import GripperDriverCfg
from robot_rl.control.franka import franka_arm
from robot_rl.control.kinematics import forward, solve_ik
from robot_rl.control.robot_file import load_robot
from robot_rl.errors import ConfigError

ROBOTS = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots"
FILES = sorted(ROBOTS.glob("*.yaml"))
TWIN = (ROBOTS / "twin.yaml").read_text()
HALF = np.pi / 2

# Origins of the joints as the vendors' URDF descriptions give them: xyz [m], rpy [rad], and of the
# flange last. Refs: franka_description, Universal_Robots_ROS2_Description, xarm_description.
ORIGINS = {
    "fr3": [
        ((0, 0, 0.333), (0, 0, 0)),
        ((0, 0, 0), (-HALF, 0, 0)),
        ((0, -0.316, 0), (HALF, 0, 0)),
        ((0.0825, 0, 0), (HALF, 0, 0)),
        ((-0.0825, 0.384, 0), (-HALF, 0, 0)),
        ((0, 0, 0), (HALF, 0, 0)),
        ((0.088, 0, 0), (HALF, 0, 0)),
        ((0, 0, 0.107), (0, 0, 0)),
    ],
    "ur5e": [
        ((0, 0, 0.1625), (0, 0, 0)),
        ((0, 0, 0), (HALF, 0, 0)),
        ((-0.425, 0, 0), (0, 0, 0)),
        ((-0.3922, 0, 0.1333), (0, 0, 0)),
        ((0, -0.0997, 0), (HALF, 0, 0)),
        ((0, 0.0996, 0), (HALF, np.pi, np.pi)),
        ((0, 0, 0), (0, 0, 0)),
    ],
    "xarm7": [
        ((0, 0, 0.267), (0, 0, 0)),
        ((0, 0, 0), (-HALF, 0, 0)),
        ((0, -0.293, 0), (HALF, 0, 0)),
        ((0.0525, 0, 0), (HALF, 0, 0)),
        ((0.0775, -0.3425, 0), (HALF, 0, 0)),
        ((0, 0, 0), (HALF, 0, 0)),
        ((0.076, 0.097, 0), (-HALF, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
}
# Flange at all joints zero, as data sheets and controllers show it: x, y, z [m].
ZERO = {
    "fr3": (0.088, 0.0, 0.926),
    "ur5e": (-0.8172, -0.2329, 0.0628),
    "xarm7": (0.206, 0.0, 0.1205),
}


def about(axis, angle):
    """Rotation (3, 3) about axis 0, 1 or 2."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[i, i] = R[j, j] = c
    R[i, j], R[j, i] = -s, s
    return R


def chain(origins, q):
    """Flange (4, 4) from URDF origins, by nothing but their definition."""
    T = np.eye(4)
    for (xyz, (roll, pitch, yaw)), angle in zip(origins, [*q, 0.0], strict=True):
        step = np.eye(4)
        step[:3, :3] = about(2, yaw) @ about(1, pitch) @ about(0, roll)
        step[:3, 3] = xyz
        turn = np.eye(4)
        turn[:3, :3] = about(2, angle)
        T = T @ step @ turn
    return T


def flange(robot, arm, q):
    """Flange (4, 4) of an arm: its tool, brought back by the tool's own transform."""
    tip = np.eye(4)
    if robot == "fr3":
        tip[2, 3] = 0.107  # the frame of joint 7 is not the flange
    return forward(arm, q) @ np.linalg.inv(arm.T_flange_tcp) @ tip


def load(text, tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    return load_robot(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_robot_file_loads_and_its_arms_reach_around_home(path):
    robot = load_robot(path)
    rng = np.random.default_rng(0)
    for arm in robot.spec.arms:
        for _ in range(20):
            q = np.clip(
                arm.home_rad + rng.uniform(-0.4, 0.4, arm.dof),
                arm.joint_lower_rad,
                arm.joint_upper_rad,
            )
            target = forward(arm, q)
            found, ok = solve_ik(arm, target, arm.home_rad, iterations=30)
            assert ok
            np.testing.assert_allclose(forward(arm, found), target, atol=2e-3)


@pytest.mark.parametrize("robot", ZERO)
def test_kinematics_agree_with_the_pose_that_the_vendor_publishes(robot):
    arm = load_robot(ROBOTS / f"{robot}.yaml").spec.arms[0]
    np.testing.assert_allclose(
        flange(robot, arm, np.zeros(arm.dof))[:3, 3], ZERO[robot], atol=1e-9
    )


@pytest.mark.parametrize("robot", ORIGINS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_kinematics_agree_with_the_vendors_description_everywhere(robot, seed):
    arm = load_robot(ROBOTS / f"{robot}.yaml").spec.arms[0]
    q = np.random.default_rng(seed).uniform(arm.joint_lower_rad, arm.joint_upper_rad)
    np.testing.assert_allclose(flange(robot, arm, q), chain(ORIGINS[robot], q), atol=1e-9)


def same_arm(arm, other):
    for key in arm.__dataclass_fields__:
        mine, theirs = getattr(arm, key), getattr(other, key)
        if isinstance(mine, np.ndarray):
            np.testing.assert_allclose(mine, theirs, atol=1e-15, err_msg=key)
        else:
            assert mine == theirs, key


def test_the_twins_file_is_the_arm_of_the_simulation():
    robot = load_robot(ROBOTS / "twin.yaml")
    same_arm(robot.spec.arms[0], franka_arm())
    assert robot.drivers[0].command.topic == "forward_position_controller/commands"
    assert robot.drivers[0].gripper.topic == "gripper_controller/commands"


def test_the_bimanual_file_is_the_two_arms_of_the_simulation():
    pytest.importorskip("mujoco")
    from sim.tasks.bimanual_lift import BimanualLiftTwin

    robot = load_robot(ROBOTS / "twin_bimanual.yaml")
    for arm, other in zip(robot.spec.arms, BimanualLiftTwin().robot.arms, strict=True):
        same_arm(arm, other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("workspace_lower_m: [0.2, -0.45, 0.0]", "", "misses the field 'workspace_lower_m'"),
        ("joint_lower_rad: [-2.8973, ", "joint_lower_rad: [", r"joint_lower_rad has shape \(6,\)"),
        ("[2.175, 2.175", "[.nan, 2.175", r"joint_velocity_limit_rad_s\[0\] is nan, but must be"),
        ("[2.175, 2.175", "[0.0, 2.175", "joint_velocity_limit_rad_s is .* must be positive"),
        ("rate_hz: 100.0", "rate_hz: 100.0\n  speed: 3", r"unknown field\(s\) speed"),
        ("name: twin\n", "name: twin\nname: other\n", "key 'name' stands twice"),
        ("home_rad: [0.0, ", "home_rad: [3.0, ", "home_rad lies outside the joint limits"),
        ("home_rad: [0.0, ", "home_rad: [2.0, ", "at home_rad the tool stands at .* outside"),
        ("kind: forward_position", "kind: velocity", "kind is 'velocity', but must be one of"),
        ("max_force_n: 70.0", "max_force_n: -1.0", r"gripper.max_force_n is -1.0, but must be"),
        ("gripper: {max_width_m", "gripper: null # {max_width_m", "must both be given, or both"),
        ("kind: position", "kind: trigger", "topic is 'gripper_controller/commands' for"),
        ("arm_joint2,", "arm_joint1,", "joints named twice: arm_joint1"),
        ("commands}", "commands, lead_s: 0.1}", "lead_s is 0.1 for kind 'forward_position'"),
        ("cameras: []", "cameras: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_error_with_file_and_key(tmp_path, old, new, message):
    assert old in TWIN
    with pytest.raises(ConfigError, match=f"robot.yaml: .*{message}"):
        load(TWIN.replace(old, new, 1), tmp_path)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_robot("nowhere.yaml")


@pytest.mark.parametrize(
    "command",
    [
        "{kind: target_pose, topic: target_pose, frame_id: fr3_link0}",
        "{kind: joint_trajectory, topic: jtc/joint_trajectory, lead_s: 0.03}",
        "{kind: target_joint, topic: target_joint}",
    ],
)
def test_every_kind_of_command_can_be_chosen(tmp_path, command):
    old = "{kind: forward_position, topic: forward_position_controller/commands}"
    assert load(TWIN.replace(old, command), tmp_path).drivers[0].command.kind in command


@given(width=st.floats(0, 0.085))
@settings(max_examples=50)
def test_a_gripper_that_closes_upwards_reports_the_width_it_was_told(width):
    cfg = load_robot(ROBOTS / "ur5e.yaml").drivers[0].gripper
    assert isinstance(cfg, GripperDriverCfg)
    told = cfg.command_value(width)
    assert -1e-9 <= told <= 0.8 + 1e-9
    np.testing.assert_allclose(cfg.width_m([told]), width, atol=1e-9)
