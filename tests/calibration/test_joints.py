import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.joints import calibrate_joints
from robot_rl.errors import DataError, ShapeError

NAMES = ("a", "b", "c")


def poses(sign=(1, -1, 1), offset=(0.1, 1.6, -3.0), k=6, noise=0.002, seed=0):
    rng = np.random.default_rng(seed)
    leader = rng.uniform(-1, 1, (k, 3))
    leader[0], leader[1] = -0.8, 0.8
    return leader, np.array(sign) * leader + np.array(offset) + noise * rng.normal(size=(k, 3))


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
    st.tuples(*[st.floats(-6, 6)] * 3),
    st.integers(0, 1000),
)
def test_signs_and_offsets_are_found(sign, offset, seed):
    found = calibrate_joints(*poses(sign, offset, seed=seed), NAMES)
    assert tuple(found.sign) == sign
    np.testing.assert_allclose(found.offset_rad, offset, atol=0.01)


def test_deviation_and_quarter_turns_are_told():
    found = calibrate_joints(*poses(k=40), NAMES)
    assert found.quarter_turns.tolist() == [0, 1, -2]
    assert (found.scatter_rad > 0.001).all() and (found.scatter_rad < 0.003).all()
    np.testing.assert_allclose(found.std_rad, found.scatter_rad / np.sqrt(40))
    assert (found.held_out_rad >= found.scatter_rad).all()


def test_a_servo_that_wraps_by_a_turn_does_no_harm():
    leader, follower = poses()
    leader[2, 1] += 2 * np.pi
    found = calibrate_joints(leader, follower, NAMES)
    np.testing.assert_allclose(found.offset_rad, (0.1, 1.6, -3.0), atol=0.01)


def test_what_says_too_little_is_refused():
    leader, follower = poses()
    with pytest.raises(DataError, match="4 poses were held by both arms, but 5 are needed"):
        calibrate_joints(leader[:4], follower[:4], NAMES)
    with pytest.raises(ShapeError, match="leader_rad has shape"):
        calibrate_joints(leader[:4], follower, NAMES)
    leader[:, 1] = 0.3
    with pytest.raises(DataError, match=r"b moved by less than 0\.2 rad"):
        calibrate_joints(leader, follower, NAMES)


def test_swapped_joints_are_named():
    leader, follower = poses()
    with pytest.raises(DataError, match="a of the follower goes with b of the leader"):
        calibrate_joints(leader, follower[:, [1, 0, 2]], NAMES)


def test_another_gear_ratio_is_named():
    leader, follower = poses()
    follower[:, 2] = 0.5 * leader[:, 2]
    with pytest.raises(DataError, match=r"it moves 0.50 times as far: another gear ratio"):
        calibrate_joints(leader, follower, NAMES)


def test_a_pose_that_was_not_held_is_refused():
    leader, follower = poses(k=12)
    follower[5, 0] += 0.4
    with pytest.raises(DataError, match="was a pose not held"):
        calibrate_joints(leader, follower, NAMES)
