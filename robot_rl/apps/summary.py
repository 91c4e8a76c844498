"""The headline figures of one run, from its logs alone, for reports, comparisons and demos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import (
    Interval,
    area_under_curve,
    steps_to_threshold,
    wilson,
    worst_dip,
    worst_window,
)

__all__ = [
    "WINDOW",
    "Point",
    "RunSummary",
    "curves",
    "deployed_curve",
    "environment_of",
    "summarize",
]

WINDOW = 50
DEPLOYED_NAMES = ("deployed", "residual", "policy")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation of one policy."""

    policy: str
    step: int
    rate: Interval
    successes: int
    trials: int
    mean_length: float
    failed_seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in figures; None is "not known (yet)"."""

    policy: str | None  # who was deployed at the end
    base: Interval | None
    final: Interval | None
    final_step: int | None  # of the last evaluation
    steps: int
    steps_to_80: int | None
    steps_to_95: int | None
    area: float | None
    worst_eval_dip: float | None
    worst_executed_dip: float | None
    worst_window: Interval | None  # of `WINDOW` executed episodes
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
                policy=policy,
                step=step,
                rate=wilson(sum(successes), len(successes)),
                successes=sum(successes),
                trials=len(successes),
                mean_length=sum(lengths) / len(lengths) if lengths else float("nan"),
                failed_seeds=failed,
            )
        )
    return found


def deployed_curve(record: RunRecord) -> list[Point]:
    """What would have run on the robot: one evaluation a step, whoever was deployed then.

    Where several policies were evaluated at one step, the one called deployed or residual counts,
    then any other, and the base only where it is alone.
    """

    def rank(point: Point) -> int:
        if point.policy in DEPLOYED_NAMES:
            return DEPLOYED_NAMES.index(point.policy)
        return len(DEPLOYED_NAMES) + (point.policy == "base")

    at_step: dict[int, Point] = {}
    for point in (p for points in curves(record).values() for p in points):
        best = at_step.get(point.step)
        if best is None or rank(point) < rank(best):
            at_step[point.step] = point
    return [at_step[step] for step in sorted(at_step)]


def summarize(record: RunRecord, window: int = WINDOW) -> RunSummary:
    """The figures of a run, as far as its logs go.

    Args:
        record: Of a run that is over, running or dead.
        window: Executed episodes in the window of the worst dip.
    """
    by_policy = curves(record)
    # The first alone: a frozen base on the same seeds tells nothing new, and pooling it again
    # would only make its interval look narrower than it is.
    base = by_policy["base"][0].rate if "base" in by_policy else None
    points = deployed_curve(record)
    steps, rates = [p.step for p in points], [p.rate.mean for p in points]
    outcomes = [bool(e["success"]) for e in record.episodes if e.get("success") is not None]
    lowest = worst_window(outcomes, window)
    clock = record.clock[-1] if record.clock else None
    return RunSummary(
        policy=points[-1].policy if points else None,
        base=base,
        final=points[-1].rate if points else None,
        final_step=steps[-1] if steps else None,
        steps=record.step,
        steps_to_80=steps_to_threshold(steps, rates, 0.8),
        steps_to_95=steps_to_threshold(steps, rates, 0.95),
        area=area_under_curve(steps, rates) if points else None,
        worst_eval_dip=worst_dip(base.mean, rates) if base and points else None,
        worst_executed_dip=max(0.0, base.mean - lowest.mean) if base and lowest else None,
        worst_window=lowest,
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
