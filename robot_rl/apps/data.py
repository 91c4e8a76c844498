"""`robot-rl data <verb>`: look at, check and mend episode stores.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

Exit codes: 0 all is well, 1 the data has faults (listed), 2 the command could not be done.
"""

import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import Positional

from robot_rl.apps.data_tables import Output, rate_text, size_text
from robot_rl.errors import ConfigError, DataError, RobotRLError
from robot_rl.replay.schema import EpisodeInfo
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.verify import Finding, verify_episode, verify_store

__all__ = [
    "DataVerb",
    "Delete",
    "Info",
    "Merge",
    "Repair",
    "Split",
    "Stats",
    "Undo",
    "Verify",
    "main",
    "run",
]


@dataclass(frozen=True, kw_only=True)
class Info:
    """Show what a store holds."""

    path: Positional[Path]
    """The store's folder."""
    limit: int = 50
    """Newest episodes to list; 0 lists all."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check checksums, lengths, stamps, numbers and images of every episode."""

    path: Positional[Path]
    """The store's folder."""
    episodes: tuple[str, ...] = ()
    """Ids to check; all by default."""
    quick: bool = False
    """Read image headers only, without decoding."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Salvage recordings that a crash cut off, and rebuild the index."""

    path: Positional[Path]
    """The store's folder."""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Copy the episodes of several stores into one; sources stay as they are."""

    out: Positional[Path]
    """The store to add to; made if it does not exist."""
    sources: Positional[tuple[Path, ...]]
    """Stores of the same robot, rate and cameras."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Copy a store's episodes into two new ones, for training and validation."""

    path: Positional[Path]
    """The store's folder."""
    first: Path
    """New store for the chosen part."""
    second: Path
    """New store for the rest."""
    fraction: float = 0.9
    """Part that goes into `first`, drawn at random."""
    seed: int = 0
    """Seed of the draw."""
    episodes: tuple[str, ...] = ()
    """Ids that go into `first` instead of a random part."""


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Move episodes to the store's trash, from where `undo` takes them back."""

    path: Positional[Path]
    """The store's folder."""
    episodes: Positional[tuple[str, ...]]
    """Ids, such as ep_000003."""


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Take back the newest deletion or discarded recording."""

    path: Positional[Path]
    """The store's folder."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Ranges of states and actions, success and intervention rates, by task."""

    path: Positional[Path]
    """The store's folder."""


DataVerb = (
    Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Repair, tyro.conf.subcommand("repair")]
    | Annotated[Merge, tyro.conf.subcommand("merge")]
    | Annotated[Split, tyro.conf.subcommand("split")]
    | Annotated[Delete, tyro.conf.subcommand("delete")]
    | Annotated[Undo, tyro.conf.subcommand("undo")]
    | Annotated[Stats, tyro.conf.subcommand("stats")]
)


def _info(args: Info, out: Output) -> int:
    store = EpisodeStore.open(args.path)
    infos = store.infos()
    cameras = ", ".join(
        f"{c.name} {c.width_px}x{c.height_px} {c.codec}"
        + (f" calibration {c.calibration}" if c.calibration else " not calibrated")
        for c in store.meta.cameras
    )
    out.table(
        str(store.path),
        ("", ""),
        [
            ("robot", store.meta.robot),
            ("control rate", f"{store.meta.control_hz:g} Hz"),
            ("cameras", cameras or "none"),
            ("episodes", len(infos)),
            ("steps", sum(info.length for info in infos)),
            ("success", rate_text(infos)),
            ("size", size_text(store.path)),
        ],
    )
    shown = infos[-args.limit :] if args.limit else infos
    if infos:
        title = "Episodes" if len(shown) == len(infos) else f"The newest {len(shown)} episodes"
        columns = (
            "id",
            "task",
            "steps",
            "seconds",
            "outcome",
            "labelled by",
            "return",
            "takeovers",
        )
        rows = [
            (
                i.id,
                i.task,
                i.length,
                f"{i.duration_s:.1f}",
                i.outcome,
                i.label_source,
                f"{i.reward_sum:.3g}",
                i.interventions,
            )
            for i in shown
        ]
        out.table(title, columns, rows)
    damaged = len(store) - len(infos)
    if damaged:
        out.line(f"{damaged} episodes are damaged. Next: robot-rl data verify {store.path}")
    if partials := store.partials():
        out.line(f"{len(partials)} recordings open or cut off: robot-rl data repair {store.path}")
    return 1 if damaged else 0


