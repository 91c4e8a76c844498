"""The capture thread: frames flow, a lost or frozen camera serves nothing, and comes back."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robot_rl.cameras.capture import CameraState, Capture
from robot_rl.cameras.cfg import CaptureCfg, RealSenseCfg, UvcCfg
from robot_rl.cameras.frame import CameraError, Frame, HostInstant, StampDomain
from robot_rl.cameras.grabber import make_grabber

QUICK = CaptureCfg(lost_after_s=0.3, give_up_after_s=60.0, backoff_s=0.05, max_backoff_s=0.2)
NUMBERS = range(1, 25)


def wait_until(condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true"
        time.sleep(0.002)


@pytest.fixture
def capture():
    """Starts captures, and stops them after the test."""
    started: list[Capture] = []

    def make(grabber, cfg: CaptureCfg = QUICK, on_frame=None) -> Capture:
        made = Capture(grabber, cfg, on_frame)
        started.append(made)
        made.start()
        return made

    yield make
    for made in started:
        made.stop()


def realsense(path: Path):
    size = {"width_px": 64, "height_px": 48}
    return make_grabber(RealSenseCfg(name="wrist", device_file=path, capture=QUICK, **size))


def webcam(path: Path):
    return make_grabber(UvcCfg(name="front", source=str(path), width_px=64, height_px=48))


class Script:
    """A camera that does what the test says at each grab; numbers and stamps count up."""

    camera, intrinsics, link, incomplete = "scripted", None, "script", 0

    def __init__(self, act: Callable[[int], str]) -> None:
        self.act, self.grabs, self.opened = act, 0, 0
        self.is_open, self.number = False, 0
        self.threads: set[str] = set()

    def open(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.act(self.grabs) == "absent":
            self.grabs += 1
            raise CameraError("camera 'scripted' is not there.")
        self.is_open, self.opened = True, self.opened + 1

    def grab(self, timeout_s: float) -> Frame:
        assert self.is_open
        self.threads.add(threading.current_thread().name)
        time.sleep(0.002)
        what = self.act(self.grabs)
        self.grabs += 1
        if what == "raise":
            raise CameraError("camera 'scripted' has gone.")
        if what == "crash":
            raise ZeroDivisionError("a fault of the driver")
        if what != "freeze":
            self.number += 1
        now = HostInstant.now()
        return Frame(
            camera=self.camera,
            rgb=np.full((2, 2, 3), self.number % 256, np.uint8),
            depth_mm=None,
            frame_number=self.number,
            device_stamp_s=self.number / 500,
            domain=StampDomain.DEVICE,
            arrival=now,
            stamp_s=now.monotonic_s,
        )

    def close(self) -> None:
        self.is_open = False


def test_frames_flow_and_each_is_handed_on_once(capture, record):
    handed: list[Frame] = []
    made = capture(realsense(record(NUMBERS)), on_frame=handed.append)
    wait_until(lambda: len(handed) >= 5)
    health = made.health()
    assert health.camera == "wrist" and health.link == "recording of USB 3.2"
    assert health.received >= 5
    assert made.intrinsics is not None
    made.stop()
    numbers = [frame.frame_number for frame in handed]
    first_run = numbers[
        : next((i for i in range(1, len(numbers)) if numbers[i] < numbers[i - 1]), None)
    ]
    assert first_run == sorted(set(first_run))


def test_a_recording_that_ends_is_a_lost_camera_that_comes_back(capture, record):
    made = capture(realsense(record(NUMBERS)))
    wait_until(lambda: made.health().state is CameraState.STREAMING)
    wait_until(lambda: made.health().state is CameraState.LOST)
    assert made.mailbox.newest() is None, "nothing old is served"
    health = made.health()
    assert health.losses >= 1 and "delivers nothing" in health.error
    assert health.age_s == float("inf")
    wait_until(lambda: made.health().state is CameraState.STREAMING)
    assert made.health().error == ""


def test_a_frozen_camera_serves_nothing_and_is_opened_again(capture, record):
    frozen = [*range(1, 9), *[8] * 40]
    handed: list[int] = []
    made = capture(realsense(record(frozen)), on_frame=lambda f: handed.append(f.frame_number))
    wait_until(lambda: "is frozen" in made.health().error)
    assert made.mailbox.newest() is None
    assert made.health().repeated > 0
    assert handed.count(8) <= 1, "the frozen frame is handed on once"
    losses = made.health().losses
    wait_until(lambda: made.health().losses > losses, deadline_s=40.0)  # opened, and again frozen


def test_a_webcam_whose_reading_fails_serves_nothing_and_is_opened_again(capture, video):
    made = capture(webcam(video(count=8)))
    wait_until(lambda: made.health().state is CameraState.LOST)
    assert made.mailbox.newest() is None and "no further frame" in made.health().error
    received = made.mailbox.received
    wait_until(lambda: made.mailbox.received > received)


def test_a_webcam_that_shows_one_frozen_picture_without_stamps_is_lost(capture):
    class Stampless(Script):
        def grab(self, timeout_s: float) -> Frame:
            import dataclasses

            frame = super().grab(timeout_s)
            flat = np.full((2, 2, 3), 7, np.uint8)
            return dataclasses.replace(
                frame, rgb=flat, device_stamp_s=None, domain=StampDomain.NONE
            )

    made = capture(Stampless(lambda n: "frame"))
    wait_until(lambda: "is frozen" in made.health().error)


@pytest.mark.parametrize("fault", ["raise", "freeze"])
def test_a_camera_that_is_unplugged_comes_back_with_new_frames_only(capture, fault):
    served: list[Frame] = []
    script = Script(lambda n: fault if 20 <= n < (21 if fault == "raise" else 400) else "frame")
    made = capture(script, on_frame=served.append)
    wait_until(lambda: made.health().losses >= 1)
    wait_until(lambda: made.health().state is CameraState.STREAMING and len(served) > 40)
    made.stop()
    numbers = [frame.frame_number for frame in served]
    assert numbers == sorted(set(numbers)), "no frame is served twice"
    assert script.opened >= 2
    assert script.threads == {"camera scripted"}, "one thread does all"


def test_a_camera_that_appears_late_is_waited_for(capture):
    made = capture(Script(lambda n: "absent" if n < 4 else "frame"))
    wait_until(lambda: made.health().state is CameraState.STREAMING)
    assert made.health().losses == 4


def test_a_camera_that_stays_away_fails_for_good(capture):
    cfg = CaptureCfg(lost_after_s=0.05, give_up_after_s=0.2, backoff_s=0.01, max_backoff_s=0.02)
    script = Script(lambda n: "absent")
    made = capture(script, cfg)
    wait_until(lambda: made.health().state is CameraState.FAILED)
    assert made.health().error == "camera 'scripted' is not there."
    assert script.grabs > 2 and not script.is_open


def test_a_camera_that_is_configured_wrongly_fails_at_once(capture, video):
    made = capture(make_grabber(UvcCfg(name="front", source=str(video()))))
    wait_until(lambda: made.health().state is CameraState.FAILED)
    assert "640 x 480 was asked for" in made.health().error
    assert made.health().losses == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_crashes_leaves_no_frame_behind(capture):
    script = Script(lambda n: "crash" if n == 5 else "frame")
    made = capture(script)
    wait_until(lambda: made.health().state is CameraState.FAILED)
    assert made.mailbox.newest() is None and "its thread has crashed" in made.health().error
    wait_until(lambda: not script.is_open)


def test_stopping_releases_the_camera_and_starting_again_works(capture):
    script = Script(lambda n: "frame")
    made = capture(script)
    made.start()
    wait_until(lambda: made.mailbox.newest())
    made.stop()
    made.stop()
    assert not script.is_open and made.health().state is CameraState.CLOSED
    assert made.mailbox.newest() is None
    made.start()
    wait_until(lambda: made.mailbox.newest())
