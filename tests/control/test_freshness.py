import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.freshness import Stream
from robot_rl.errors import ConfigError

SECONDS = st.floats(-10, 10)


def stream():
    return Stream("target", timeout_s=0.25, age_limit_s=0.5)


def test_a_message_counts_until_it_is_silent_or_old():
    one = stream()
    assert one.why_stale(0.0) == "target: nothing received"
    assert one.admit(stamp_s=9.7, clock_s=10.0, now_s=100.0) is None
    np.testing.assert_allclose(one.age_s(100.1), 0.4)
    assert one.why_stale(100.1) is None
    assert one.why_stale(100.24) == "target: 0.54 s old"
    assert one.why_stale(100.3) == "target: silent for 0.30 s"
    one.expire()
    assert one.why_stale(100.1) == "target: nothing received"


@given(stamp=SECONDS, jumps=st.lists(SECONDS, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_frozen_stamp_never_counts_again_however_the_clock_jumps(stamp, jumps):
    one = stream()
    one.admit(stamp_s=stamp, clock_s=stamp, now_s=0.0)
    one.expire()
    for i, jump in enumerate(jumps):
        assert one.admit(stamp_s=stamp, clock_s=stamp + jump, now_s=0.01 * i) is not None
        assert one.why_stale(0.01 * i) is not None


def test_a_sender_whose_clock_was_set_back_is_heard_again_after_one_message():
    one = stream()
    assert one.admit(stamp_s=100.0, clock_s=100.0, now_s=0.0) is None
    assert one.admit(stamp_s=40.0, clock_s=40.0, now_s=0.1) == "target: stamp did not advance"
    assert one.admit(stamp_s=40.1, clock_s=40.1, now_s=0.2) is None


def test_what_is_old_ahead_or_no_time_on_arrival_is_refused():
    refused = stream().admit(stamp_s=1.0, clock_s=2.0, now_s=0.0)
    assert refused == "target: 1.00 s old on arrival; are the clocks synchronised?"
    refused = stream().admit(stamp_s=2.0, clock_s=1.0, now_s=0.0)
    assert refused == "target: stamped 1.00 s ahead; are the clocks synchronised?"
    assert stream().admit(stamp_s=np.nan, clock_s=1.0, now_s=0.0) == "target: stamp is nan"
    assert stream().admit(stamp_s=1.0, clock_s=np.nan, now_s=0.0) is not None


def test_limits_must_be_positive():
    with pytest.raises(ConfigError, match=r"target: timeout_s is 0 and age_limit_s is 1, but"):
        Stream("target", timeout_s=0, age_limit_s=1)
