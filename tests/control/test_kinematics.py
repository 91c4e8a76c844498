import numpy as np
import pytest

from robot_rl.control.franka import franka_arm
from robot_rl.control.kinematics import forward, jacobian, solve_ik
from robot_rl.geometry import matrix_from_rotvec, rotvec_from_matrix

ARM = franka_arm()
RNG = np.random.default_rng(0)
ANYWHERE = RNG.uniform(ARM.joint_lower_rad, ARM.joint_upper_rad, (200, 7))
AROUND_HOME = ARM.home_rad + RNG.uniform(-0.4, 0.4, (200, 7))


def moved(T, translation, rotvec=(0.0, 0.0, 0.0)):
    out = T.copy()
    out[..., :3, 3] += translation
    out[..., :3, :3] = matrix_from_rotvec(np.asarray(rotvec)) @ out[..., :3, :3]
    return out


def test_the_tool_at_the_ready_pose_is_where_franka_says():
    T = forward(ARM, ARM.home_rad)
    np.testing.assert_allclose(T[:3, 3], [0.3069, 0.0, 0.4869], atol=1e-4)
    np.testing.assert_allclose(T[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-12)


def test_the_jacobian_is_the_finite_difference_of_the_pose():
    J, step = jacobian(ARM, ANYWHERE), 1e-6
    for i, unit in enumerate(step * np.eye(7)):
        ahead, behind = forward(ARM, ANYWHERE + unit), forward(ARM, ANYWHERE - unit)
        linear = (ahead[:, :3, 3] - behind[:, :3, 3]) / (2 * step)
        turn = ahead[:, :3, :3] @ behind[:, :3, :3].swapaxes(-1, -2)
        angular = rotvec_from_matrix(turn) / (2 * step)
        np.testing.assert_allclose(J[:, :3, i], linear, atol=1e-8)
        np.testing.assert_allclose(J[:, 3:, i], angular, atol=1e-8)


def test_one_arm_and_many_arms_are_the_same_arithmetic():
    many = AROUND_HOME.reshape(4, 50, 7)
    np.testing.assert_allclose(forward(ARM, many)[3, 7], forward(ARM, many[3, 7]), atol=1e-14)
    np.testing.assert_allclose(jacobian(ARM, many)[3, 7], jacobian(ARM, many[3, 7]), atol=1e-14)
    target = moved(forward(ARM, many), [0.01, 0.0, -0.01])
    q, ok = solve_ik(ARM, target, many)
    one, one_ok = solve_ik(ARM, target[3, 7], many[3, 7])
    assert ok.shape == (4, 50) and bool(one_ok) and ok.all()
    np.testing.assert_allclose(q[3, 7], one, atol=1e-9)


def test_small_motions_are_solved_in_three_iterations_to_a_micrometre():
    target = moved(forward(ARM, AROUND_HOME), RNG.uniform(-0.01, 0.01, (200, 3)))
    q, ok = solve_ik(ARM, target, AROUND_HOME, iterations=3)
    assert ok.all()
    assert np.abs(forward(ARM, q) - target).max() < 1e-5


def test_ik_finds_back_from_a_tenth_of_a_radian_anywhere():
    target = forward(ARM, ANYWHERE)
    start = ANYWHERE + RNG.normal(0, 0.1, ANYWHERE.shape)
    q, ok = solve_ik(ARM, target, start, iterations=30)
    assert ok.mean() > 0.98
    np.testing.assert_allclose(forward(ARM, q)[ok], target[ok], atol=2e-3)


def test_a_target_that_is_already_reached_moves_nothing():
    q, ok = solve_ik(ARM, forward(ARM, AROUND_HOME), AROUND_HOME)
    assert ok.all()
    np.testing.assert_array_equal(q, AROUND_HOME)


def test_joint_limits_hold_and_unreachable_targets_are_not_ok():
    target = moved(forward(ARM, ANYWHERE), RNG.normal(0, 2.0, (200, 3)))
    q, ok = solve_ik(ARM, target, ANYWHERE, iterations=20)
    assert (q >= ARM.joint_lower_rad).all() and (q <= ARM.joint_upper_rad).all()
    assert np.isfinite(q).all()
    error = np.abs(forward(ARM, q)[:, :3, 3] - target[:, :3, 3]).max(-1)
    assert (error[~ok] > 1e-6).all() and (error[ok] < 1e-4).all()
    assert not ok.all()


def test_the_null_space_brings_the_elbow_home_without_moving_the_tool():
    start = ARM.home_rad.copy()
    turned = start + 0.0
    turned[[0, 2]] += [0.5, -0.5]
    T = forward(ARM, turned)
    q = turned
    for i in range(400):
        wiggle = moved(T, [0.002 * (-1) ** i, 0.0, 0.0])
        q, ok = solve_ik(ARM, wiggle, q)
        assert ok
    assert np.linalg.norm(q - start) < np.linalg.norm(turned - start)
    np.testing.assert_allclose(forward(ARM, q), wiggle, atol=1e-4)


@pytest.mark.parametrize("axis", np.eye(3))
def test_a_half_turn_is_an_error_and_not_a_solution(axis):
    target = moved(forward(ARM, ARM.home_rad), np.zeros(3), np.pi * axis)
    q, ok = solve_ik(ARM, target, ARM.home_rad, iterations=1)
    assert not ok
    assert not np.array_equal(q, ARM.home_rad)


def test_arguments_are_never_edited():
    start, target = ARM.home_rad.copy(), moved(forward(ARM, ARM.home_rad), [0.01, 0, 0])
    before = start.copy(), target.copy()
    solve_ik(ARM, target, start)
    np.testing.assert_array_equal(start, before[0])
    np.testing.assert_array_equal(target, before[1])


def test_a_pose_and_a_jacobian_are_the_callers_own_to_change():
    pose, slopes = forward(ARM, ARM.home_rad), jacobian(ARM, ARM.home_rad)
    kept = pose.copy(), slopes.copy()
    pose[:], slopes[:] = 0.0, 0.0
    np.testing.assert_array_equal(forward(ARM, ARM.home_rad), kept[0])
    np.testing.assert_array_equal(jacobian(ARM, ARM.home_rad), kept[1])
