"""Runs of one configuration belong together, whatever their seed: what a comparison compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.apps.summary import RunSummary, summarize
from robot_rl.config import config_hash, flatten, to_plain
from robot_rl.errors import DataError
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import Interval

__all__ = ["Group", "group_runs", "seed_of", "varied_fields"]

SAME_FOR_ALL = ("seed", "name", "run", "runs", "out", "path", "resume")
LABEL_KEYS = ("label", "method", "preset", "variant", "algorithm")


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed."""

    label: str
    config: Mapping[str, Any]  # without the seed
    runs: Sequence[tuple[RunRecord, RunSummary]]

    def finals(self) -> dict[str, float]:
        """Final success by seed."""
        return {seed_of(r): s.final.mean for r, s in self.runs if s.final}

    def values(self, name: str) -> list[float]:
        """A figure of `RunSummary` for each run where it is known."""
        found = (getattr(summary, name) for _, summary in self.runs)
        return [v.mean if isinstance(v, Interval) else float(v) for v in found if v is not None]


def group_runs(paths: Sequence[Path]) -> list[Group]:
    """Read the runs and group them, in the order in which they are given.

    Raises:
        DataError: There is no run in a path, or no path.
    """
    folders = [folder for path in paths for folder in _run_folders(path)]
    if not folders:
        raise DataError("there are no runs to compare. Give folders such as runs/peg-s*.")
    pooled: dict[str, list[tuple[RunRecord, RunSummary]]] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    for folder in dict.fromkeys(folders):
        record = RunRecord.read(folder)
        config = _without_seed(record.config)
        key = config_hash(config)
        configs[key] = config
        pooled.setdefault(key, []).append((record, summarize(record)))
    labels = _labels(list(configs.values()))
    return [
        Group(label=label, config=configs[key], runs=runs)
        for label, (key, runs) in zip(labels, pooled.items(), strict=True)
    ]


def _run_folders(path: Path) -> list[Path]:
    """The path itself if it is a run, else the runs in it."""
    if (path / "config.json").exists():
        return [path]
    inside = sorted(file.parent for file in path.glob("*/config.json"))
    if not inside:
        raise DataError(f"{path} holds no run. Give the folder of a run, such as runs/peg-s0.")
    return inside


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what makes no difference to what is compared."""
    return {
        key: _without_seed(value) if isinstance(value, Mapping) else value
        for key, value in to_plain(config).items()
        if key not in SAME_FOR_ALL
    }


def varied_fields(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Fields in which the configurations differ, and their value in each."""
    flat = [flatten(c) for c in configs]
    keys = sorted({key for f in flat for key in f})
    found = {key: [f.get(key, "–") for f in flat] for key in keys}
    return {key: v for key, v in found.items() if any(item != v[0] for item in v)}


def _labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short, distinct name for each: its method if that tells them apart, else what differs."""
    varied = varied_fields(configs)
    for key, values in varied.items():
        if key.split(".")[-1] in LABEL_KEYS and len(set(map(str, values))) == len(configs):
            return [str(value) for value in values]
    labels = [
        ", ".join(f"{key.split('.')[-1]} {values[i]}" for key, values in list(varied.items())[:3])
        for i in range(len(configs))
    ]
    if len(set(labels)) == len(configs) and all(labels):
        return labels
    return [f"{label or 'all'} #{i + 1}" for i, label in enumerate(labels)] if varied else ["all"]


def seed_of(record: RunRecord) -> str:
    """The seed of a run, for pairing."""
    flat = flatten(dict(record.config))
    return next((str(v) for k, v in flat.items() if k.split(".")[-1] == "seed"), record.name)
