"""Potentials a frame: keyframes, gaps, versions, and a labeller beside a learner."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import DataError, ShapeError
from robot_rl.reward.potentials import UNLABELLED, FramePotentials, PotentialTable
from robot_rl.reward.progress import ProgressEstimate


def judged(progress, valid=None, version=1):
    progress = np.asarray(progress, np.float32)
    valid = np.ones(len(progress), bool) if valid is None else np.asarray(valid)
    masked = np.where(valid, progress, np.nan).astype(np.float32)
    return ProgressEstimate(
        progress=masked,
        success=masked,
        sigma=np.where(valid, 0.1, np.nan).astype(np.float32),
        valid=valid,
        model_id="m",
        version=version,
    )


def test_frames_between_keyframes_lie_on_a_line():
    kept = FramePotentials.of(judged([0.0, 0.4, 1.0]), frames=np.array([0, 4, 6]), count=7)
    assert kept.phi_valid.all()
    np.testing.assert_allclose(kept.phi, [0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0], atol=1e-6)
    assert np.isnan(kept.success_p[[1, 2, 3, 5]]).all()


def test_nothing_is_guessed_across_a_keyframe_that_could_not_be_judged():
    estimate = judged([0.0, 0.5, 1.0], [True, False, True])
    kept = FramePotentials.of(estimate, frames=np.array([0, 2, 4]), count=6)
    assert kept.phi_valid.tolist() == [True, False, False, False, True, False]
    assert np.isnan(kept.phi[~kept.phi_valid]).all()


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_keyframes_keep_their_own_judgement(frames, stride, more):
    valid = [v for v, _ in frames]
    at = np.arange(len(frames)) * stride
    estimate = judged([p for _, p in frames], valid)
    kept = FramePotentials.of(estimate, frames=at, count=int(at[-1]) + 1 + more)
    np.testing.assert_array_equal(kept.phi_valid[at], valid)
    np.testing.assert_allclose(kept.phi[at], estimate.progress, atol=1e-6)


def test_potentials_survive_the_way_to_an_annotation_and_back():
    kept = FramePotentials.of(judged([0.2, 0.9], [True, False], version=7))
    back = FramePotentials.from_arrays({**kept.arrays(), "other": np.zeros(3)})
    for name, column in kept.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], column)
        assert back.arrays()[name].dtype == column.dtype


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="phi_sigma, phi_version, phi_valid, success_p"):
        FramePotentials.from_arrays({"phi": np.zeros(1)})


def test_indices_must_be_as_many_as_judgements():
    with pytest.raises(ShapeError, match="potentials: frames"):
        FramePotentials.of(judged([0.1, 0.2]), frames=np.array([0]), count=3)


def test_rows_that_nobody_judged_are_invalid():
    rows = PotentialTable(4).read(np.arange(4))
    assert not rows.phi_valid.any() and (rows.phi_version == UNLABELLED).all()


def test_an_episode_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="potentials: rows"):
        PotentialTable(3).write(2, FramePotentials.of(judged([0.1, 0.2])))


def test_a_reader_never_sees_half_an_episode():
    table, stop = PotentialTable(50), threading.Event()

    def label():
        version = 0
        while not stop.is_set():
            version += 1
            table.write(0, FramePotentials.of(judged(np.full(50, 0.5), version=version)))

    thread = threading.Thread(target=label)
    thread.start()
    try:
        for _ in range(300):
            assert len(set(table.read(np.arange(50)).phi_version.tolist())) == 1
    finally:
        stop.set()
        thread.join()


def test_unjudged_frames_carry_on_the_last_potential_and_begin_at_none():
    valid = np.array([False, True, False, False, True])
    phi = np.where(valid, [0, 0.4, 0, 0, 0.9], np.nan).astype(np.float32)
    table = FramePotentials(
        phi=phi,
        phi_sigma=np.where(valid, 0.1, np.nan).astype(np.float32),
        phi_version=np.ones(5, np.int32),
        phi_valid=valid,
        success_p=phi,
        success_label=np.full(5, -1, np.int8),
    )
    carried = table.carried()
    np.testing.assert_allclose(carried.phi, [0, 0.4, 0.4, 0.4, 0.9])
    np.testing.assert_allclose(carried.phi_sigma, [0, 0.1, 0.1, 0.1, 0.1])
    assert carried.phi_valid.all()


def test_an_episode_that_nobody_could_judge_stays_unknown():
    estimate = ProgressEstimate.invalid(4, model_id="m", version=1)
    assert not FramePotentials.of(estimate).carried().phi_valid.any()


def test_a_table_comes_back_from_its_arrays():
    table, again = PotentialTable(6), PotentialTable(6)
    estimate = ProgressEstimate.invalid(2, model_id="m", version=3)
    table.write(1, FramePotentials.of(estimate))
    again.load_arrays(table.arrays(4))
    for name, column in table.arrays(6).items():
        np.testing.assert_array_equal(column, again.arrays(6)[name])
