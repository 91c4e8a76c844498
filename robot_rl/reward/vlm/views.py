"""What a judge shows the model of a query: one camera's frames, how it began, a film up to now.

learning:  transition → episode store → **progress model** → replay → residual agent → weights
"""

from collections.abc import Mapping

import numpy as np

from robot_rl.errors import UnknownNameError
from robot_rl.reward.progress import ProgressQuery
from robot_rl.reward.vlm.chat import Video
from robot_rl.types import U8

__all__ = ["chosen_camera", "film_until", "goal_image", "initial_image"]

_MIN_FILM_FRAMES = 2
"""Models of the Qwen-VL family read films in pairs of frames."""


def chosen_camera(name: str, images: Mapping[str, object]) -> str:
    """`name`, or the first camera if it is "".

    Raises:
        UnknownNameError: There is no such camera.
    """
    if name and name not in images:
        raise UnknownNameError("camera", name, images)
    return name or next(iter(images))


def initial_image(query: ProgressQuery, camera: str) -> U8:
    """How the episode began (H, W, 3): as told, else the first frame."""
    return query.initial[camera] if camera in query.initial else query.frames[camera][0]


def goal_image(query: ProgressQuery, camera: str) -> U8 | None:
    """How it looks when done (H, W, 3), if anybody has shown it."""
    return query.goal.get(camera)


def film_until(query: ProgressQuery, camera: str, last: int, max_frames: int) -> Video:
    """The film from the start of the episode to frame `last`, evenly thinned, both ends kept."""
    rows = np.arange(last + 1)
    if len(rows) > max_frames:
        rows = np.unique(np.linspace(0, last, max_frames).round().astype(int))
    frames = query.frames[camera][rows]
    start = initial_image(query, camera)
    if start.shape == frames[0].shape and not np.array_equal(start, frames[0]):
        frames = np.concatenate([start[None], frames[-(max_frames - 1) :]])
    if len(frames) < _MIN_FILM_FRAMES:
        frames = np.repeat(frames, _MIN_FILM_FRAMES, axis=0)
    span_s = float(query.stamps_s[rows[-1]] - query.stamps_s[rows[0]])
    return Video(frames=frames, fps=(len(rows) - 1) / span_s if span_s > 0 else 1.0)
