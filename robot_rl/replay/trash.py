"""Deleted and discarded episodes: steps of a stack, the newest of which comes back.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

    trash/000007_ep_000123      episode 123, deleted in the 7th step
"""

from collections.abc import Sequence
from pathlib import Path

from robot_rl.replay.durable import move_into_place
from robot_rl.replay.schema import check_episode_id

__all__ = ["put", "restore", "trashed"]


def trashed(root: Path) -> list[tuple[int, str]]:
    """(step, episode id) of all that is in the trash."""
    found = []
    for path in (root / "trash").glob("*_ep_*"):
        step, _, name = path.name.partition("_")
        if step.isdigit() and path.is_dir():
            found.append((int(step), check_episode_id(name)))
    return found


def put(root: Path, folders: Sequence[Path], names: Sequence[str]) -> None:
    """Move episodes to the trash as one step."""
    step = 1 + max((step for step, _ in trashed(root)), default=0)
    for folder, name in zip(folders, names, strict=True):
        move_into_place(folder, root / "trash" / f"{step:06d}_{name}")


def restore(root: Path) -> list[str]:
    """Take the newest step back; returns its ids, empty if the trash is."""
    entries = trashed(root)
    newest = max((step for step, _ in entries), default=0)
    names = sorted(name for step, name in entries if step == newest)
    for name in names:
        move_into_place(root / "trash" / f"{newest:06d}_{name}", root / "episodes" / name)
    return names
