"""What telling motions tell: errors of parameters after one random and one planned trial.

    python tests/benchmarks/bench_explore.py [--probes rod drawer heavy] [--seeds 5] [--mismatched]

Every hidden world is a process of its own that serves trials, and the truth only when all is
done. "Random" is a motion drawn uniformly from the family that the planned one is chosen from;
both start from the same place, go through the same environment and limits, and are fitted alike.
Reported: median and mean error of each parameter, and the mean of chi2, which says how well the
model explains the trial. Gate for the rod: median of the centre of mass within 1.5 mm and 2.5
times better than random.
"""

import argparse
from dataclasses import replace

import numpy as np
from explore_run import SETTINGS, explored, show_table

from sim.explore.plan import ObjectiveName
from sim.explore.probes import PROBES, find_probe

OBJECTIVES: tuple[ObjectiveName, ...] = ("trace", "logdet", "a-optimal")


def errors(worlds: list[dict], way: str, name: str, scale: str) -> np.ndarray:
    """(n,) errors of a parameter: relative on a log scale, else in its unit."""
    found = np.array([one["fits"][way]["values"][name] for one in worlds])
    true = np.array([one["truth"][name] for one in worlds])
    return np.abs(found / true - 1) if scale == "log" else np.abs(found - true)


def rows(probe: str, worlds: list[dict]) -> list[tuple[str, ...]]:
    """One row a way to explore."""
    table = []
    for way in worlds[0]["fits"]:
        cells = []
        for one in find_probe(probe).parameters.parameters:
            error = errors(worlds, way, one.name, one.scale)
            factor = 100 if one.scale == "log" else 1000
            cells.append(f"{factor * np.median(error):.2f} / {factor * error.mean():.2f}")
        chi2 = np.mean([world["fits"][way]["chi2"] for world in worlds])
        table.append((way, *cells, f"{chi2:.2f}"))
    return table


def main() -> None:
    """Run what is missing, and print a table a probe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--probes", nargs="+", default=["rod", "drawer", "heavy"], choices=list(PROBES)
    )
    parser.add_argument("--objectives", nargs="+", default=["a-optimal"], choices=OBJECTIVES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mismatched", action="store_true")
    args = parser.parse_args()
    for probe in args.probes:
        cfg = replace(
            SETTINGS[probe],
            objectives=tuple(args.objectives),
            is_mismatched=args.mismatched,
        )
        worlds = [explored(cfg, seed) for seed in range(args.seeds)]
        units = {"log": "%", "linear": "mm"}
        heads = [f"{p.name} [{units[p.scale]}]" for p in find_probe(probe).parameters.parameters]
        title = f"{probe}, {args.seeds} hidden worlds: median / mean error"
        show_table(title, ("motion", *heads, "chi2"), rows(probe, worlds))


if __name__ == "__main__":
    main()
