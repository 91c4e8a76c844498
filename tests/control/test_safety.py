from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.control.safety import SafetyFilter
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.types import Command

SPEC = franka_like_spec()
ARM = SPEC.arms[0]
PERIOD_S = 0.05
FILTER = SafetyFilter(SPEC, period_s=PERIOD_S)
JOINTS = arrays(np.float64, 7, elements=st.floats(-4, 4))
WIDTHS = arrays(np.float64, 1, elements=st.floats(-1, 1))


def command(q, gripper=0.04):
    return Command(q_rad=np.array(q), gripper_m=np.atleast_1d(gripper), stamp_s=0.0)


HOME = command(ARM.home_rad)


@given(q=JOINTS, previous=JOINTS, width=WIDTHS)
@settings(max_examples=200, deadline=None)
def test_filtering_twice_changes_nothing_more(q, previous, width):
    once, _ = FILTER.filter(command(q, width), command(previous))
    twice, flags = FILTER.filter(once, command(previous))
    np.testing.assert_array_equal(once.q_rad, twice.q_rad)
    np.testing.assert_array_equal(once.gripper_m, twice.gripper_m)
    assert not any(flags)


@given(q=JOINTS, width=WIDTHS, start=JOINTS)
@settings(max_examples=200, deadline=None)
def test_every_limit_holds_from_a_safe_start(q, width, start):
    previous = ARM.home_rad + 0.025 * start  # up to 0.1 rad: the tool stays in its box
    safe, flags = FILTER.filter(command(q, width), command(previous))
    assert (safe.q_rad >= ARM.joint_lower_rad).all() and (safe.q_rad <= ARM.joint_upper_rad).all()
    step = np.abs(safe.q_rad - previous)
    assert (step <= ARM.joint_velocity_limit_rad_s * PERIOD_S * (1 + 1e-6)).all()
    tool = forward(ARM, safe.q_rad)[:3, 3]
    assert (tool >= ARM.workspace_lower_m - 1.001e-3).all()
    assert (tool <= ARM.workspace_upper_m + 1.001e-3).all()
    assert 0 <= safe.gripper_m[0] <= 0.08
    acted = not np.array_equal(safe.q_rad, q) or not np.array_equal(safe.gripper_m, width)
    assert acted == any(flags)


@given(q=JOINTS, previous=JOINTS)
@settings(max_examples=100, deadline=None)
def test_outside_a_limit_it_never_goes_further_out(q, previous):
    safe, _ = FILTER.filter(command(q), command(previous))
    assert (safe.q_rad >= np.minimum(ARM.joint_lower_rad, previous)).all()
    assert (safe.q_rad <= np.maximum(ARM.joint_upper_rad, previous)).all()
    tool, stood = forward(ARM, np.stack([safe.q_rad, previous]))[:, :3, 3]
    slack = 1.001e-3
    assert (tool >= np.minimum(ARM.workspace_lower_m - slack, stood) - 1e-9).all()
    assert (tool <= np.maximum(ARM.workspace_upper_m + slack, stood) + 1e-9).all()


def test_arguments_are_never_edited_and_safe_commands_pass_untouched():
    small = command(ARM.home_rad + 0.01)
    before = small.q_rad.copy()
    safe, flags = FILTER.filter(small, HOME)
    assert safe.q_rad is not small.q_rad
    np.testing.assert_array_equal(safe.q_rad, before)
    assert not any(flags)
    FILTER.filter(command(ARM.home_rad + 5.0, 9.0), HOME)
    np.testing.assert_array_equal(HOME.q_rad, ARM.home_rad)


def test_each_flag_names_the_limit_that_acted():
    fast = ARM.home_rad + np.array([0.3, 0, 0, 0, 0, 0, 0])
    assert FILTER.filter(command(fast), HOME)[1]._asdict() == {
        "joint_limit": False,
        "velocity_limit": True,
        "workspace": False,
        "gripper_limit": False,
    }
    assert FILTER.filter(command(ARM.home_rad, 0.5), HOME)[1].gripper_limit
    near = ARM.joint_upper_rad[6] - 0.01
    edge, over = ARM.home_rad.copy(), ARM.home_rad.copy()
    edge[6], over[6] = near, near + 0.05
    safe, flags = FILTER.filter(command(over), command(edge))
    assert flags.joint_limit and not flags.velocity_limit
    assert safe.q_rad[6] == ARM.joint_upper_rad[6]


def test_a_joint_motion_out_of_the_box_stops_at_its_face():
    low = franka_arm(workspace_lower_m=(0.2, -0.45, 0.48))
    spec = franka_like_spec(arms=(low,))
    down = low.home_rad + np.array([0, 0.05, 0, 0, 0, 0, 0])
    safe, flags = SafetyFilter(spec, period_s=PERIOD_S).filter(command(down), HOME)
    assert flags.workspace
    np.testing.assert_allclose(forward(low, safe.q_rad)[2, 3], 0.479, atol=1e-4)


def test_slowing_down_keeps_the_direction_of_the_motion():
    wish = np.array([0.4, 0.2, -0.1, 0.3, 0.0, 0.1, -0.2])
    safe, _ = FILTER.filter(command(ARM.home_rad + wish), HOME)
    motion = safe.q_rad - ARM.home_rad
    np.testing.assert_allclose(motion / motion[0], wish / wish[0], atol=1e-9)


def test_a_batch_equals_its_rows():
    rng = np.random.default_rng(0)
    previous = ARM.home_rad + rng.uniform(-0.3, 0.3, (30, 7))
    q = previous + rng.uniform(-0.5, 0.5, (30, 7))
    width = rng.uniform(-0.1, 0.2, (30, 1))
    out, gripper, flags = FILTER.filter_batch(q, width, previous, width)
    assert flags.velocity_limit.shape == (30,)
    for i in range(30):
        row, row_flags = FILTER.filter(command(q[i], width[i]), command(previous[i]))
        np.testing.assert_allclose(out[i], row.q_rad, atol=1e-12)
        np.testing.assert_allclose(gripper[i], row.gripper_m)
        assert tuple(flag[i] for flag in flags) == row_flags


def test_nan_wrong_shapes_and_missing_limits_are_refused():
    broken = command(ARM.home_rad)
    broken.q_rad[3] = np.nan
    with pytest.raises(NonFiniteError, match="safety: joint target is not finite"):
        FILTER.filter(broken, HOME)
    with pytest.raises(ShapeError, match=r"joint target has shape \(6,\), but must have"):
        FILTER.filter(command(np.zeros(6)), HOME)
    with pytest.raises(ConfigError, match="period_s is 0, but must be positive"):
        SafetyFilter(SPEC, period_s=0)
    still = replace(ARM, joint_velocity_limit_rad_s=np.zeros(7))
    with pytest.raises(ConfigError, match="joint_velocity_limit_rad_s"):
        SafetyFilter(franka_like_spec(arms=(still,)), period_s=PERIOD_S)
