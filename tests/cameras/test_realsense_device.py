"""Finding, resetting and judging a device: a bus that is scripted, since none hangs here."""

import pytest

from robot_rl.cameras.frame import CameraError
from robot_rl.cameras.realsense_device import (
    color_sensor,
    find_device,
    link_of,
    reset_device,
    start_with_retries,
)
from robot_rl.clock import ManualClock

rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)


def device(serial: str = "42", usb: str | None = "3.2"):
    made = rs.software_device()
    made.register_info(rs.camera_info.serial_number, serial)
    if usb is not None:
        made.register_info(rs.camera_info.usb_type_descriptor, usb)
    return made


class Bus:
    """A bus in manual time: a device that is reset is listed a moment longer, then gone, then
    back."""

    def __init__(self, clock: ManualClock, *, gone_after_s: float, back_after_s: float) -> None:
        self.clock, self.reset_s = clock, None
        self.gone_after_s, self.back_after_s = gone_after_s, back_after_s
        self.device = device()

    def query_devices(self):
        if self.reset_s is not None:
            since_s = self.clock.now() - self.reset_s
            if self.gone_after_s <= since_s < self.back_after_s:
                return []
        return [self]

    def supports(self, info) -> bool:
        return self.device.supports(info)

    def get_info(self, info) -> str:
        return self.device.get_info(info)

    def hardware_reset(self) -> None:
        self.reset_s = self.clock.now()


def test_a_missing_camera_lists_those_that_are_there():
    bus = Bus(ManualClock(), gone_after_s=0, back_after_s=0)
    with pytest.raises(CameraError, match=r"no RealSense with serial '7'. Plugged in: 42"):
        find_device(rs, bus, "7")
    with pytest.raises(CameraError, match="Plugged in: none"):
        find_device(rs, rs.context(), "7")


@pytest.mark.parametrize("gone_after_s", [0.0, 0.35, 1.2])
def test_a_reset_waits_until_the_camera_has_left_and_come_back(gone_after_s):
    clock = ManualClock()
    bus = Bus(clock, gone_after_s=gone_after_s, back_after_s=3.0)
    reset_device(rs, bus, "42", clock)
    assert 3.0 <= clock.now() < 3.3


def test_a_camera_that_never_leaves_the_bus_is_taken_after_a_while():
    clock = ManualClock()
    reset_device(rs, Bus(clock, gone_after_s=0.0, back_after_s=0.0), "42", clock)
    assert clock.now() < 6.0


def test_a_camera_that_stays_away_after_its_reset_is_reported():
    clock = ManualClock()
    bus = Bus(clock, gone_after_s=0.5, back_after_s=1e9)
    with pytest.raises(CameraError, match="'42' did not come back within 20 s of its reset"):
        reset_device(rs, bus, "42", clock)


@pytest.mark.parametrize(("failures", "attempts"), [(0, 1), (0, 3), (1, 3), (2, 3)])
def test_starting_is_tried_again_and_reset_before_the_last_attempt(failures, attempts):
    calls: list[str] = []

    def start() -> None:
        calls.append("start")
        if calls.count("start") <= failures:
            raise CameraError("it delivers nothing")

    start_with_retries(start, lambda: calls.append("reset"), attempts)
    expected = ["start"] * failures + ["start"]
    if failures == attempts - 1 > 0:
        expected.insert(-1, "reset")
    assert calls == expected


def test_the_last_attempt_says_why_it_failed():
    def start() -> None:
        raise CameraError("it delivers nothing")

    with pytest.raises(CameraError, match="it delivers nothing"):
        start_with_retries(start, lambda: None, 3)


def test_usb_2_is_refused_unless_allowed():
    slow = device(usb="2.1")
    with pytest.raises(CameraError, match=r"runs at USB 2.1, but needs USB 3"):
        link_of(rs, slow, allow_usb2=False)
    assert link_of(rs, slow, allow_usb2=True) == "USB 2.1"
    assert link_of(rs, device(usb="3.2"), allow_usb2=False) == "USB 3.2"
    assert link_of(rs, device(usb=None), allow_usb2=False) == "no USB"


def test_the_colour_sensor_is_found_by_its_streams_wherever_it_stands():
    both = rs.software_device()
    both.add_sensor("RGB Camera by name only")
    seeing = both.add_sensor("Stereo Module")
    stream = rs.video_stream()
    stream.type, stream.fmt, stream.uid, stream.bpp = rs.stream.color, rs.format.rgb8, 1, 3
    stream.width, stream.height, stream.fps = 64, 48, 30
    seeing.add_video_stream(stream)
    assert color_sensor(rs, both).get_info(rs.camera_info.name) == "Stereo Module"
    with pytest.raises(CameraError, match="has no colour sensor"):
        color_sensor(rs, rs.software_device())
