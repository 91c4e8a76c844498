"""Images fitted to the policy's size keep their proportions and their brightness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cameras.fit import fit_image

SIDE = st.integers(1, 90)


@settings(deadline=None)
@given(SIDE, SIDE, SIDE, SIDE)
def test_the_result_has_the_wanted_size_and_a_flat_image_stays_flat(height, width, to_h, to_w):
    fitted = fit_image(np.full((height, width, 3), 77, np.uint8), to_w, to_h)
    assert fitted.shape == (to_h, to_w, 3) and fitted.dtype == np.uint8
    assert (fitted == 77).all()


def test_the_middle_stays_in_the_middle_and_squares_stay_square():
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[16:32, 24:40] = 200
    fitted = fit_image(rgb, 24, 24)
    rows, columns = np.nonzero(fitted[..., 0] > 100)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 8, 15)


def test_an_image_of_the_right_size_is_not_copied():
    rgb = np.zeros((4, 6, 3), np.uint8)
    assert fit_image(rgb, 6, 4) is rgb


def test_shrinking_averages():
    checker = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)
    fitted = fit_image(np.repeat(checker[..., None], 3, axis=2), 8, 8)
    assert fitted == pytest.approx(100, abs=1)
