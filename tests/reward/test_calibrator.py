"""Calibrated scores mean what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.reward.calibrator import Calibrator, logit


def test_a_known_distortion_is_found_and_undone():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.02, 0.98, 20_000)
    label = rng.random(20_000) < true
    distorted = Calibrator(scale=3.0, shift=1.0)(true)
    found = Calibrator.fit(distorted, label)
    assert found.scale == pytest.approx(1 / 3, rel=0.05)
    np.testing.assert_allclose(found(distorted), true, atol=0.02)


@given(st.floats(0.1, 5), st.floats(-3, 3), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_order_of_scores_is_kept(scale, shift, scores):
    scores = np.sort(scores)
    assert (np.diff(Calibrator(scale=scale, shift=shift)(scores)) >= 0).all()


def test_scores_that_part_perfectly_do_not_run_away():
    found = Calibrator.fit([0.01, 0.02, 0.98, 0.99], [0, 0, 1, 1])
    assert 0 < found.scale < 3 and abs(found.shift) < 3


def test_one_kind_of_frames_says_nothing():
    assert Calibrator.fit([0.2, 0.9], [1, 1]) == Calibrator()


def test_scores_that_mean_the_opposite_are_not_turned_around():
    assert Calibrator.fit([0.9, 0.9, 0.1, 0.1], [0, 0, 1, 1]).scale > 0


def test_an_unknown_score_stays_unknown():
    assert np.isnan(Calibrator()(np.nan)) and np.isfinite(logit([0.0, 1.0])).all()


def test_what_cannot_be_a_calibration_is_refused():
    with pytest.raises(ConfigError, match=r"scale -1\.0 must be positive"):
        Calibrator(scale=-1.0)
    with pytest.raises(ShapeError, match="calibrator: labels"):
        Calibrator.fit([0.1, 0.2], [1])
