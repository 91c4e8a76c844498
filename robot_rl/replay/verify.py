"""Whether an episode on disk is what it says it is: every check names the place and the fault.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import DataError
from robot_rl.replay.episode_files import CameraTrack, EpisodeContent
from robot_rl.replay.image_codec import decode_image, image_size_px
from robot_rl.replay.schema import OUTCOMES, CameraMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import CONTROL_SOURCES

__all__ = ["Finding", "verify_episode", "verify_store"]

_STEP_KEYS = ("executed", "requested", "reward", "control_source")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault ("error": the episode must not be used) or oddity ("warning")."""

    severity: str
    where: str
    what: str


def _error(where: str, what: str) -> Finding:
    return Finding(severity="error", where=where, what=what)


def _warning(where: str, what: str) -> Finding:
    return Finding(severity="warning", where=where, what=what)


def verify_store(store: EpisodeStore) -> Iterator[Finding]:
    """Findings about the store itself: cut-off recordings, strangers among the episodes."""
    for name in store.partials():
        yield _warning(str(store.journal(name)), "recording was cut off: `robot-rl data repair`")
    seen: dict[str, str] = {}
    for info in store.infos():
        if info.uuid in seen:
            yield _error(info.id, f"has the uuid of {seen[info.uuid]}: delete one of the two")
        seen[info.uuid] = info.id


def verify_episode(store: EpisodeStore, name: str, *, decode: bool = True) -> list[Finding]:
    """Check one sealed episode: checksums, lengths, stamps, numbers and images.

    Args:
        store: The store.
        name: The episode.
        decode: Decode every image, not only its header.
    """
    try:
        info = store.info(name)
        content = store.content(name)
    except DataError as error:
        return [_error(name, str(error))]
    found = []
    if info.outcome not in OUTCOMES:
        found.append(_error(name, f"outcome '{info.outcome}' is none of {OUTCOMES}"))
    found += _low(name, content, info.length, store.meta.control_hz)
    for camera in store.meta.cameras:
        track = content.cameras.get(camera.name)
        if track is None:
            found.append(_warning(f"{name}/cam/{camera.name}", "the episode lacks this camera"))
        else:
            found += _camera(f"{name}/cam/{camera.name}", track, camera, info.length, decode)
    return found


def _low(name: str, content: EpisodeContent, length: int, control_hz: float) -> Iterator[Finding]:
    low = content.low
    for key in ("t_s", *(f"step/{key}" for key in _STEP_KEYS)):
        if key not in low:
            yield _error(f"{name}/low/{key}", "is missing")
            return
    for key, value in low.items():
        if key != "next_base":
            rows = length if key.startswith("step/") else length + 1
            if len(value) != rows:
                yield _error(f"{name}/low/{key}", f"has {len(value)} rows instead of {rows}")
        if not np.isfinite(value).all():
            row = int(np.argwhere(~np.isfinite(value))[0][0])
            yield _error(f"{name}/low/{key}", f"holds NaN or infinity, first in row {row}")
    if (source := low["step/control_source"]).max(initial=0) >= len(CONTROL_SOURCES):
        yield _error(
            f"{name}/low/step/control_source", f"holds {source.max()}, which is no source"
        )
    gaps = np.diff(low["t_s"])
    if (gaps <= 0).any():
        row = int(np.argmax(gaps <= 0)) + 1
        yield _error(f"{name}/low/t_s", f"stamps go back or stand still at row {row}")
    elif len(gaps) and gaps.max() > 2.5 / control_hz:
        yield _warning(
            f"{name}/low/t_s",
            f"the loop paused {gaps.max():.3f} s at row {int(gaps.argmax()) + 1}; "
            f"the control period is {1 / control_hz:.3f} s",
        )


def _camera(
    where: str, track: CameraTrack, camera: CameraMeta, length: int, decode: bool
) -> Iterator[Finding]:
    count = len(track.frames)
    for key in ("t_device_ns", "t_host_ns", "frame_no"):
        value = getattr(track, key)
        if len(value) != count:
            yield _error(f"{where}/{key}", f"has {len(value)} rows instead of {count}")
        elif (np.diff(value) < 0).any():
            row = int(np.argmax(np.diff(value) < 0)) + 1
            yield _error(f"{where}/{key}", f"goes back at frame {row}")
    ticks = track.tick_frame
    if len(ticks) != length + 1:
        yield _error(f"{where}/tick_frame", f"has {len(ticks)} rows instead of {length + 1}")
    elif (np.diff(ticks) < 0).any() or ticks.min() < -1 or ticks.max() >= count:
        yield _error(f"{where}/tick_frame", f"does not count up within -1 and {count - 1}")
    elif ticks[0] < 0:
        yield _warning(f"{where}/tick_frame", "the first observations have no frame yet")
    lost = int((np.diff(track.frame_no) - 1).clip(0).sum()) if count > 1 else 0
    if lost:
        yield _warning(f"{where}/frame_no", f"{lost} of {count + lost} frames were lost")
    size = (camera.height_px, camera.width_px)
    for k, data in enumerate(track.frames):
        place = f"{where}/{track.codec} frame {k}"
        try:
            if decode:
                decode_image(data, size, place)
            elif (found := image_size_px(data, place)) != size:
                yield _error(place, f"is {found} (h, w) px, but the store says {size}")
        except DataError as error:
            yield _error(place, str(error))
