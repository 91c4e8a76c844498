"""The headline figures of one run, from its logs alone, for reports, comparisons and demos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import (
    Interval,
    area_under_curve,
    steps_to_threshold,
    wilson,
    worst_dip,
    worst_window_dip,
)

__all__ = ["WINDOW", "Point", "RunSummary", "curves", "environment_of", "summarize"]

WINDOW = 50
DEPLOYED_NAMES = ("deployed", "residual", "policy")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation of one policy."""

    step: int
    rate: Interval
    successes: int
    trials: int
    mean_length: float
    failed_seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in figures; None is "not known (yet)"."""

    policy: str | None  # the evaluated policy that the run is about
    base: Interval | None
    final: Interval | None
    final_step: int | None  # of the last evaluation
    steps: int
    steps_to_80: int | None
    steps_to_95: int | None
    area: float | None
    worst_eval_dip: float | None
    worst_executed_dip: float | None
    episodes: int
    wall_s: float | None
    cpu_s_per_1k_steps: float | None

    def headline(self) -> str:
        """`base 0.48 -> residual 0.98 in 15000 steps`."""
        base = f"base {self.base.mean:.2f}" if self.base else "no base"
        final = f"{self.policy} {self.final.mean:.2f}" if self.final else "not evaluated"
        return f"{base} -> {final} in {self.steps} steps"


def curves(record: RunRecord) -> dict[str, list[Point]]:
    """Evaluations by policy, in the order of steps; several at one step are pooled."""
    pooled: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in record.evals:
        if row.get("successes"):
            pooled.setdefault((str(row.get("policy")), int(row["step"])), []).append(row)
    found: dict[str, list[Point]] = {}
    for (policy, step), rows in sorted(pooled.items(), key=lambda item: item[0][1]):
        successes = [bool(s) for row in rows for s in row["successes"]]
        lengths = [n for row in rows for n in row.get("lengths", [])]
        seeds = [s for row in rows for s in row.get("seeds", [])]
        failed = tuple(s for s, good in zip(seeds, successes, strict=False) if not good)
        found.setdefault(policy, []).append(
            Point(
                step=step,
                rate=wilson(sum(successes), len(successes)),
                successes=sum(successes),
                trials=len(successes),
                mean_length=sum(lengths) / len(lengths) if lengths else float("nan"),
                failed_seeds=failed,
            )
        )
    return found


def summarize(record: RunRecord, window: int = WINDOW) -> RunSummary:
    """The figures of a run, as far as its logs go.

    Args:
        record: Of a run that is over, running or dead.
        window: Executed episodes in the window of the worst dip.
    """
    by_policy = curves(record)
    base_points = by_policy.get("base", [])
    base = None
    if base_points:
        base = wilson(sum(p.successes for p in base_points), sum(p.trials for p in base_points))
    policy = _deployed(by_policy)
    points = by_policy.get(policy, []) if policy else []
    steps, rates = [p.step for p in points], [p.rate.mean for p in points]
    outcomes = [bool(e["success"]) for e in record.episodes if e.get("success") is not None]
    clock = record.clock[-1] if record.clock else None
    return RunSummary(
        policy=policy,
        base=base,
        final=points[-1].rate if points else None,
        final_step=steps[-1] if steps else None,
        steps=record.step,
        steps_to_80=steps_to_threshold(steps, rates, 0.8),
        steps_to_95=steps_to_threshold(steps, rates, 0.95),
        area=area_under_curve(steps, rates) if points else None,
        worst_eval_dip=worst_dip(base.mean, rates) if base and points else None,
        worst_executed_dip=worst_window_dip(base.mean, outcomes, window) if base else None,
        episodes=len(record.episodes),
        wall_s=clock["wall_s"] if clock else None,
        cpu_s_per_1k_steps=clock["cpu_s"] / clock["step"] * 1000
        if clock and clock["step"]
        else None,
    )


def environment_of(config: Mapping[str, Any]) -> str:
    """The name of the task or environment, wherever the configuration keeps it."""
    for key in ("env", "task", "env_id"):
        value = config.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return value["name"]
    nested = (v for v in config.values() if isinstance(v, Mapping))
    return next((name for v in nested if (name := environment_of(v))), "")


def _deployed(by_policy: Mapping[str, Sequence[Point]]) -> str | None:
    """The policy that the run is about: by name, else the one evaluated most; the base last."""
    for name in DEPLOYED_NAMES:
        if name in by_policy:
            return name
    others = [name for name in by_policy if name != "base"]
    if others:
        return max(others, key=lambda name: len(by_policy[name]))
    return "base" if "base" in by_policy else None