def _verify(args: Verify, out: Output) -> int:
    store = EpisodeStore.open(args.path)
    names = args.episodes or tuple(store.ids())
    findings: list[Finding] = list(verify_store(store))
    bad = set()
    for name in names:
        store.folder(name)
        found = verify_episode(store, name, decode=not args.quick)
        findings += found
        if any(finding.severity == "error" for finding in found):
            bad.add(name)
    if findings:
        rows = [(f.severity, f.where, f.what) for f in findings]
        out.table("Findings", ("severity", "where", "what"), rows)
    errors = sum(finding.severity == "error" for finding in findings)
    out.line(f"{len(names)} episodes checked: {errors} errors, {len(findings) - errors} warnings.")
    if bad:
        out.line(f"Next: robot-rl data delete {store.path} {' '.join(sorted(bad))}")
    return 1 if errors else 0


def _repair(args: Repair, out: Output) -> int:
    with EpisodeStore.open(args.path, mode="a") as store:
        done = store.repair()
        out.table("Repaired", ("recording", "result"), list(done.items()))
        out.line(f"{len(done)} cut-off recordings; the index lists {len(store.infos())} episodes.")
    return 0


def _same_kind(a: EpisodeStore, b: EpisodeStore) -> None:
    for key in ("robot", "control_hz"):
        if getattr(a.meta, key) != getattr(b.meta, key):
            raise DataError(
                f"{b.path}: {key} is {getattr(b.meta, key)!r}, but {a.path} has "
                f"{getattr(a.meta, key)!r}. Only stores of one robot and rate can be merged."
            )
    kinds = [[(c.name, c.width_px, c.height_px, c.codec) for c in s.meta.cameras] for s in (a, b)]
    if kinds[0] != kinds[1]:
        raise DataError(f"{b.path}: cameras {kinds[1]} differ from {kinds[0]} of {a.path}.")
    for ours, theirs in zip(a.meta.cameras, b.meta.cameras, strict=True):
        if ours.calibration != theirs.calibration:
            raise DataError(
                f"{b.path}: camera '{theirs.name}' has calibration "
                f"'{theirs.calibration or 'none'}', but '{ours.calibration or 'none'}' in "
                f"{a.path}. A store knows one calibration of each camera; keep them apart."
            )


def _merge(args: Merge, out: Output) -> int:
    sources = [EpisodeStore.open(path) for path in args.sources]
    if not sources:
        raise ConfigError("merge needs at least one source store.")
    for source in sources[1:]:
        _same_kind(sources[0], source)
    if args.out.exists():
        target = EpisodeStore.open(args.out, mode="a")
    else:
        target = EpisodeStore.create(args.out, sources[0].meta)
    with target:
        _same_kind(target, sources[0])
        known = {info.uuid for info in target.infos()}
        rows = []
        for source in sources:
            fresh = [info for info in source.infos() if info.uuid not in known]
            for info in fresh:
                target.adopt(source, info.id)
                known.add(info.uuid)
            rows.append((source.path, len(fresh), len(source) - len(fresh)))
        out.table(f"Merged into {target.path}", ("source", "copied", "there already"), rows)
        out.line(f"{target.path}: {len(target)} episodes.")
    return 0


