"""The UVC grabber on OpenCV's own capture, with a video file as the device."""

import time

import numpy as np
import pytest

from robot_rl.cameras.cfg import UvcCfg
from robot_rl.cameras.frame import CameraError, StampDomain
from robot_rl.cameras.uvc import UvcGrabber
from robot_rl.errors import ConfigError


def grabber(source, **fields) -> UvcGrabber:
    fields = {"width_px": 64, "height_px": 48} | fields
    return UvcGrabber(UvcCfg(name="front", source=source, **fields))


def test_every_frame_comes_once_in_order_and_the_end_is_an_error(video):
    source = grabber(str(video(count=6)))
    source.open()
    frames = [source.grab(5.0) for _ in range(6)]
    with pytest.raises(CameraError, match="delivers no further frame"):
        source.grab(5.0)
    source.close()
    assert [frame.frame_number for frame in frames] == [1, 2, 3, 4, 5, 6]
    levels = [int(np.median(frame.rgb)) for frame in frames]
    assert levels == pytest.approx([0, 8, 16, 24, 32, 40], abs=3)
    assert all(frame.depth_mm is None for frame in frames)


def test_a_file_is_played_at_its_own_rate_with_its_own_stamps(video):
    source = grabber(str(video(count=6, rate_hz=30)))
    start_s = time.monotonic()
    source.open()
    assert source.link == "recording" and source.intrinsics is None
    frames = [source.grab(5.0) for _ in range(6)]
    source.close()
    assert [frame.domain for frame in frames] == [StampDomain.DEVICE] * 6
    steps_s = np.diff([frame.device_stamp_s for frame in frames])
    assert steps_s == pytest.approx(1 / 30, abs=1e-3)
    for frame in frames:
        assert frame.arrival.monotonic_s - start_s >= frame.device_stamp_s, "never ahead of it"


def test_colours_come_as_red_green_blue(tmp_path):
    import cv2

    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))  # OpenCV writes blue first
    writer.release()
    source = grabber(str(path))
    source.open()
    red, green, blue = source.grab(5.0).rgb[24, 32].astype(int)
    source.close()
    assert red > 200 and green < 60 and blue < 60


def test_it_can_be_opened_again_after_its_end(video):
    source = grabber(str(video(count=2)))
    for _ in range(2):
        source.open()
        assert int(np.median(source.grab(5.0).rgb)) <= 3, "the first frame"
    source.close()
    source.close()


def test_another_size_than_asked_for_is_refused(video):
    source = grabber(str(video()), width_px=640, height_px=480)
    source.open()
    with pytest.raises(ConfigError, match="delivers 64 x 48 px, but 640 x 480 was asked for"):
        source.grab(5.0)
    source.close()


def test_a_missing_device_is_named(tmp_path):
    with pytest.raises(CameraError, match=r"there is no /dev/video93. Is it plugged in\?"):
        grabber("/dev/video93").open()
    text = tmp_path / "no_video.avi"
    text.write_text("this is no video")
    with pytest.raises(CameraError, match=r"OpenCV cannot open .*no_video.avi' by 'ffmpeg'"):
        grabber(str(text), backend="ffmpeg").open()


def test_grabbing_before_opening_is_refused():
    source = grabber(0)
    assert source.link == "closed"
    with pytest.raises(CameraError, match=r"'front' is not open. Call open\(\) first"):
        source.grab(0.1)
