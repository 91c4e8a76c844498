"""Episode videos that explain themselves: the picture, the critic's value, the residual.

Beside `name.webm` (VP8, which every browser plays) lies `name.json` with what the video shows.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robot_rl.config import to_plain, write_atomically
from robot_rl.errors import DataError, ShapeError
from robot_rl.types import F32, U8

__all__ = ["EpisodeVideo"]

WIDTH_PX = 400
PANEL_PX = 92
INK, FAINT, BACK = (238, 232, 226), (128, 118, 110), (34, 28, 24)  # BGR, as OpenCV paints
GOOD, BAD, VALUE, PUSH = (120, 190, 60), (70, 80, 225), (230, 170, 90), (60, 160, 245)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class EpisodeVideo:
    """Collects one episode's frames and writes them with overlays when the outcome is known.

    Args:
        path: The .webm file.
        fps: Frames per second; the control rate plays in real time.
        caption: Shown in the picture, such as "residual, step 5000, seed 12".
    """

    def __init__(self, path: Path, fps: float, caption: str = "") -> None:
        self.path = Path(path).with_suffix(".webm")
        self.fps, self.caption = fps, caption
        self._frames: list[U8] = []
        self._values: list[float] = []
        self._residuals: list[F32 | None] = []

    def add(
        self, rgb: U8, value: float | None = None, residual: Sequence[float] | F32 | None = None
    ) -> None:
        """Add the picture of one step.

        Args:
            rgb: uint8 (height, width, 3).
            value: The critic's value of the action taken, if there is a critic.
            residual: (a,) the residual action as a share of its scale, in [-1, 1].

        Raises:
            ShapeError: Not an image, or of another size than the first.
        """
        expected = self._frames[0].shape if self._frames else (*rgb.shape[:2], 3)
        if rgb.ndim != 3 or rgb.shape != expected:
            raise ShapeError(f"frame {len(self._frames)} of {self.path.name}", rgb.shape, expected)
        self._frames.append(np.array(rgb, np.uint8))
        self._values.append(float("nan") if value is None else float(value))
        self._residuals.append(None if residual is None else np.asarray(residual, np.float32))

    def close(self, success: bool | None, **facts: Any) -> Path:
        """Paint and write the video, and what it shows beside it.

        Args:
            success: The outcome; None if nobody has said.
            facts: JSON-able, for the report: step, policy, seed, length ...

        Raises:
            DataError: There are no frames, or this OpenCV cannot write VP8.
        """
        if not self._frames:
            raise DataError(f"video {self.path} has no frames. Add some before closing it.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        height, width = self._frames[0].shape[:2]
        size = (WIDTH_PX, round(height * WIDTH_PX / width / 2) * 2 + PANEL_PX)
        with _silent_stderr():  # OpenCV warns of a tag that WebM does not need
            code = cv2.VideoWriter.fourcc(*"VP80")
            writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.fps, size)
        if not writer.isOpened():
            raise DataError(
                f"this OpenCV cannot write {self.path} (VP8 in WebM). "
                "Install opencv-python-headless from PyPI."
            )
        last = len(self._frames) - 1
        for i in [*range(last + 1), *[last] * round(self.fps)]:  # hold the outcome for a second
            writer.write(self._paint(i, size, success if i == last else None))
        writer.release()
        about = {"caption": self.caption, "success": success, "frames": last + 1} | facts
        write_atomically(self.path.with_suffix(".json"), json.dumps(to_plain(about)) + "\n")
        return self.path

    def _paint(self, i: int, size: tuple[int, int], outcome: bool | None) -> U8:
        """One finished picture, BGR (height, width, 3)."""
        width, height = size
        scene = cv2.cvtColor(self._frames[i], cv2.COLOR_RGB2BGR)
        scene = cv2.resize(scene, (width, height - PANEL_PX), interpolation=cv2.INTER_AREA)
        canvas = np.full((height, width, 3), BACK, np.uint8)
        canvas[: height - PANEL_PX] = scene
        self._paint_value(canvas, i, height - PANEL_PX)
        self._paint_residual(canvas, i, height - PANEL_PX)
        if outcome is not None:
            color = GOOD if outcome else BAD
            cv2.rectangle(canvas, (0, 0), (width - 1, height - PANEL_PX), color, 6)
            _text(canvas, "success" if outcome else "failure", (14, 30), color, 0.8, 2)
        return canvas

    def _paint_value(self, canvas: U8, i: int, top: int) -> None:
        """The value over the whole episode, faint ahead of now, at the left."""
        left, right = 12, WIDTH_PX * 6 // 10
        low_y, high_y = top + PANEL_PX - 12, top + 42
        clock = f"{self.caption}  {i / self.fps:.1f} s"
        _text(canvas, clock.strip(), (left, top + 16), FAINT, 0.42)
        values = np.array(self._values)
        known = np.isfinite(values)
        if not known.any():
            return
        low, high = min(0.0, values[known].min()), max(values[known].max(), 1e-6)
        x = np.linspace(left, right, len(values)) if len(values) > 1 else np.array([left])
        y = low_y - (values - low) / (high - low) * (low_y - high_y)
        points = np.stack([x, np.where(known, y, low_y)], 1).round().astype(np.int32)
        cv2.polylines(canvas, [points], False, FAINT, 1, cv2.LINE_AA)
        cv2.polylines(canvas, [points[: i + 1]], False, VALUE, 2, cv2.LINE_AA)
        cv2.circle(canvas, tuple(int(v) for v in points[i]), 4, VALUE, -1, cv2.LINE_AA)
        if known[i]:
            _text(canvas, f"value {values[i]:.2f}", (left, top + 32), VALUE, 0.46)

    def _paint_residual(self, canvas: U8, i: int, top: int) -> None:
        """The residual's share of its scale per dimension, as bars at the right."""
        residual = self._residuals[i]
        if residual is None or len(residual) == 0:
            return
        left, right = WIDTH_PX * 6 // 10 + 24, WIDTH_PX - 12
        middle, reach = top + 60, 24
        mean = float(np.abs(residual).mean())
        _text(canvas, f"residual {mean:.0%} of scale", (left, top + 32), PUSH, 0.44)
        cv2.line(canvas, (left, middle), (right, middle), FAINT, 1)
        pitch = (right - left) / len(residual)
        for k, share in enumerate(np.clip(residual, -1, 1)):
            x0 = round(left + k * pitch + pitch * 0.15)
            x1 = round(left + (k + 1) * pitch - pitch * 0.15)
            cv2.rectangle(canvas, (x0, middle), (x1, middle - round(reach * share)), PUSH, -1)


def _text(
    canvas: U8,
    words: str,
    at: tuple[int, int],
    color: tuple[int, ...],
    size: float,
    thick: int = 1,
) -> None:
    """Anti-aliased words; OpenCV's font knows ASCII only."""
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, FONT, size, color, thick, cv2.LINE_AA)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep C code from writing to standard error meanwhile."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
