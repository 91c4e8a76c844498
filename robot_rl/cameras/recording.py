"""RGB-D frames as a RealSense recording (.db3), to be played through librealsense's own pipeline.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

Rendered or synthetic frames become a camera that needs no hardware: see
`RealSenseCfg.device_file`.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.cameras.frame import U16, Intrinsics
from robot_rl.cameras.realsense import load_librealsense
from robot_rl.types import U8

__all__ = ["RecordedFrame", "write_recording"]

_QUEUE_LENGTH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedFrame:
    """What the synthetic camera delivers at one instant."""

    frame_number: int
    stamp_s: float  # on the camera's own clock; the first may be any
    rgb: U8  # (height, width, 3)
    depth_mm: U16 | None  # (height, width), in the pixels of the colour image


def write_recording(
    path: Path,
    frames: Iterable[RecordedFrame],
    intrinsics: Intrinsics,
    *,
    rate_hz: int = 30,
    serial: str = "000000000000",
    usb: str = "3.2",
) -> None:
    """Record the frames; takes as long as they last, for the recorder goes by arrival.

    Args:
        path: Ends in .db3; replaced if it is there.
        frames: In the order of their stamps.
        intrinsics: Of colour and depth.
        rate_hz: Nominal rate of both streams.
        serial: What the recorded device calls itself.
        usb: The link that it claims, as librealsense writes it.

    Raises:
        MissingExtraError: pyrealsense2 is not installed.
    """
    rs = load_librealsense()
    path.unlink(missing_ok=True)
    device = rs.software_device()
    device.register_info(rs.camera_info.name, "Recorded frames")
    device.register_info(rs.camera_info.serial_number, serial)
    device.register_info(rs.camera_info.usb_type_descriptor, usb)
    sensors = (device.add_sensor("Stereo Module"), device.add_sensor("RGB Camera"))
    sensors[0].add_read_only_option(rs.option.depth_units, 1e-3)
    layouts = ((rs.stream.depth, rs.format.z16, 2), (rs.stream.color, rs.format.rgb8, 3))
    profiles = [
        sensor.add_video_stream(_stream(rs, intrinsics, rate_hz, uid, *layout))
        for uid, (sensor, layout) in enumerate(zip(sensors, layouts, strict=True))
    ]
    profiles[0].register_extrinsics_to(profiles[1], _identity(rs))
    device.create_matcher(rs.matchers.default)
    recorder = rs.recorder(str(path), device)
    queue = rs.frame_queue(_QUEUE_LENGTH)
    recorded = recorder.query_sensors()
    for sensor in recorded:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(queue)
    begin_s = first_s = None
    for frame in frames:
        if begin_s is None or first_s is None:
            begin_s, first_s = time.monotonic(), frame.stamp_s
        time.sleep(max(0.0, begin_s + frame.stamp_s - first_s - time.monotonic()))
        for sensor, profile, pixels in zip(
            sensors, profiles, (frame.depth_mm, frame.rgb), strict=True
        ):
            if pixels is not None:
                sensor.on_video_frame(_video_frame(rs, frame, profile, pixels))
    for sensor in recorded:
        sensor.stop()
        sensor.close()
    # The file is whole once the recorder is gone.
    del recorder, recorded


def _stream(
    rs: Any, intrinsics: Intrinsics, rate_hz: int, uid: int, kind: Any, layout: Any, bpp: int
) -> Any:
    """A stream of the synthetic device; colour and depth share one pinhole."""
    pinhole = rs.intrinsics()
    pinhole.width, pinhole.height = intrinsics.width_px, intrinsics.height_px
    pinhole.fx, pinhole.fy = intrinsics.fx_px, intrinsics.fy_px
    pinhole.ppx, pinhole.ppy = intrinsics.cx_px, intrinsics.cy_px
    pinhole.model = rs.distortion.inverse_brown_conrady
    pinhole.coeffs = list(intrinsics.distortion)
    stream = rs.video_stream()
    stream.type, stream.fmt, stream.bpp = kind, layout, bpp
    stream.index, stream.uid, stream.fps = 0, uid, rate_hz
    stream.width, stream.height = intrinsics.width_px, intrinsics.height_px
    stream.intrinsics = pinhole
    return stream


def _identity(rs: Any) -> Any:
    """Depth and colour are one eye."""
    extrinsics = rs.extrinsics()
    extrinsics.rotation, extrinsics.translation = np.eye(3).ravel().tolist(), [0.0, 0.0, 0.0]
    return extrinsics


def _video_frame(rs: Any, frame: RecordedFrame, profile: Any, pixels: Any) -> Any:
    """One image as librealsense takes it from a driver."""
    video = rs.software_video_frame()
    video.pixels = np.ascontiguousarray(pixels)
    video.bpp = pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
    video.stride = pixels.shape[1] * video.bpp
    video.timestamp, video.domain = frame.stamp_s * 1e3, rs.timestamp_domain.hardware_clock
    video.frame_number, video.profile = frame.frame_number, profile.as_video_stream_profile()
    video.depth_units = 1e-3
    return video
