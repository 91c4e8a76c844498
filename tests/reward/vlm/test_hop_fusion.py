import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.reward.vlm.hop_fusion import advance, fuse, hop_label

HOPS = st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=12)


@settings(deadline=None)
@given(st.integers(2, 60), st.data())
def test_hops_lead_exactly_from_one_keyframe_to_the_other(count, data):
    p, q = (data.draw(st.integers(1, count)) for _ in range(2))
    there = advance((p - 1) / (count - 1), hop_label(p, q, count))
    assert there == pytest.approx((q - 1) / (count - 1), abs=1e-12)


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(-1, 1), max_size=50))
def test_progress_stays_in_range_whatever_the_hops(progress, hops):
    for hop in hops:
        progress = advance(progress, hop)
        assert 0.0 <= progress <= 1.0


@settings(deadline=None)
@given(st.integers(2, 30))
def test_true_hops_are_fused_to_true_progress(count):
    keys = range(1, count + 1)
    step = np.array([0.0, *(hop_label(p, p + 1, count) for p in range(1, count))])
    forward = np.array([hop_label(1, q, count) for q in keys])
    backward = np.array([hop_label(count, q, count) for q in keys])
    fused = fuse(step, forward, backward, alpha=3.0)
    assert fused.progress == pytest.approx(np.linspace(0, 1, count))
    assert fused.sigma == pytest.approx(np.zeros(count), abs=1e-9)
    assert fused.weight == pytest.approx(np.ones(count))


@settings(deadline=None)
@given(HOPS, st.floats(0, 10), st.booleans(), st.data())
def test_fused_progress_is_in_range_and_only_valid_where_all_was_said(step, alpha, goal, data):
    n = len(step)
    row = st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=n, max_size=n)
    forward = np.array(data.draw(row))
    backward = np.array(data.draw(row)) if goal else None
    fused = fuse(np.array(step), forward, backward, alpha)
    assert (fused.valid <= np.isfinite(forward)).all()
    assert (np.isfinite(fused.progress) == fused.valid).all()
    judged = fused.progress[fused.valid]
    assert ((judged >= 0) & (judged <= 1)).all()
    assert ((fused.weight > 0) & (fused.weight <= 1)).all() or alpha > 1


def test_disagreement_of_start_and_goal_holds_the_progress_back():
    step = np.array([0.0, 0.0])
    forward, backward = np.array([0.1, 0.9]), np.array([-0.9, -0.9])
    free = fuse(step, forward, backward, alpha=0.0)
    held = fuse(step, forward, backward, alpha=2.0)
    assert free.progress[1] > free.progress[0] + 0.2
    assert held.progress[1] < held.progress[0] + 0.05
    assert held.sigma[1] > 0.3


def test_a_missing_hop_breaks_the_chain_and_the_start_mends_it():
    step = np.array([0.0, np.nan, 0.5])
    fused = fuse(step, np.array([0.0, 0.2, 0.4]), None, alpha=1.0)
    assert fused.valid.tolist() == [True, False, True]
    assert fused.progress[2] == pytest.approx(0.4)


@pytest.mark.parametrize("pair", [(0, 1), (1, 4)])
def test_keyframes_outside_the_episode_are_refused(pair):
    with pytest.raises(ConfigError, match=r"must be within 1 and 3"):
        hop_label(*pair, 3)
