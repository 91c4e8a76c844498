"""The episode store: a Zarr v3 folder whose sealed episodes no crash can touch.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

    task.zarr/  zarr.json              what all episodes share (`schema.StoreMeta`)
                episodes/ep_000123/    one sealed episode; immutable once renamed in
                annotations/label/     later verdicts; annotations/<name>/: rewards, progress
                trash/000007_ep_000123 deleted or discarded; `undo` takes the newest back
                .journal/              open episodes, and the writer's lock
                index.json             disposable: rebuilt from the episodes when it is stale
"""

import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.replay import annotations, trash
from robot_rl.replay.assemble import (
    content_of_journal,
    content_of_trajectory,
    json_facts,
    trajectory_of_content,
)
from robot_rl.replay.durable import move_into_place, sync_path, sync_tree
from robot_rl.replay.episode_files import EpisodeContent, read_content, write_content
from robot_rl.replay.index import EpisodeIndex, read_info
from robot_rl.replay.journal import Kind, read_journal
from robot_rl.replay.schema import (
    OUTCOMES,
    EpisodeInfo,
    StoreMeta,
    check_episode_id,
    check_name,
    episode_id,
)
from robot_rl.replay.store_folder import make_folder, read_meta, restore_parts
from robot_rl.replay.store_lock import StoreLock
from robot_rl.replay.trajectory import Trajectory
from robot_rl.replay.writer import EpisodeWriter, JournalSink

__all__ = ["EpisodeStore"]

logger = logging.getLogger(__name__)


