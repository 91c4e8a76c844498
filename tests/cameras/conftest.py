"""Recordings that play through librealsense's own pipeline, and video files as webcams.

Each frame carries its number: in the grey level of its colour, and in its depth.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_rl.cameras.frame import Intrinsics

RATE_HZ = 30
PINHOLE = Intrinsics(
    width_px=64,
    height_px=48,
    fx_px=60.0,
    fy_px=61.0,
    cx_px=31.5,
    cy_px=23.5,
    distortion_model="plumb_bob",
    distortion=(0.1, -0.05, 0.001, 0.002, 0.0),
)


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Records frames of these numbers, a period apart, once for each list of numbers."""
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    from robot_rl.cameras.recording import RecordedFrame, write_recording

    folder, known = tmp_path_factory.mktemp("recordings"), {}

    def make(numbers: Sequence[int], *, without_depth: Sequence[int] = (), usb: str = "3.2"):
        key = (tuple(numbers), tuple(without_depth), usb)
        if key not in known:
            shape = (PINHOLE.height_px, PINHOLE.width_px)
            frames = [
                RecordedFrame(
                    frame_number=number,
                    stamp_s=100.0 + place / RATE_HZ,
                    rgb=np.full((*shape, 3), number, np.uint8),
                    depth_mm=None
                    if number in without_depth
                    else np.full(shape, 500 + number, np.uint16),
                )
                for place, number in enumerate(numbers)
            ]
            path = folder / f"{len(known)}.db3"
            write_recording(path, frames, PINHOLE, rate_hz=RATE_HZ, usb=usb)
            known[key] = path
        return known[key]

    return make


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video whose frames are grey levels 0, 8, 16 and so on."""

    def make(count: int = 12, rate_hz: float = RATE_HZ, levels: Sequence[int] = ()) -> Path:
        path = tmp_path / "webcam.avi"
        size = (PINHOLE.width_px, PINHOLE.height_px)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, size)
        assert writer.isOpened()
        for level in levels or range(0, 8 * count, 8):
            writer.write(np.full((*size[::-1], 3), level, np.uint8))
        writer.release()
        return path

    return make