def _split(args: Split, out: Output) -> int:
    store = EpisodeStore.open(args.path)
    names = store.ids()
    if args.episodes:
        for name in args.episodes:
            store.folder(name)
        chosen = set(args.episodes)
    else:
        if not 0 < args.fraction < 1:
            raise ConfigError(f"fraction is {args.fraction}, but must be within 0 and 1.")
        order = np.random.default_rng(args.seed).permutation(len(names))
        chosen = {names[k] for k in order[: round(args.fraction * len(names))]}
    made: list[Path] = []
    try:
        for path, part in (
            (args.first, [name for name in names if name in chosen]),
            (args.second, [name for name in names if name not in chosen]),
        ):
            with EpisodeStore.create(path, store.meta) as target:
                made.append(target.path)
                for name in part:
                    target.adopt(store, name)
    except DataError:
        for path in made:  # both parts or neither
            shutil.rmtree(path)
        raise
    rows = [(path, len(EpisodeStore.open(path))) for path in (args.first, args.second)]
    out.table(f"Split {store.path}", ("store", "episodes"), rows)
    return 0


def _delete(args: Delete, out: Output) -> int:
    if not args.episodes:
        raise ConfigError("delete needs at least one episode id, such as ep_000003.")
    with EpisodeStore.open(args.path, mode="a") as store:
        names = store.delete(args.episodes)
        out.line(f"moved to the trash: {', '.join(names)}. Undo: robot-rl data undo {store.path}")
    return 0


def _undo(args: Undo, out: Output) -> int:
    with EpisodeStore.open(args.path, mode="a") as store:
        names = store.undo()
        out.line(f"brought back: {', '.join(names)}." if names else "the trash is empty.")
    return 0


def _stats(args: Stats, out: Output) -> int:
    store = EpisodeStore.open(args.path)
    infos = store.infos()
    if not infos:
        out.line(f"{store.path}: no episodes yet.")
        return 0
    tasks: dict[str, list[EpisodeInfo]] = {}
    for info in infos:
        tasks.setdefault(info.task, []).append(info)
    rows = []
    for task, part in sorted(tasks.items()):
        lengths = [info.length for info in part]
        taken = sum(info.interventions > 0 for info in part)
        spread = f"{min(lengths)} / {int(np.median(lengths))} / {max(lengths)}"
        rows.append((task, len(part), rate_text(part), spread, f"{taken / len(part):.0%}"))
    columns = ("task", "episodes", "success", "steps min / median / max", "with takeover")
    out.table("Tasks", columns, rows)
    groups: dict[tuple[str, int], list[np.ndarray]] = {}
    for info in infos:
        for key, value in store.content(info.id, cameras=()).low.items():
            if key.startswith(("obs/", "step/")) and value.ndim <= 2:
                value = value.reshape(len(value), -1)
                groups.setdefault((key, value.shape[1]), []).append(value)
    rows = []
    for (key, width), parts in groups.items():
        values = np.concatenate(parts).astype(np.float64)
        for k in range(width):
            column = values[:, k]
            name = f"{key}[{k}]" if width > 1 else key
            figures = (column.min(), column.mean(), column.max(), column.std())
            rows.append((name, *(f"{figure:.4g}" for figure in figures)))
    out.table("Values", ("field", "min", "mean", "max", "std"), rows)
    return 0


_VERBS: dict[type, Callable[..., int]] = {
    Info: _info,
    Verify: _verify,
    Repair: _repair,
    Merge: _merge,
    Split: _split,
    Delete: _delete,
    Undo: _undo,
    Stats: _stats,
}


def run(verb: DataVerb) -> int:  # pyright: ignore[reportInvalidTypeForm]
    """Do what a parsed verb says.

    Returns:
        0 if all is well, 1 if the data has faults.

    Raises:
        RobotRLError: It could not be done; the message says what to do next.
    """
    return _VERBS[type(verb)](verb, Output())


def main(args: Sequence[str] | None = None) -> int:
    """Parse `robot-rl data` arguments, run the verb, and return the exit code."""
    verb = tyro.cli(DataVerb, args=args, prog="robot-rl data", description=__doc__)  # type: ignore[arg-type]
    try:
        return run(verb)
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # `... | head` closes the pipe
        sys.exit(main())
