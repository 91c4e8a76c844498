import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.env.task import Task
from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.types import Command

ONE = franka_like_spec()
TWO = franka_like_spec(arms=(franka_arm("left"), franka_arm("right")))
ACTIONS = st.lists(st.floats(-1, 1, width=32), min_size=7, max_size=7).map(np.float32)


def task(**changes):
    return Task(
        **{
            "name": "any",
            "instruction": "move",
            "control_hz": 20.0,
            "horizon": 10,
            "hold_s": 0.0,
            "features": lambda state: state.q_rad.astype(np.float32),
            "feature_dim": 7,
            "achieved": lambda state: False,
        }
        | changes
    )


def home(spec):
    return Command(
        q_rad=np.concatenate([arm.home_rad for arm in spec.arms]),
        gripper_m=np.full(spec.num_grippers, 0.04),
        stamp_s=1.5,
    )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, "x y z rx ry rz gripper"),
        ({"use_rotation": False}, "x y z gripper"),
        ({"use_gripper": False}, "x y z rx ry rz"),
        ({"use_rotation": False, "use_gripper": False}, "x y z"),
    ],
)
def test_action_dimensions_exist_as_the_task_says(changes, names):
    decoder = ActionDecoder(ONE, task(**changes))
    assert decoder.action_names == tuple(f"arm.{name}" for name in names.split())
    assert decoder.action_dim == len(decoder.action_names)
    assert ActionDecoder(TWO, task(**changes)).action_dim == 2 * decoder.action_dim


def test_joint_mode_has_a_dimension_a_joint():
    decoder = ActionDecoder(ONE, task(action_mode="joint_delta"))
    assert decoder.action_names[:2] == ("arm.arm_joint1", "arm.arm_joint2")
    assert decoder.action_dim == 8
    action = np.linspace(-1, 1, 8, dtype=np.float32)
    command = decoder.decode(action, home(ONE))
    np.testing.assert_allclose(command.q_rad - ONE.arms[0].home_rad, 0.05 * action[:7], atol=1e-7)
    np.testing.assert_allclose(decoder.encode(home(ONE), command), action, atol=1e-6)


@given(action=ACTIONS)
@settings(max_examples=60, deadline=None)
def test_encode_undoes_decode(action):
    decoder = ActionDecoder(ONE, task())
    command = decoder.decode(action, home(ONE))
    np.testing.assert_allclose(decoder.encode(home(ONE), command), action, atol=2e-3)


def test_an_action_moves_the_tool_by_the_tasks_steps_in_base():
    decoder = ActionDecoder(ONE, task(translation_step_m=0.03, use_rotation=False))
    command = decoder.decode(np.float32([1, 0, -1, 1]), home(ONE))
    T_before = forward(ONE.arms[0], home(ONE).q_rad)
    T_after = forward(ONE.arms[0], command.q_rad)
    np.testing.assert_allclose(T_after[:3, 3] - T_before[:3, 3], [0.03, 0, -0.03], atol=1e-5)
    np.testing.assert_allclose(T_after[:3, :3], T_before[:3, :3], atol=1e-5)
    np.testing.assert_allclose(command.gripper_m, [0.08])
    assert command.stamp_s == 1.5


def test_a_zero_action_holds_the_command_bit_for_bit():
    decoder = ActionDecoder(ONE, task())
    np.testing.assert_array_equal(
        decoder.decode(np.zeros(7, np.float32), home(ONE)).q_rad, home(ONE).q_rad
    )


def test_without_rotation_the_tool_keeps_its_home_orientation_for_ever():
    decoder = ActionDecoder(ONE, task(use_rotation=False))
    rng, command = np.random.default_rng(0), home(ONE)
    for _ in range(300):
        command = decoder.decode(rng.uniform(-1, 1, 4).astype(np.float32), command)
    np.testing.assert_allclose(
        forward(ONE.arms[0], command.q_rad)[:3, :3],
        forward(ONE.arms[0], ONE.arms[0].home_rad)[:3, :3],
        atol=1e-3,
    )


def test_the_workspace_box_cuts_the_motion_and_encode_reports_it():
    decoder = ActionDecoder(ONE, task())
    down, command = np.float32([0, 0, -1, 0, 0, 0, 0]), home(ONE)
    for _ in range(40):
        previous, command = command, decoder.decode(down, command)
    height = forward(ONE.arms[0], command.q_rad)[2, 3]
    np.testing.assert_allclose(height, ONE.arms[0].workspace_lower_m[2], atol=1e-4)
    np.testing.assert_allclose(decoder.encode(previous, command)[2], 0.0, atol=0.01)
    done = decoder.decode_batch(down, command.q_rad, command.gripper_m)
    assert done.clipped and done.reached


def test_two_arms_move_apart_and_a_batch_equals_its_rows():
    decoder = ActionDecoder(TWO, task())
    action = np.random.default_rng(0).uniform(-1, 1, (5, 14)).astype(np.float32)
    start = home(TWO)
    q, gripper = np.tile(start.q_rad, (5, 1)), np.tile(start.gripper_m, (5, 1))
    done = decoder.decode_batch(action, q, gripper)
    assert done.reached.shape == (5,) and done.reached.all()
    for i in range(5):
        row = decoder.decode(action[i], start)
        np.testing.assert_allclose(done.q_rad[i], row.q_rad, atol=1e-5)
        np.testing.assert_allclose(done.gripper_m[i], row.gripper_m)
    back = decoder.encode_batch(q, gripper, done.q_rad, done.gripper_m)
    np.testing.assert_allclose(back, action, atol=2e-3)
    assert back.dtype == np.float32


def test_without_a_gripper_dimension_the_gripper_keeps_its_command():
    decoder = ActionDecoder(ONE, task(use_gripper=False))
    command = decoder.decode(np.ones(6, np.float32), home(ONE))
    np.testing.assert_array_equal(command.gripper_m, home(ONE).gripper_m)


def test_bad_actions_are_refused_by_name():
    decoder = ActionDecoder(ONE, task(use_rotation=False))
    with pytest.raises(ShapeError, match=r"action of arm\.x, arm\.y, arm\.z, arm\.gripper has"):
        decoder.decode(np.zeros(3, np.float32), home(ONE))
    with pytest.raises(NonFiniteError, match="action is not finite"):
        decoder.decode(np.float32([0, np.nan, 0, 0]), home(ONE))
