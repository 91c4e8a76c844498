import numpy as np
import pytest

from calibration.board import BoardCfg
from calibration.detect import BoardView
from calibration.intrinsics import calibrate_intrinsics
from robot_rl.errors import DataError
from robot_rl.geometry import matrix_from_rotvec
from sim.calibration_world import draw_world

BOARD = BoardCfg()
CAMERA = draw_world("hand", 3).camera


def view(rng, camera=CAMERA, tilt=0.7, spread=0.5, noise=0.05, far=0.6):
    """The board somewhere in the image; only the corners that are in it."""
    while True:
        about = rng.uniform(0, 2 * np.pi)
        axis = np.array([np.cos(about), np.sin(about), 0.0])
        R = matrix_from_rotvec(rng.uniform(0, tilt) * axis)
        pixel = np.array([320, 240]) + spread * np.array([640, 480]) * rng.uniform(-1, 1, 2)
        place = rng.uniform(0.5, 1.0) * far * camera.rays(pixel[None])[0]
        pixels = camera.project((BOARD.corners_m - BOARD.centre_m) @ R.T + place)
        ids = np.flatnonzero(camera.sees(pixels, 8.0))
        if len(ids) >= 12:
            seen = pixels[ids] + noise * rng.normal(size=(len(ids), 2))
            return BoardView(ids=ids, corners_px=seen)


def views(count, seed=0, **changes):
    rng = np.random.default_rng(seed)
    return [view(rng, **changes) for _ in range(count)]


def test_the_true_camera_is_found():
    found = calibrate_intrinsics(views(30), BOARD, 640, 480)
    assert abs(found.camera.fx_px / CAMERA.fx_px - 1) < 1e-3
    assert abs(found.camera.cx_px - CAMERA.cx_px) < 1.0
    assert 0.05 < found.rms_px < 0.09 and found.held_out_px < 0.12
    error = np.array([found.camera.fx_px - CAMERA.fx_px, found.camera.cy_px - CAMERA.cy_px])
    assert (np.abs(error) < 5 * found.std[[0, 3]]).all()
    assert len(found.used) == 30 and found.coverage.sum() == sum(len(v.ids) for v in views(30))


def test_a_view_of_another_camera_is_left_out():
    rest = views(24)
    other = draw_world("hand", 0).camera
    moved = views(
        1, seed=9, camera=type(other)(**(vars(other) | {"fx_px": 500.0, "cx_px": 280.0}))
    )
    found = calibrate_intrinsics([*rest, *moved], BOARD, 640, 480)
    assert found.dropped.tolist() == [24]


def test_half_the_views_of_another_camera_are_refused():
    other = type(CAMERA)(**(vars(CAMERA) | {"fx_px": 450.0, "cx_px": 260.0}))
    mixed = views(12) + views(12, seed=1, camera=other)
    with pytest.raises(DataError, match=r"do not fit one camera: .* views of another camera"):
        calibrate_intrinsics(mixed, BOARD, 640, 480)


@pytest.mark.parametrize(
    ("count", "changes", "message"),
    [
        (5, {}, "found in 5 views, but 10 are needed"),
        (
            20,
            {"spread": 0.02, "far": 1.2},
            r"of the image, but 50% are needed. Bring the board to",
        ),
        (20, {"tilt": 0.05}, "was tilted by 15 degrees or more in 0 views"),
    ],
    ids=["few", "no coverage", "no tilt"],
)
def test_views_that_say_too_little_are_refused(count, changes, message):
    with pytest.raises(DataError, match=message):
        calibrate_intrinsics(views(count, **changes), BOARD, 640, 480)
