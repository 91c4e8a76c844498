"""The figures agree with their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.reward.metrics import (
    calibration_bins,
    expected_calibration_error,
    kendall_tau_a,
    pearson,
    roc_auc,
    spearman,
)

numbers = st.lists(st.integers(-5, 5), min_size=3, max_size=12)


@given(numbers)
def test_order_does_not_care_for_the_scale(values):
    bent = np.exp(np.array(values) / 3.0)
    np.testing.assert_allclose(spearman(values, bent), spearman(values, values))


@given(numbers, numbers)
def test_correlations_turn_their_sign_with_time(a, b):
    a, b = a[: len(b)], b[: len(a)]
    for how in (pearson, spearman):
        np.testing.assert_allclose(how(a, b), -how(a, -np.array(b)), atol=1e-9)


def test_what_does_not_vary_has_no_order():
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_tau_counts_pairs_of_different_grade_only():
    assert kendall_tau_a([0.1, 0.5, 0.9, 0.8], [0, 1, 2, 2]) == 1.0
    assert kendall_tau_a([0.9, 0.5, 0.5], [0, 1, 2]) == pytest.approx(-2 / 3)
    assert np.isnan(kendall_tau_a([0.1, 0.2], [1, 1]))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=15))
def test_the_area_under_the_curve_is_the_chance_to_be_above(pairs):
    score, label = np.array([s for s, _ in pairs]), np.array([y for _, y in pairs])
    if label.all() or not label.any():
        assert np.isnan(roc_auc(score, label))
        return
    wins, losses = score[label][:, None], score[~label][None]
    expected = ((wins > losses) + 0.5 * (wins == losses)).mean()
    assert roc_auc(score, label) == pytest.approx(expected)


def test_a_calibrated_score_has_no_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    assert expected_calibration_error(p, rng.random(50_000) < p) < 0.02
    assert expected_calibration_error(np.full(100, 0.99), np.zeros(100)) == pytest.approx(0.99)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_every_frame_is_in_one_bin(p):
    assert sum(frames for _, _, frames in calibration_bins(p, np.zeros(len(p)))) == len(p)
