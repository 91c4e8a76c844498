import cv2
import numpy as np

from calibration.camera import CameraModel

CAMERA = CameraModel(
    width_px=640,
    height_px=480,
    fx_px=600.0,
    fy_px=590.0,
    cx_px=325.0,
    cy_px=236.0,
    distortion=(-0.2, 0.1, 1e-3, -2e-3, 0.03),
)


def points(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform((-0.25, -0.2, 0.5), (0.25, 0.2, 1.0), (n, 3))


def test_projection_is_that_of_opencv():
    theirs, _ = cv2.projectPoints(
        points(), np.zeros(3), np.zeros(3), CAMERA.matrix, CAMERA.coefficients
    )
    np.testing.assert_allclose(CAMERA.project(points()), theirs.reshape(-1, 2), atol=1e-9)


def test_derivatives_are_those_of_finite_differences():
    p, h = points(), 1e-6
    numeric = np.stack(
        [(CAMERA.project(p + h * e) - CAMERA.project(p - h * e)) / (2 * h) for e in np.eye(3)], -1
    )
    np.testing.assert_allclose(CAMERA.jacobian(p), numeric, atol=1e-4)


def test_rays_undo_the_projection():
    p = points()
    rays = CAMERA.rays(CAMERA.project(p))
    np.testing.assert_allclose(rays, p / p[:, 2:], atol=2e-5)
