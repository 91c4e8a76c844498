"""Scaling is invertible, safe for dimensions that stand still, and refuses bad data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from robot_rl.policy.normalise import Normaliser, state_vector

rows = hnp.arrays(
    np.float32, (6, 3), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@settings(deadline=None)
@given(rows, rows)
def test_from_unit_undoes_to_unit(states, actions):
    norm = Normaliser.fit(states, actions)
    np.testing.assert_allclose(norm.from_unit(norm.to_unit(actions)), actions, atol=1e-3)


@settings(deadline=None)
@given(rows, rows)
def test_demonstrated_actions_lie_in_the_unit_range(states, actions):
    unit = Normaliser.fit(states, actions).to_unit(actions)
    assert np.abs(unit).max() <= 1 + 1e-4


@settings(deadline=None)
@given(rows, rows, st.floats(1, 3))
def test_widening_moves_the_range_and_not_the_middle(states, actions, factor):
    norm = Normaliser.fit(states, actions)
    wide = norm.widened(factor)
    np.testing.assert_array_equal(wide.action_mid, norm.action_mid)
    np.testing.assert_allclose(wide.action_half, norm.action_half * factor, rtol=1e-5)


def test_constant_dimensions_stay_near_zero_instead_of_being_blown_up():
    states = np.full((10, 2), 7.0, np.float32)
    norm = Normaliser.fit(states, np.zeros((10, 1), np.float32))
    assert np.abs(norm.state(states + 1e-4)).max() < 0.05
    assert norm.action_half[0] == pytest.approx(0.05)


def test_widening_by_less_than_one_is_refused():
    norm = Normaliser.fit(np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32))
    with pytest.raises(ConfigError, match=r"factor is 0\.5, but must be at least 1"):
        norm.widened(0.5)


def test_no_rows_and_nan_rows_are_refused():
    good, action = np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32)
    with pytest.raises(ConfigError, match="0 demonstrated steps"):
        Normaliser.fit(good[:0], action[:0])
    with pytest.raises(NonFiniteError, match="normaliser: states"):
        Normaliser.fit(good + np.nan, action)


def test_arrays_bring_the_normaliser_back_and_a_missing_one_is_named():
    norm = Normaliser.fit(np.eye(3, dtype=np.float32), np.eye(3, 2, dtype=np.float32))
    arrays = norm.arrays()
    again = Normaliser.from_arrays(arrays)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    del arrays["state_std"]
    with pytest.raises(CheckpointError, match="state_std missing"):
        Normaliser.from_arrays(arrays)


def test_state_vector_takes_flat_and_dict_and_refuses_other_sizes_and_nan():
    flat = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(state_vector(flat, 3), flat)
    np.testing.assert_array_equal(state_vector({"state": flat}, 3), flat)
    with pytest.raises(ShapeError, match=r"shape \(3,\), but must have shape \(4,\)"):
        state_vector(flat, 4)
    with pytest.raises(NonFiniteError, match="observation: state"):
        state_vector(flat + np.inf, 3)