class EpisodeStore:
    """Episodes on disk. Make one with `create` or `open`; writers are context managers.

    Readers see sealed episodes only and need no lock; a writer holds the store's lock, finishes
    what an earlier writer had sealed but not yet moved in, and leaves cut-off recordings to
    `repair`.
    """

    def __init__(self, path: Path, meta: StoreMeta, lock: StoreLock | None) -> None:
        self.path = path
        self.meta = meta
        self._lock = lock
        self._index = EpisodeIndex(path)
        self._next = 0

    # ---------------------------------------------------------------- open and close

    @classmethod
    def create(cls, path: str | Path, meta: StoreMeta) -> "EpisodeStore":
        """Make an empty store and open it for writing.

        Raises:
            DataError: Something is there already, or the disk refuses.
        """
        make_folder(Path(path).absolute(), meta)
        return cls.open(path, mode="a")

    @classmethod
    def open(cls, path: str | Path, mode: str = "r") -> "EpisodeStore":
        """Open a store.

        Args:
            path: The folder that holds zarr.json.
            mode: "r" to read sealed episodes, "a" to write as well.

        Raises:
            DataError: No store, another schema version, or another writer has it.
        """
        if mode not in ("r", "a"):
            raise ConfigError(f"mode is {mode!r}, but must be 'r' or 'a'.")
        path = Path(path).absolute()
        meta = read_meta(path)
        if mode == "r":
            return cls(path, meta, None)
        restore_parts(path)
        lock = StoreLock(path / ".journal" / "lock")
        if lock.acquire():
            logger.warning("%s: the last writer did not close the store", path)
        store = cls(path, meta, lock)
        with ExitStack() as stack:
            stack.callback(lock.release)
            store._recover()
            stack.pop_all()  # nothing went wrong: the lock stays
        return store

    def close(self) -> None:
        """Release the lock. Calling it twice is harmless."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "EpisodeStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- read

    def ids(self) -> list[str]:
        """Ids of the sealed episodes, oldest first."""
        return self._index.ids()

    def __len__(self) -> int:
        """Number of sealed episodes."""
        return len(self.ids())

    def __iter__(self) -> Iterator[Trajectory]:
        """The episodes one by one, oldest first."""
        return (self.read(name) for name in self.ids())

    def infos(self) -> list[EpisodeInfo]:
        """The index lines of all readable episodes; damaged ones are logged and left out."""
        verdicts = annotations.labels(self.path)
        return [annotations.judged(info, verdicts) for info in self._index.infos()]

    def info(self, name: str) -> EpisodeInfo:
        """One episode's index line.

        Raises:
            DataError: No such episode, or it is damaged.
        """
        return annotations.judged(read_info(self.folder(name)), annotations.labels(self.path))

    def folder(self, name: str) -> Path:
        """Where a sealed episode lies.

        Raises:
            DataError: No such episode.
        """
        folder = self.path / "episodes" / check_episode_id(name)
        if folder.is_symlink() or not folder.is_dir():
            raise DataError(
                f"{self.path}: has no episode {name}. `robot-rl data info {self.path}` lists them."
            )
        return folder

    def content(self, name: str, cameras: Iterable[str] | None = None) -> EpisodeContent:
        """An episode as stored, images still encoded; every checksum is verified.

        Args:
            name: The episode.
            cameras: Which cameras to read; None for all.

        Raises:
            DataError: Missing or damaged.
        """
        chosen = (
            self.meta.cameras if cameras is None else [self.meta.camera(name) for name in cameras]
        )
        return read_content(self.folder(name), {camera.name: camera.codec for camera in chosen})

    def read(self, name: str, cameras: Iterable[str] | None = None) -> Trajectory:
        """An episode in memory, one image of each camera a tick.

        Raises:
            DataError: Missing or damaged.
            NonFiniteError: It holds NaN.
        """
        info = self.info(name)
        return trajectory_of_content(
            self.content(name, cameras),
            self.meta,
            str(self.folder(name)),
            outcome=info.outcome,
            label_source=info.label_source,
        )

    # ---------------------------------------------------------------- write

    def append(self, trajectory: Trajectory) -> str:
        """Store a finished episode and return its id; when it returns, no crash can lose it.

        Raises:
            DataError: The store is open for reading, or the episode does not fit it.
        """
        self._writable()
        content = content_of_trajectory(
            trajectory, self.meta, uuid=uuid.uuid4().hex, t0_wall_ns=time.time_ns()
        )
        return self._adopt(self._reserve(), content)

    def begin(self, facts: Mapping[str, Any] | None = None) -> EpisodeWriter:
        """Start recording an episode step by step, journaled from the first byte.

        Args:
            facts: JSON-able: task, seed, operator, policy (version), teleop device ...
        """
        self._writable()
        name = self._reserve()
        sink = JournalSink(self, name)
        return EpisodeWriter(self.meta, name, sink, facts or {})

    def seal_journal(self, name: str) -> str:
        """Turn a closed journal into a sealed episode, or into trash if it was discarded.

        Raises:
            DataError: It holds no complete step.
        """
        self._writable()
        path = self.journal(name)
        journal = read_journal(path)
        discard = bool(journal.end and journal.end["discard"])
        if discard and not any(kind is Kind.STEP for kind, _ in journal.records):
            path.unlink()  # nothing happened, so there is nothing to undo
            return name
        content = content_of_journal(journal, self.meta, str(path))
        self._adopt(name, content, discard=discard)
        path.unlink()
        return name

    def journal(self, name: str) -> Path:
        """Where the crash log of an open episode lies."""
        return self.path / ".journal" / f"{check_episode_id(name)}.journal"

    def next_index(self) -> int:
        """Index of the next id: one that no episode has, not even in the trash."""
        used = [*self.ids(), *self.partials(), *(name for _, name in trash.trashed(self.path))]
        return max([self._next, *(1 + int(name[3:]) for name in used)])

    def label(self, name: str, outcome: str, label_source: str) -> None:
        """Say how an episode ended, later or again; the sealed episode stays as it is.

        Raises:
            DataError: No such episode.
            UnknownNameError: No such outcome.
        """
        self._writable()
        if outcome not in OUTCOMES:
            raise UnknownNameError("outcome", outcome, OUTCOMES)
        identity = read_info(self.folder(name)).uuid
        annotations.write_label(self.path, name, identity, outcome, label_source)

    def annotate(
        self, kind: str, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Keep derived arrays (progress, rewards) beside an episode; replaces an earlier one.

        Raises:
            DataError: No such episode.
            ConfigError: `kind` or an array's name cannot stand in a path.
        """
        self._writable()
        self.folder(name)
        annotations.write(self.path, kind, name, arrays, json_facts(facts))

    def annotation(self, kind: str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and facts of an annotation.

        Raises:
            DataError: No such annotation.
        """
        return annotations.read(self.path, check_name("annotation", kind), check_episode_id(name))

    def adopt(self, source: "EpisodeStore", name: str) -> str:
        """Copy a sealed episode of another store, its verdict included; its uuid stays.

        Returns:
            Its id here.

        Raises:
            DataError: It is damaged there: faults are not spread.
        """
        self._writable()
        info, folder = source.info(name), source.folder(name)
        source.content(name)
        staging = self.path / ".journal" / f"new_{uuid.uuid4().hex}"
        shutil.copytree(folder, staging, symlinks=True)
        sync_tree(staging)
        copy = self._reserve()
        if read_info(folder) != info:  # the label first: the copy must never be without it
            annotations.write_label(self.path, copy, info.uuid, info.outcome, info.label_source)
        move_into_place(staging, self.path / "episodes" / copy)
        self._index.save()
        return copy

    def delete(self, names: Iterable[str]) -> list[str]:
        """Move episodes to the trash, as one step that `undo` takes back.

        Raises:
            DataError: An episode does not exist; then none is moved.
        """
        self._writable()
        folders = [self.folder(name) for name in dict.fromkeys(names)]
        names = [folder.name for folder in folders]
        trash.put(self.path, folders, names)
        self._index.save()
        return names

    def undo(self) -> list[str]:
        """Take back the newest deletion or discard; returns the ids, empty if there was none."""
        self._writable()
        names = trash.restore(self.path)
        self._index.save()
        return names

    def partials(self) -> list[str]:
        """Ids of recordings that were cut off and wait for `repair`."""
        return sorted(
            path.stem for path in (self.path / ".journal").glob("ep_*.journal") if path.is_file()
        )

    def repair(self) -> dict[str, str]:
        """Salvage cut-off recordings and rebuild the index.

        Returns:
            What became of each recording, by id.
        """
        self._writable()
        done = {}
        for name in self.partials():
            try:
                self.seal_journal(name)
                done[name] = f"salvaged {self.info(name).length} steps, outcome unknown"
            except DataError as error:
                aside = self.path / "trash" / f"{name}.{uuid.uuid4().hex[:8]}.journal"
                self.journal(name).rename(aside)
                done[name] = f"nothing to salvage, moved to {aside}: {error}"
        self._index.save()
        return done

    # ---------------------------------------------------------------- within

    def _writable(self) -> None:
        if self._lock is None:
            raise DataError(
                f"{self.path}: is open for reading (or closed). Open it with mode='a'."
            )

    def _reserve(self) -> str:
        index = self.next_index()
        self._next = index + 1
        return episode_id(index)

    def _adopt(self, name: str, content: EpisodeContent, discard: bool = False) -> str:
        """Write, force, rename in: the rename is the moment the episode exists."""
        staging = self.path / ".journal" / f"new_{content.attrs['uuid']}"
        try:
            write_content(staging, content)
        except OSError as error:
            raise DataError(f"{self.path}: cannot write {name} ({error}). Free space.") from error
        if discard:
            trash.put(self.path, [staging], [name])
        else:
            move_into_place(staging, self.path / "episodes" / name)
            self._index.save()
        return name

    def _recover(self) -> None:
        """After a crash: drop what was never acknowledged, finish what was sealed."""
        for path in (self.path / ".journal").glob("new_*"):
            shutil.rmtree(path)
        done = {*self.ids(), *(name for _, name in trash.trashed(self.path))}
        for name in self.partials():
            path = self.journal(name)
            if name in done:  # killed between the rename and removing the journal
                path.unlink()
                continue
            try:
                if read_journal(path).end is not None:
                    self.seal_journal(name)
                    continue
                problem = "recording was cut off"
            except DataError as error:
                problem = str(error)
            logger.warning("%s: %s; run `robot-rl data repair`", path, problem)
        sync_path(self.path / ".journal")
