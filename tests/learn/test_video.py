"""Episode videos can be played back, and say what they show."""

import json

import cv2
import numpy as np
import pytest

from robot_rl.errors import DataError, ShapeError
from robot_rl.learn.video import EpisodeVideo


def test_a_video_plays_back_with_all_its_frames_and_its_facts(tmp_path, capfd):
    video = EpisodeVideo(tmp_path / "a", fps=10, caption="residual, seed 3")
    for i in range(20):
        frame = np.full((120, 160, 3), (200, 20, 20), np.uint8)
        video.add(frame, value=i / 20, residual=np.sin(np.arange(6) + i))
    path = video.close(True, step=500, policy="residual", seed=3)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(frame)
    assert len(frames) == 20 + 10  # and the outcome for a second
    blue, green, red = frames[5][60, 200].astype(int)
    assert red > 150 and green < 80 and blue < 80  # RGB in, not swapped
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "caption": "residual, seed 3",
        "success": True,
        "frames": 20,
        "step": 500,
        "policy": "residual",
        "seed": 3,
    }
    assert capfd.readouterr().err == ""


def test_values_and_residuals_may_be_missing(tmp_path):
    video = EpisodeVideo(tmp_path / "a.webm", fps=5)
    video.add(np.zeros((64, 64, 3), np.uint8))
    assert video.close(None).stat().st_size > 0


def test_frames_must_be_images_of_one_size(tmp_path):
    video = EpisodeVideo(tmp_path / "a.webm", fps=5)
    with pytest.raises(DataError, match="has no frames"):
        video.close(True)
    video.add(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ShapeError, match=r"frame 1 of a\.webm has shape"):
        video.add(np.zeros((32, 64, 3), np.uint8))
