import numpy as np
import pytest

from robot_rl.errors import ConfigError
from sim.calibration_scene import CalibrationScene, Lens, corner_errors
from sim.calibration_world import draw_world, plan_views


@pytest.mark.parametrize("mount", ["hand", "world"])
def test_rendered_corners_are_found_where_the_lens_puts_them(mount):
    world = draw_world(mount, 1)
    scene, rng = CalibrationScene(world), np.random.default_rng(0)
    try:
        errors = [corner_errors(scene, q, rng) for q in plan_views(world, 3)]
    finally:
        scene.close()
    found = np.concatenate(errors)
    assert len(found) > 50
    assert np.sqrt((found**2).mean()) < 0.06 and np.abs(found.mean(0)).max() < 0.02


def test_noise_is_that_of_the_lens():
    world = draw_world("hand", 1)
    q = plan_views(world, 1)[0]
    scene = CalibrationScene(world, Lens(noise=4.0))
    try:
        a, b = (scene.image(q, np.random.default_rng(i)).astype(float) for i in (0, 1))
    finally:
        scene.close()
    middle = (a > 20) & (a < 235)
    assert a.shape == (480, 640, 3)
    assert np.std((a - b)[middle]) == pytest.approx(4.0 * np.sqrt(2), rel=0.1)


def test_a_lens_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="supersampling must be within 1 and 4"):
        Lens(supersampling=9)
