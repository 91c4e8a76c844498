"""The store that a recorder writes: a new one, or the one that is there if it fits.

learning:  **transition → episode store** → progress model → replay → residual agent → weights
"""

from pathlib import Path

from robot_rl.errors import DataError
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore

__all__ = ["open_or_create"]


def open_or_create(path: Path, meta: StoreMeta) -> EpisodeStore:
    """Open the store at `path` for writing, or make it.

    Raises:
        DataError: It is of another robot, of another rate, of other cameras or of cameras that
            were calibrated otherwise, or cannot be written.
    """
    if not path.exists():
        return EpisodeStore.create(path, meta)
    store = EpisodeStore.open(path, mode="a")
    if _identity(store.meta) != _identity(meta):
        found = store.meta
        store.close()
        raise DataError(
            f"{path} is of {_described(found)}, but what is to be recorded is of "
            f"{_described(meta)}. Give another --out."
        )
    return store


def _identity(meta: StoreMeta) -> tuple[object, ...]:
    cameras = [
        (c.name, c.width_px, c.height_px, c.codec, c.depth, c.calibration) for c in meta.cameras
    ]
    return meta.robot, meta.control_hz, *cameras


def _described(meta: StoreMeta) -> str:
    cameras = [
        f"{c.name} {c.width_px} x {c.height_px} {c.codec} calibrated {c.calibration or 'never'}"
        for c in meta.cameras
    ]
    seen = f"cameras {', '.join(cameras)}" if cameras else "no camera"
    return f"robot '{meta.robot}' at {meta.control_hz:g} Hz with {seen}"
