import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, ShapeError
from sim.explore.motions import Pull, Stroke

STROKE = Stroke(
    forward=(0.0, 1.0),
    step_m=0.05,
    aside_m=0.1,
    heading_rad=0.5,
    speed_m_s=(0.2, 0.9),
    travel_m=(0.03, 0.2),
)
PULL = Pull(approach_m=(0.09, 0.0, -0.1), axis=(-1, 0, 0), step_m=0.015, speed_m_s=(0.02, 0.15))
SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4).map(np.array)


@settings(deadline=None, max_examples=50)
@given(SHARES)
def test_a_stroke_goes_aside_and_then_as_far_as_it_says(share):
    x = STROKE.low + share * (STROKE.high - STROKE.low)
    way = STROKE.actions(x[None])[0].astype(float) * STROKE.step_m
    aside, push = way[: STROKE.aside_steps].sum(0), way[STROKE.aside_steps :].sum(0)
    np.testing.assert_allclose(aside, [-x[0], 0, 0], atol=1e-6)  # left of +y is -x
    np.testing.assert_allclose(np.linalg.norm(push), x[3], atol=1e-6)
    np.testing.assert_allclose(np.arctan2(-push[0], push[1]), x[1], atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(SHARES)
def test_motions_are_actions_of_one_length(share):
    for motion in (STROKE, PULL):
        x = motion.low + share * (motion.high - motion.low)
        both = motion.actions(np.stack((x, motion.low)))
        assert both.shape == (2, motion.actions(x[None]).shape[1], 3)
        assert np.abs(both).max() <= 1 + 1e-6
        assert both.dtype == np.float32


def test_the_speed_of_a_stroke_is_the_speed_of_its_tool():
    way = STROKE.actions(np.array([[0.0, 0.0, 0.4, 0.15]]))[0] * STROKE.step_m
    assert way[:, 1].max() == pytest.approx(0.4 / STROKE.control_hz)


def test_a_pull_enters_from_above():
    way = PULL.actions(PULL.low[None])[0][: PULL.approach_steps] * PULL.step_m
    np.testing.assert_allclose(way.sum(0), PULL.approach_m, atol=1e-6)
    down = np.flatnonzero(way[:, 2])
    assert not way[down[0] :, :2].any()


def test_strokes_that_no_action_makes_are_refused():
    settings = {"forward": (1.0, 0.0), "step_m": 0.01, "heading_rad": 0.1}
    with pytest.raises(ConfigError, match=r"speed_m_s is \(0.1, 0.9\), but must rise"):
        Stroke(**settings, aside_m=0.0, speed_m_s=(0.1, 0.9), travel_m=(0.1, 0.2))
    with pytest.raises(ConfigError, match=r"aside_m is 0.5, but 10 steps reach only 0.1"):
        Stroke(**settings, aside_m=0.5, speed_m_s=(0.1, 0.2), travel_m=(0.1, 0.2))
    with pytest.raises(ShapeError, match="numbers of a motion"):
        STROKE.actions(np.zeros((1, 3)))
