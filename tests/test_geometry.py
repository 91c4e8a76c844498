import numpy as np
import pytest

from robot_rl import geometry as g


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_quats(rng, *shape):
    q = rng.normal(size=(*shape, 4))
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def random_poses(rng, n):
    return np.concatenate([rng.normal(size=(n, 3)), random_quats(rng, n)], axis=-1)


def same_rotation(a, b):
    return np.abs(np.abs(np.sum(a * b, axis=-1)) - 1.0).max() < 1e-12


def test_quaternions_form_a_group(rng):
    a, b, c = random_quats(rng, 3, 100)
    one = np.array([1.0, 0, 0, 0])
    left = g.quat_multiply(g.quat_multiply(a, b), c)
    right = g.quat_multiply(a, g.quat_multiply(b, c))
    np.testing.assert_allclose(left, right, atol=1e-14)
    np.testing.assert_allclose(g.quat_multiply(a, one), a)
    np.testing.assert_allclose(g.quat_multiply(one, a), a)
    np.testing.assert_allclose(
        g.quat_multiply(a, g.quat_conjugate(a)), np.broadcast_to(one, a.shape), atol=1e-14
    )
    np.testing.assert_allclose(np.linalg.norm(left, axis=-1), 1.0)


def test_matrices_and_quaternions_multiply_alike(rng):
    a, b = random_quats(rng, 2, 100)
    product = g.matrix_from_quat(a) @ g.matrix_from_quat(b)
    np.testing.assert_allclose(g.matrix_from_quat(g.quat_multiply(a, b)), product, atol=1e-14)
    v = rng.normal(size=(100, 3))
    rotated = (g.matrix_from_quat(a) @ v[..., None])[..., 0]
    np.testing.assert_allclose(g.quat_rotate(a, v), rotated, atol=1e-13)


@pytest.mark.parametrize("angle", [0.0, 1e-14, 1e-9, 1e-4, 1.0, 3.0, np.pi - 1e-7, np.pi])
def test_rotation_vectors_survive_the_way_through_every_form(rng, angle):
    axis = rng.normal(size=(50, 3))
    rotvec = angle * axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    via_quat = g.rotvec_from_quat(g.quat_from_rotvec(rotvec))
    via_matrix = g.rotvec_from_matrix(g.matrix_from_rotvec(rotvec))
    for result in (via_quat, via_matrix):
        if angle == np.pi:  # both signs of the axis are the same half turn
            sign = np.sign(np.sum(result * rotvec, axis=-1, keepdims=True))
            result = result * sign
        np.testing.assert_allclose(result, rotvec, atol=2e-8)


def test_quaternions_survive_the_way_through_matrices(rng):
    q = np.concatenate([random_quats(rng, 200), np.eye(4)])
    back = g.quat_from_matrix(g.matrix_from_quat(q))
    assert same_rotation(back, q)
    assert (back[:, 0] >= 0).all()


def test_the_angle_between_orientations_is_that_of_the_difference(rng):
    a = random_quats(rng, 50)
    rotvec = rng.uniform(-1, 1, (50, 3))
    b = g.quat_multiply(a, g.quat_from_rotvec(rotvec))
    np.testing.assert_allclose(g.quat_angle(a, b), np.linalg.norm(rotvec, axis=-1), atol=1e-7)
    np.testing.assert_allclose(g.quat_angle(a, -a), 0.0, atol=1e-7)


def test_poses_and_transforms_are_one_group(rng):
    a, b = random_poses(rng, 50), random_poses(rng, 50)
    product = g.matrix_from_pose(a) @ g.matrix_from_pose(b)
    np.testing.assert_allclose(g.matrix_from_pose(g.pose_compose(a, b)), product, atol=1e-12)
    inverse = np.linalg.inv(g.matrix_from_pose(a))
    np.testing.assert_allclose(g.matrix_from_pose(g.pose_inverse(a)), inverse, atol=1e-12)
    np.testing.assert_allclose(g.transform_inverse(g.matrix_from_pose(a)), inverse, atol=1e-12)
    back = g.pose_from_matrix(g.matrix_from_pose(a))
    np.testing.assert_allclose(back[:, :3], a[:, :3])
    assert same_rotation(back[:, 3:], a[:, 3:])


def test_every_function_takes_no_or_many_leading_dimensions(rng):
    q = random_quats(rng, 2, 3)
    pose = np.concatenate([rng.normal(size=(2, 3, 3)), q], axis=-1)
    for function, value in (
        (g.matrix_from_quat, q),
        (g.rotvec_from_quat, q),
        (g.pose_inverse, pose),
        (g.matrix_from_pose, pose),
        (lambda p: g.pose_from_matrix(g.matrix_from_pose(p)), pose),
    ):
        np.testing.assert_allclose(function(value)[1, 2], function(value[1, 2]), atol=1e-14)
