"""Success against environment steps: ours beside other methods, on our tasks and one that is not.

    python tests/benchmarks/bench_learning.py [--tasks peg fetch-push] [--methods ours rlpd]
        [--seeds 5] [--first-seed 0] [--jobs 2] [--only-print]

Every finished run is kept under the hash of its configuration in runs/bench/learning/runs; called
again, only what is missing is run, and a killed run goes on from its checkpoint. Each run is a
process of its own with one torch thread. Evaluation: 100 episodes on the frozen seeds, none of
which is used for training or for choosing anything.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from learning_run import Spec

from robot_rl.config import to_plain
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import (
    bootstrap,
    interquartile_mean,
    steps_to_threshold,
    worst_dip,
    worst_window,
)

FETCH_PUSH = "gym:sim.external:External/FetchPush-v0"
TASKS = {  # name: (environment, steps, demonstrations for a base of 30 to 60 % on selection seeds)
    "fetch-push": (FETCH_PUSH, 20_000, 20),
    "peg": ("peg", 15_000, 10),
    "peg-long": ("peg-long", 25_000, 10),
    "pick-lift": ("pick-lift", 15_000, 20),
    "drawer": ("drawer", 15_000, 13),
}
METHODS = ("ours", "filtered-bc", "fast", "rlpd", "rlpd-sac", "td3", "sac", "ibrl")


def specs(tasks: list[str], methods: list[str], seeds: Iterable[int]) -> list[Spec]:
    """Seed by seed, so that every row of the table has its first seed early."""
    return [spec(task, method, seed) for seed in seeds for task in tasks for method in methods]


def spec(task: str, method: str, seed: int) -> Spec:
    """One run of the table."""
    env, steps, demos = TASKS[task]
    return Spec(task=env, method=method, seed=seed, steps=steps, demos=demos)


def finish(spec: Spec, out: Path) -> None:
    """Run what is not finished, in a process of its own."""
    folder = out / "runs" / spec.key
    if (folder / "result.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("learning_run.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("a") as log:
        done = subprocess.run(
            [sys.executable, str(script), str(out), json.dumps(to_plain(spec))],
            stdout=log,
            stderr=log,
            env=environment,
            check=False,
        )
    words = "done" if done.returncode == 0 else f"FAILED, see {folder / 'output.txt'}"
    what = " ".join([spec.method, *(f"{name}={value}" for name, value in spec.changes.items())])
    print(f"{spec.task} {what} seed {spec.seed}: {words}", flush=True)


def finish_all(wanted: list[Spec], out: Path, jobs: int) -> None:
    """Run what is not finished, `jobs` at a time, in this order."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda spec: finish(spec, out), wanted))


def measured(spec: Spec, out: Path) -> dict[str, Any] | None:
    """The figures of one finished run."""
    folder = out / "runs" / spec.key
    if not (folder / "result.json").exists():
        return None
    record = RunRecord.read(folder)
    steps = [row["step"] for row in record.evals]
    rates = [sum(row["successes"]) / len(row["successes"]) for row in record.evals]
    base = rates[0]
    executed = [row["success"] for row in record.episodes]
    window = worst_window(executed)
    return {
        "seed": spec.seed,
        "base": base,
        "final": rates[-1],
        "deployed": record.evals[-1]["policy"],
        "steps": steps,
        "rates": rates,
        "to_80": steps_to_threshold(steps, rates, 0.8),
        "to_95": steps_to_threshold(steps, rates, 0.95),
        "worst_eval_dip": worst_dip(base, rates[1:]),
        "executed_lowest_50": None if window is None else window.mean,
        "cpu_s": record.clock[-1]["cpu_s"] if record.clock else None,
    }


def table(
    tasks: list[str], methods: list[str], seeds: Iterable[int], out: Path
) -> list[dict[str, Any]]:
    """One row for each task and method with a finished run."""
    rows = []
    for task in tasks:
        for method in methods:
            found = row(task, method, specs([task], [method], seeds), out)
            rows += [] if found is None else [found]
    return rows


def row(task: str, name: str, wanted: list[Spec], out: Path) -> dict[str, Any] | None:
    """The figures of those of these runs that are finished; None if none is."""
    runs = [found for spec in wanted if (found := measured(spec, out)) is not None]
    if not runs:
        return None
    final = bootstrap([run["final"] for run in runs])
    return {
        "task": task,
        "method": name,
        "runs": runs,
        "base": sum(run["base"] for run in runs) / len(runs),
        "final": final.mean,
        "final_interval": [final.low, final.high],
        "final_iqm": interquartile_mean([run["final"] for run in runs]),
        "worst_eval_dip": max(run["worst_eval_dip"] for run in runs),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(
        f"{'task':<11} {'method':<19} {'seeds':>5} {'base':>5} {'final':>6} {'95 % interval':>14} "
        f"{'IQM':>5} {'to 80 %':>22} {'dip':>5} {'CPU-s':>6}"
    )
    for row in rows:
        low, high = row["final_interval"]
        to_80 = ",".join("-" if r["to_80"] is None else str(r["to_80"]) for r in row["runs"])
        cpu = sum(r["cpu_s"] or 0 for r in row["runs"]) / len(row["runs"])
        print(
            f"{row['task']:<11} {row['method']:<19} {len(row['runs']):>5} {row['base']:>5.2f} "
            f"{row['final']:>6.3f} {low:>6.3f} - {high:.3f} {row['final_iqm']:>5.2f} "
            f"{to_80:>22} {row['worst_eval_dip']:>5.2f} {cpu:>6.0f}"
        )


def write(rows: list[dict[str, Any]], file: Path) -> None:
    """Keep the table, and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"written: {file}")


def main() -> int:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="later ones are fresh seeds")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/learning"))
    parser.add_argument("--only-print", action="store_true")
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    if not asked.only_print:
        finish_all(specs(asked.tasks, asked.methods, seeds), asked.out, asked.jobs)
    rows = table(asked.tasks, asked.methods, seeds, asked.out)
    show(rows)
    write(rows, asked.out.parent / "learning.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
