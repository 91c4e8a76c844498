"""The RealSense grabber on librealsense's real pipeline, fed by recordings."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from robot_rl.cameras.cfg import RealSenseCfg
from robot_rl.cameras.frame import CameraError, StampDomain
from robot_rl.cameras.realsense import RealSenseGrabber

WIDTH_PX, HEIGHT_PX = 64, 48
NUMBERS = range(1, 25)


def grabber(path, **fields) -> RealSenseGrabber:
    fields = {"width_px": WIDTH_PX, "height_px": HEIGHT_PX} | fields
    return RealSenseGrabber(RealSenseCfg(name="wrist", device_file=path, **fields))


def grab_all(source: RealSenseGrabber):
    frames = []
    try:
        source.open()
        while True:
            frames.append(source.grab(0.5))
    except CameraError as error:
        assert "delivers nothing for 0.5 s" in str(error)
    finally:
        source.close()
    return frames


def test_colour_and_depth_of_a_frame_were_taken_at_once(record):
    source = grabber(record(NUMBERS))
    frames = grab_all(source)
    for frame in frames:
        assert frame.rgb.shape == (HEIGHT_PX, WIDTH_PX, 3) and frame.rgb.dtype == np.uint8
        assert frame.depth_mm is not None and frame.depth_mm.dtype == np.uint16
        assert (frame.rgb == frame.frame_number).all(), "the pixels belong to the number"
        known = frame.depth_mm[frame.depth_mm > 0]  # aligning leaves holes
        assert known.size > 0.7 * frame.depth_mm.size
        assert (known == 500 + frame.frame_number).all(), "the depth belongs to the colour"
    numbers = [frame.frame_number for frame in frames]
    assert numbers == [*NUMBERS[1:]], "each once, in order; opening takes the first"


def test_frames_are_copies_that_outlive_the_pool(record):
    frames = grab_all(grabber(record(NUMBERS)))
    assert all(frame.rgb.flags.owndata and frame.rgb.flags.writeable for frame in frames)
    frames[0].rgb[:] = 255
    assert (frames[1].rgb == frames[1].frame_number).all()


def test_stamps_of_the_camera_and_of_the_host_agree(record):
    frames = grab_all(grabber(record(NUMBERS)))
    for frame in frames:
        assert frame.domain is StampDomain.DEVICE
        assert frame.device_stamp_s == pytest.approx(100.0 + (frame.frame_number - 1) / 30)
        assert frame.stamp_s <= frame.arrival.monotonic_s
    # A recording is played at its own rate, so both clocks have gone on alike.
    device_s = frames[-1].device_stamp_s - frames[0].device_stamp_s
    assert frames[-1].stamp_s - frames[0].stamp_s == pytest.approx(device_s, abs=1.0)


def test_intrinsics_and_link_are_known_once_open(record):
    source = grabber(record(NUMBERS))
    assert source.intrinsics is None and source.link == "closed"
    source.open()
    known = source.intrinsics
    assert known is not None and source.link == "recording of USB 3.2"
    assert (known.width_px, known.height_px) == (WIDTH_PX, HEIGHT_PX)
    assert (known.fx_px, known.fy_px, known.cx_px, known.cy_px) == (60.0, 61.0, 31.5, 23.5)
    assert known.distortion_model == "plumb_bob"
    assert known.distortion == pytest.approx((0.1, -0.05, 0.001, 0.002, 0.0))
    source.close()
    source.close()
    assert source.link == "closed"


def test_sets_without_depth_are_dropped_and_counted(record):
    source = grabber(record(NUMBERS, without_depth=NUMBERS[::2]))
    numbers = [frame.frame_number for frame in grab_all(source)]
    assert numbers == [number for number in NUMBERS if number % 2 == 0][1:]
    lonely = len(NUMBERS) // 2
    assert source.incomplete in (lonely - 1, lonely), "before the first depth there is no set"


def test_colour_alone_needs_no_depth(record):
    source = grabber(record(NUMBERS, without_depth=tuple(NUMBERS)), use_depth=False)
    frames = grab_all(source)
    assert [frame.frame_number for frame in frames] == [*NUMBERS[1:]]
    assert source.incomplete == 0 and all(frame.depth_mm is None for frame in frames)


def test_a_camera_on_usb_2_is_refused_with_what_to_do(record):
    path = record(NUMBERS, usb="2.1")
    with pytest.raises(CameraError, match=r"runs at USB 2.1, but needs USB 3 .* set allow_usb2"):
        grabber(path).open()
    allowed = grabber(path, allow_usb2=True)
    allowed.open()
    assert allowed.link == "recording of USB 2.1"
    allowed.close()


def test_a_mode_that_the_camera_lacks_is_named(record):
    with pytest.raises(CameraError, match="cannot start 320 x 240 px at 30 Hz: Couldn't resolve"):
        grabber(record(NUMBERS), width_px=320, height_px=240).open()


def test_a_camera_that_is_not_plugged_in_is_named():
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    source = RealSenseGrabber(RealSenseCfg(name="wrist", serial="no such", open_attempts=2))
    with pytest.raises(CameraError, match="no RealSense with serial 'no such'"):
        source.open()


def test_grabbing_before_opening_is_refused(tmp_path):
    with pytest.raises(CameraError, match=r"'wrist' is not open. Call open"):
        grabber(tmp_path / "none.db3").grab(0.1)


def test_without_librealsense_the_extra_is_named(tmp_path):
    (tmp_path / "pyrealsense2.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pyrealsense2'\")"
    )
    code = """
        from robot_rl.cameras.cfg import RealSenseCfg
        from robot_rl.cameras.grabber import make_grabber
        from robot_rl.errors import MissingExtraError
        try:
            make_grabber(RealSenseCfg(name="wrist", serial="1")).open()
        except MissingExtraError as error:
            print(error)
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + textwrap.dedent(code),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "pip install 'robot-rl[realsense]'" in done.stdout
