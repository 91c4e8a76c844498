from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.control.limiter import MotionLimiter
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError

PERIOD_S = 0.01
SPEC = franka_like_spec()
ARM = SPEC.arms[0]
OPEN = np.array([0.08])
ANYWHERE = arrays(np.float64, 7, elements=st.floats(-5, 5))


def walk(limiter, wishes, ticks=15):
    """Follow targets, braking where one is None; all commands, from the start on."""
    path = [limiter.q_rad]
    for wish in wishes:
        for _ in range(ticks):
            limiter.brake() if wish is None else limiter.step(wish, OPEN)
            path.append(limiter.q_rad)
    return np.array(path)


def check(path, arm=ARM):
    """Position, velocity, acceleration and workspace, all along a path from rest."""
    speed = np.diff(path, axis=0, prepend=path[:1]) / PERIOD_S
    change = np.diff(speed, axis=0, prepend=speed[:1]) / PERIOD_S
    assert (path >= arm.joint_lower_rad - 1e-8).all() and (
        path <= arm.joint_upper_rad + 1e-8
    ).all()
    assert (np.abs(speed) <= arm.joint_velocity_limit_rad_s + 1e-8).all()
    assert (np.abs(change) <= arm.joint_acceleration_limit_rad_s2 + 1e-6).all()
    tool = forward(arm, path)[:, :3, 3]
    assert (tool >= arm.workspace_lower_m - 1.001e-3).all()
    assert (tool <= arm.workspace_upper_m + 1.001e-3).all()


@given(wishes=st.lists(st.none() | ANYWHERE, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_limit_holds_for_any_targets_and_any_braking(wishes):
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    path = walk(limiter, wishes)
    end = limiter.stopping_point()
    check(np.vstack([path, walk(limiter, [None], 60)[1:]]))
    assert limiter.is_still
    np.testing.assert_allclose(limiter.q_rad, end, atol=1e-9)


@given(wishes=st.lists(ANYWHERE, min_size=1, max_size=6), offset=ANYWHERE)
@settings(max_examples=40, deadline=None)
def test_an_arm_that_stands_outside_never_goes_further_out(wishes, offset):
    start = ARM.home_rad + offset
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    limiter.start(start, OPEN)
    path = walk(limiter, wishes)
    assert (path >= np.minimum(ARM.joint_lower_rad, start) - 1e-8).all()
    assert (path <= np.maximum(ARM.joint_upper_rad, start) + 1e-8).all()
    tool = forward(ARM, path)[:, :3, 3]
    assert (tool >= np.minimum(ARM.workspace_lower_m - 1.001e-3, tool[0]) - 1e-8).all()
    assert (tool <= np.maximum(ARM.workspace_upper_m + 1.001e-3, tool[0]) + 1e-8).all()


def test_a_target_within_the_limits_is_reached_exactly():
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    goal = ARM.home_rad + np.array([0.3, 0.1, -0.2, 0.1, 0.2, 0.1, -0.5])
    check(walk(limiter, [goal], 120))
    np.testing.assert_allclose(limiter.q_rad, goal, atol=1e-9)


def test_the_tool_comes_to_the_face_of_the_box_and_stops_there():
    low = franka_arm(workspace_lower_m=(0.2, -0.45, 0.3))
    limiter = MotionLimiter(franka_like_spec(arms=(low,)), period_s=PERIOD_S)
    down = low.home_rad + np.array([0, 0.6, 0, 0, 0, 0, 0])
    path = walk(limiter, [down], 300)
    check(path, low)
    heights = forward(low, path)[:, 2, 3]
    np.testing.assert_allclose(heights[-1], 0.3, atol=3e-3)
    assert (np.diff(heights) <= 1e-9).all(), "it must not swing at the face"
    assert limiter.step(down, OPEN), "a stop at a limit must be told"


def test_a_share_of_the_speed_slows_a_fast_arm_down_within_its_acceleration():
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    far = ARM.home_rad + np.array([2.0, 0, 0, 0, 0, 0, 0])
    fast = walk(limiter, [far], 30)
    path = [fast[-2], fast[-1]]
    for _ in range(30):
        limiter.step(far, OPEN, speed_share=0.1)
        path.append(limiter.q_rad)
    speed = np.diff(np.array(path), axis=0) / PERIOD_S
    assert (np.abs(np.diff(speed, axis=0)) <= ARM.joint_acceleration_limit_rad_s2 * 0.01001).all()
    np.testing.assert_allclose(speed[-1, 0], 0.1 * ARM.joint_velocity_limit_rad_s[0])


def test_two_arms_are_limited_apart():
    arms = franka_arm("left"), franka_arm("right")
    limiter = MotionLimiter(franka_like_spec(arms=arms), period_s=PERIOD_S)
    goal = np.concatenate([ARM.home_rad + 0.1, np.full(7, 9.0)])
    for _ in range(100):
        limiter.step(goal, np.array([0.0, 0.08]))
    np.testing.assert_allclose(limiter.q_rad[:7], goal[:7], atol=1e-9)
    np.testing.assert_allclose(limiter.gripper_m, [0.0, 0.08])


def test_grippers_move_at_their_speed_and_within_their_width():
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    limiter.step(ARM.home_rad, np.array([-3.0]))
    np.testing.assert_allclose(limiter.gripper_m, [0.08 - 0.1 * PERIOD_S])
    walk(limiter, [ARM.home_rad], 1)
    for _ in range(200):
        limiter.step(ARM.home_rad, np.array([-3.0]))
    assert limiter.gripper_m == [0.0]


def test_what_is_not_finite_or_of_another_robot_is_refused():
    limiter = MotionLimiter(SPEC, period_s=PERIOD_S)
    with pytest.raises(ShapeError, match=r"start of joints has shape \(6,\), but must have"):
        limiter.start(np.zeros(6), OPEN)
    with pytest.raises(NonFiniteError, match="start of joints is not finite"):
        limiter.start(np.full(7, np.nan), OPEN)
    with pytest.raises(ConfigError, match="period_s is 0, but must be positive"):
        MotionLimiter(SPEC, period_s=0)
    stuck = replace(ARM, joint_acceleration_limit_rad_s2=np.zeros(7))
    with pytest.raises(ConfigError, match="joint_acceleration_limit_rad_s2"):
        MotionLimiter(franka_like_spec(arms=(stuck,)), period_s=PERIOD_S)
