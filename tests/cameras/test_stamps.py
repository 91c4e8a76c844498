"""Stamps on the monotonic clock: never in the future, never younger than they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.cameras.frame import HostInstant, StampDomain
from robot_rl.cameras.stamps import StampConverter

WALL_OFFSET_S = 1.7e9


def arrive(monotonic_s: float, wall_step_s: float = 0.0) -> HostInstant:
    return HostInstant(monotonic_s=monotonic_s, wall_s=monotonic_s + WALL_OFFSET_S + wall_step_s)


@given(
    st.sampled_from(StampDomain),
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(-1e4, 1e10)), min_size=1, max_size=30),
)
def test_no_stamp_lies_in_the_future_or_before_the_last_one(domain, deliveries):
    converter, now_s, last_s = StampConverter(), 50.0, -np.inf
    for pause_s, device_s in deliveries:
        now_s += pause_s + 1e-3
        stamp_s = converter.to_monotonic(device_s, domain, arrive(now_s))
        assert last_s < stamp_s <= now_s
        last_s = stamp_s


@pytest.mark.parametrize("drift", [0.0, 50e-6, -50e-6])
def test_a_device_clock_is_followed_to_the_fastest_delivery(drift):
    rng, converter = np.random.default_rng(0), StampConverter()
    errors_s = []
    for taken_s in np.arange(100.0, 160.0, 1 / 30):
        latency_s = 0.004 + rng.exponential(0.005)
        device_s = 7.0 + taken_s * (1 + drift)
        arrival = arrive(taken_s + latency_s)
        errors_s.append(converter.to_monotonic(device_s, StampDomain.DEVICE, arrival) - taken_s)
    settled_s = np.array(errors_s[90:])
    assert settled_s.min() >= 0.003, "no frame is older than it is"
    assert settled_s.max() <= 0.004 + 0.001 + 0.001, "4 ms latency, 1 ms drift, 1 ms luck"


def test_a_frame_that_is_picked_up_late_comes_out_old():
    converter = StampConverter()
    for taken_s in np.arange(0.0, 1.0, 0.1):
        converter.to_monotonic(taken_s, StampDomain.DEVICE, arrive(20 + taken_s + 0.01))
    late = converter.to_monotonic(1.0, StampDomain.DEVICE, arrive(20 + 1.0 + 0.7))
    assert late == pytest.approx(21.01)


def test_a_device_clock_that_begins_anew_is_learned_anew():
    converter = StampConverter()
    converter.to_monotonic(5000.0, StampDomain.DEVICE, arrive(10.0))
    assert converter.to_monotonic(0.5, StampDomain.DEVICE, arrive(11.0)) == 11.0
    assert converter.to_monotonic(0.6, StampDomain.DEVICE, arrive(11.3)) == pytest.approx(11.1)


@pytest.mark.parametrize("domain", [StampDomain.WALL, StampDomain.WALL_FITTED])
def test_wall_stamps_keep_their_age(domain):
    stamp_s = StampConverter().to_monotonic(WALL_OFFSET_S + 9.8, domain, arrive(10.0))
    assert stamp_s == pytest.approx(9.8, abs=1e-6)


def test_a_wall_clock_set_back_does_not_keep_a_frame_fresh_for_ever():
    arrival = arrive(10.0, wall_step_s=-3600.0)
    stamp_s = StampConverter().to_monotonic(WALL_OFFSET_S + 9.9, StampDomain.WALL, arrival)
    assert stamp_s == 10.0


def test_a_wall_clock_set_forward_makes_frames_old_and_never_fresh():
    arrival = arrive(10.0, wall_step_s=3600.0)
    stamp_s = StampConverter().to_monotonic(WALL_OFFSET_S + 9.9, StampDomain.WALL, arrival)
    assert stamp_s < 10.0 - 3000.0


def test_a_monotonic_stamp_is_taken_as_it_is_and_a_missing_one_is_the_arrival():
    converter = StampConverter()
    assert converter.to_monotonic(4.5, StampDomain.MONOTONIC, arrive(4.6)) == 4.5
    assert converter.to_monotonic(None, StampDomain.NONE, arrive(5.0)) == 5.0
