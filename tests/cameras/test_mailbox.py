"""The mailbox serves the newest frame as what it is, and counts what was lost."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.cameras.frame import Frame, HostInstant, StampDomain
from robot_rl.cameras.freeze import FreezeDetector
from robot_rl.cameras.mailbox import Mailbox


def frame(number: int, *, stamp_s: float | None = None, at_s: float | None = None, level: int = 0):
    now_s = time.monotonic() if at_s is None else at_s
    device_s = float(number) if stamp_s is None else stamp_s
    return Frame(
        camera="wrist",
        rgb=np.full((2, 2, 3), level, np.uint8),
        depth_mm=None,
        frame_number=number,
        device_stamp_s=None if np.isnan(device_s) else device_s,
        domain=StampDomain.DEVICE,
        arrival=HostInstant(monotonic_s=now_s, wall_s=now_s + 1e9),
        stamp_s=now_s - 0.02,
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_skipped_numbers_are_counted(steps):
    mailbox = Mailbox()
    for number in np.cumsum(steps):
        mailbox.put(frame(int(number)))
    assert mailbox.received == len(steps)
    assert mailbox.missed == sum(steps[1:]) - (len(steps) - 1)


def test_a_camera_that_counts_anew_has_missed_nothing():
    mailbox = Mailbox()
    for number in (90, 91, 1, 2):
        mailbox.put(frame(number))
    assert mailbox.missed == 0


def test_a_cleared_mailbox_serves_nothing_and_does_not_count_the_pause():
    mailbox = Mailbox()
    mailbox.put(frame(3))
    mailbox.clear()
    assert mailbox.newest() is None
    mailbox.put(frame(50))
    assert mailbox.missed == 0


def test_the_same_frame_keeps_its_stamp_number_and_growing_age():
    mailbox = Mailbox()
    mailbox.put(frame(3, at_s=10.0))
    first, again = mailbox.newest(), mailbox.newest()
    assert first is again and again.frame_number == 3
    assert again.age_s(10.0) == pytest.approx(0.02) and again.age_s(12.0) == pytest.approx(2.02)
    assert again.stamp_wall_s == pytest.approx(1e9 + 9.98)
    assert again.image().stamp_s == again.stamp_s


def test_a_reader_waits_for_another_frame_than_it_has():
    mailbox = Mailbox()
    mailbox.put(frame(1))
    seen = mailbox.newest()
    assert mailbox.wait_for_other(seen, timeout_s=0.01) is None
    waiting = threading.Thread(target=lambda: found.append(mailbox.wait_for_other(seen, 20.0)))
    found: list[Frame | None] = []
    waiting.start()
    mailbox.put(frame(2))
    waiting.join(20.0)
    assert [f.frame_number for f in found if f] == [2]


def test_the_rate_is_that_of_the_last_frames():
    mailbox = Mailbox()
    start_s = time.monotonic() - 1.0
    for number in range(31):
        mailbox.put(frame(number, at_s=start_s + number / 30))
    assert mailbox.rate_hz == pytest.approx(30.0)
    silent = Mailbox()
    for number in range(31):
        silent.put(frame(number, at_s=start_s - 60 + number / 30))
    assert silent.rate_hz == 0.0, "what came a minute ago is no rate"


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(frame(1, stamp_s=5.0, level=9), id="the number stands still"),
        pytest.param(frame(2, stamp_s=1.0, level=9), id="the stamp stands still"),
    ],
)
def test_a_frame_whose_number_or_stamp_stands_still_is_not_new(again):
    detector = FreezeDetector()
    assert detector.is_new(frame(1, stamp_s=1.0, at_s=3.0))
    assert not detector.is_new(again)
    assert detector.frozen_for_s(4.5) == 1.5
    detector.begin(4.0)
    assert not detector.is_new(again), "opening it again does not make it new"
    assert detector.frozen_for_s(4.5) == 0.5


def test_without_stamps_the_pixels_decide():
    detector = FreezeDetector()
    nan = float("nan")
    assert detector.is_new(frame(1, stamp_s=nan, level=1))
    assert not detector.is_new(frame(2, stamp_s=nan, level=1))
    assert detector.is_new(frame(3, stamp_s=nan, level=2))


def test_a_stamp_that_goes_back_is_new():
    detector = FreezeDetector()
    assert all(detector.is_new(frame(n, stamp_s=s)) for n, s in ((8, 9.0), (9, 9.1), (1, 0.0)))
