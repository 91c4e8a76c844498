"""The figures that we publish: properties that must hold for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import DataError
from robot_rl.learn.statistics import (
    area_under_curve,
    bootstrap,
    interquartile_mean,
    paired_difference,
    sliding_rate,
    steps_to_threshold,
    wilson,
    worst_dip,
    worst_window,
)

rates = st.lists(st.floats(0, 1), min_size=1, max_size=30)
outcomes = st.lists(st.booleans(), min_size=1, max_size=120)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_holds_the_rate_within_unit_range(successes, failures):
    interval = wilson(successes, successes + failures)
    assert 0 <= interval.low < interval.high <= 1
    if successes + failures:
        assert interval.low <= interval.mean <= interval.high


@given(st.integers(0, 100), st.integers(1, 100), st.integers(2, 20))
def test_wilson_narrows_with_more_trials_at_the_same_rate(successes, trials, times):
    successes = min(successes, trials)
    few, many = wilson(successes, trials), wilson(times * successes, times * trials)
    assert many.high - many.low < few.high - few.low


def test_wilson_agrees_with_the_published_example():
    # Newcombe 1998, table I: 81 of 263, method 3: 0.2553 to 0.3662.
    interval = wilson(81, 263)
    assert interval.low == pytest.approx(0.2553, abs=5e-5)
    assert interval.high == pytest.approx(0.3662, abs=5e-5)


def test_wilson_covers_the_true_rate_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        p = rng.uniform(0.05, 0.95)
        interval = wilson(int(rng.binomial(100, p)), 100)
        covered += interval.low <= p <= interval.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_impossible_counts_are_refused():
    with pytest.raises(DataError, match="5 successes in 4 trials"):
        wilson(5, 4)


@given(rates, st.randoms())
def test_interquartile_mean_ignores_order_and_stays_in_range(values, random):
    mean = interquartile_mean(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert interquartile_mean(shuffled) == pytest.approx(mean)
    assert min(values) - 1e-9 <= mean <= max(values) + 1e-9


@given(st.floats(-10, 10), st.floats(-1000, 1000))
def test_interquartile_mean_ignores_the_outer_quarters(center, outlier):
    assert interquartile_mean([center, center, center, outlier]) == pytest.approx(center)
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 7]) == pytest.approx(3.5)


@given(rates)
def test_bootstrap_is_repeatable_and_holds_its_mean(values):
    first, second = bootstrap(values, resamples=200), bootstrap(values, resamples=200)
    assert first == second
    assert first.low - 1e-9 <= first.high
    assert min(values) - 1e-9 <= first.low and first.high <= max(values) + 1e-9


@given(rates, st.floats(-1, 1))
def test_a_constant_shift_is_found_exactly(values, shift):
    difference = paired_difference(values, [v + shift for v in values])
    assert difference.mean == pytest.approx(shift, abs=1e-9)
    assert difference.low == pytest.approx(difference.high, abs=1e-9)


def test_pairs_need_equal_lengths():
    with pytest.raises(DataError, match="2 and 1 values cannot be paired"):
        paired_difference([1, 2], [1])


@given(rates, st.floats(0, 1))
def test_the_threshold_step_is_the_first_that_reaches_it(values, threshold):
    steps = [10 * i for i in range(len(values))]
    found = steps_to_threshold(steps, values, threshold)
    if found is None:
        assert max(values) < threshold
    else:
        assert values[found // 10] >= threshold
        assert all(v < threshold for v in values[: found // 10])


@given(rates)
def test_area_lies_between_lowest_and_highest(values):
    area = area_under_curve(list(range(len(values))), values)
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9
    assert area_under_curve([0, 10], [0.0, 1.0]) == 0.5


@given(st.floats(0, 1), rates)
def test_a_dip_is_never_negative_and_bounds_the_curve(base, values):
    dip = worst_dip(base, values)
    assert dip >= 0
    assert all(v >= base - dip - 1e-12 for v in values)
    assert worst_dip(base, []) == 0


@given(outcomes, st.integers(1, 60))
def test_sliding_rate_equals_the_plain_loop(values, window):
    expected = [np.mean(values[i : i + window]) for i in range(max(0, len(values) - window + 1))]
    assert np.allclose(sliding_rate(values, window), expected)


def test_the_worst_window_is_found_with_its_interval():
    assert worst_window([True] * 49) is None
    found = worst_window([False] * 10 + [True] * 40 + [False] * 35)
    assert found == wilson(15, 50)


@given(outcomes, st.integers(1, 60))
def test_no_window_is_worse_than_the_worst(values, window):
    found = worst_window(values, window)
    rates = sliding_rate(values, window)
    assert (found is None) == (len(rates) == 0)
    assert found is None or found.mean == pytest.approx(rates.min())
