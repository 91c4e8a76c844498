"""The feed of the actor: images by name, at the policy's size, with honest stamps, or an error."""

import time

import numpy as np
import pytest

from robot_rl.cameras.cfg import CaptureCfg, RealSenseCfg, UvcCfg
from robot_rl.cameras.feed import CameraFeed
from robot_rl.cameras.frame import CameraError
from robot_rl.errors import PortError, UnknownNameError
from robot_rl.types import CameraSpec, RobotState

SIZE = {"width_px": 64, "height_px": 48}
SLOW_TO_COME_BACK = CaptureCfg(
    lost_after_s=0.4, give_up_after_s=60.0, backoff_s=30.0, max_backoff_s=30.0
)


def images_of(feed: CameraFeed):
    """The images as soon as no camera is between two runs of its recording."""
    end_s = time.monotonic() + 20.0
    while True:
        try:
            return feed.images()
        except CameraError:
            if time.monotonic() > end_s:
                raise


def test_two_cameras_give_images_for_a_robot_state(record, video):
    cameras = (
        RealSenseCfg(name="wrist", device_file=record(range(1, 61)), **SIZE),
        UvcCfg(name="front", source=str(video(levels=[40, 48] * 30)), **SIZE),
    )
    spec = CameraSpec(name="wrist", width_px=24, height_px=24, rate_hz=30.0)
    with CameraFeed(cameras, [spec]) as feed:
        images = images_of(feed)
        now_s = feed.clock.now()
        state = RobotState(
            stamp_s=now_s,
            q_rad=np.zeros(7),
            dq_rad_s=np.zeros(7),
            gripper_m=np.zeros(1),
            images=images,
        )
        assert set(state.images) == {"wrist", "front"}
        assert images["wrist"].rgb.shape == (24, 24, 3) and images["front"].rgb.shape == (
            48,
            64,
            3,
        )
        assert (images["wrist"].rgb == images["wrist"].frame_number).all()
        for image in images.values():
            assert now_s - 10.0 < image.stamp_s <= now_s, "in the time of the feed's clock"
        health = feed.health()
        assert health["wrist"].link == "recording of USB 3.2" and health["front"].received > 0
    assert {h.state.value for h in feed.health().values()} == {"closed"}


def test_the_same_frame_is_the_same_image_and_depth_is_there_too(record):
    camera = RealSenseCfg(
        name="wrist", device_file=record(range(1, 25)), capture=SLOW_TO_COME_BACK, **SIZE
    )
    with CameraFeed([camera]) as feed:
        seen = {}
        end_s = time.monotonic() + 20.0
        while len(seen) < 4 and time.monotonic() < end_s:
            image = feed.images()["wrist"]
            assert seen.setdefault(image.frame_number, image) is image
        assert len(seen) >= 4
        frame = feed.mailboxes["wrist"].newest()
        assert frame is not None and frame.depth_mm is not None


def test_a_camera_that_is_lost_is_an_error_of_the_port_and_never_an_old_image(video):
    camera = UvcCfg(name="front", source=str(video(count=4)), capture=SLOW_TO_COME_BACK, **SIZE)
    with CameraFeed([camera]) as feed:
        end_s = time.monotonic() + 20.0
        with pytest.raises(PortError, match=r"camera 'front' is .*: no image of the last 0.4 s"):
            while time.monotonic() < end_s:
                asked_s = feed.clock.now()
                assert asked_s - feed.images()["front"].stamp_s <= 0.4
        assert feed.health()["front"].age_s > 0.4


def test_opening_a_camera_that_is_not_there_says_why_and_closes_the_others(video, tmp_path):
    give_up = CaptureCfg(lost_after_s=0.05, give_up_after_s=0.2, backoff_s=0.02)
    cameras = (
        UvcCfg(name="front", source=str(video()), **SIZE),
        UvcCfg(name="side", source=str(tmp_path / "gone.avi"), capture=give_up, **SIZE),
    )
    feed = CameraFeed(cameras)
    with pytest.raises(CameraError, match=r"'side' delivers no image .* Is it plugged in\?"):
        feed.open()
    assert feed.health()["front"].state.value == "closed"


def test_a_spec_without_camera_is_refused():
    spec = CameraSpec(name="wrist", width_px=8, height_px=8, rate_hz=10.0)
    with pytest.raises(UnknownNameError, match=r"unknown camera 'wrist'. Available: front"):
        CameraFeed([UvcCfg(name="front", source=0)], [spec])


def test_a_feed_opens_from_a_robot_file(video, tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(
        f"cameras:\n  - {{kind: uvc, name: front, source: {video(levels=[40, 48] * 30)}, "
        "width_px: 64, height_px: 48}\n"
    )
    with CameraFeed.from_yaml(path) as feed:
        assert set(images_of(feed)) == {"front"}
