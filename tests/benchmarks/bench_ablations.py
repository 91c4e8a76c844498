"""What each part of the learner is worth: the default preset with one thing changed at a time.

    python tests/benchmarks/bench_ablations.py [--tasks peg fetch-push] [--seeds 5] [--jobs 2]
        [--variants full "no demos"] [--method ours] [--steps N] [--episodes N] [--only-print]

The runs lie beside those of `bench_learning.py`, under the hash of their configuration: the full
method, demonstrations and bases are made once for both tables, a run that is finished is never run
again, and a killed one goes on from its checkpoint.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_learning import TASKS, finish_all, row, show, write
from learning_run import Spec

from robot_rl.learn.methods import CANDIDATES

FULL = "full"
CHUNK = Spec(task="", method="", seed=0, steps=1).bc.chunk


def without(candidate: str) -> dict[str, Any]:
    """All candidates but one."""
    return {"candidates": [name for name in CANDIDATES if name != candidate]}


CHANGES: dict[str, dict[str, Any]] = {  # of ResidualCfg, nested by dots
    FULL: {},
    "no LayerNorm": {"td3.layer_norm": False},
    "no demos in batches": {"demo_fraction": 0.0, "chunk_demo_fraction": 0.0},
    "no critic warm-up": {"warmup_updates": 0},
    "n_step 1": {"n_step": 1},
    "2 critics": {"td3.critics": 2},
    "no base action": {"td3.see_base_action": False},
    "no phase": {"td3.see_phase": False},
    "no zero init": {"td3.zero_init": False},
    "no pull to zero": {"td3.pull": 0.0},
    "no own successes beside demos": {"add_successes": False},
    "anchor always moves": {"keep_anchor": False},
    "no caution": {"td3.caution": None},
    "no settling": {"settle_share": 0.0},
    "noisy episodes as evidence": {"explore_share": 1.0},
    "SAC residual": {"agent": "sac"},
    **{
        f"fixed scale {scale}": {"scale": scale, "max_scale": scale, "fixed_trust": True}
        for scale in (0.05, 0.1, 0.2, 0.4, 0.8)  # and a pull that stays as firm as it starts
    },
    **{f"UTD {utd}": {"utd": float(utd)} for utd in (1, 2, 8)},
    "no imitation": without("imitation"),
    "no chosen": without("chosen"),
    "no residual": without("residual"),
    "replan = chunk": {"replan": CHUNK},
}
DEMOS = {f"{count} demos": count for count in (5, 10, 40)}
BUILTIN_DEMOS = 20  # all that come with a task that is not ours


def spec(task: str, variant: str, seed: int, asked: argparse.Namespace) -> Spec | None:
    """One run; None where the task has too few demonstrations for it, or has these anyway."""
    env, steps, count = TASKS[task]
    demos = DEMOS.get(variant, count)
    if (env.startswith("gym:") and demos > BUILTIN_DEMOS) or DEMOS.get(variant) == count:
        return None
    return Spec(
        task=env,
        method=asked.method,
        seed=seed,
        steps=asked.steps or steps,
        demos=demos,
        episodes=asked.episodes,
        changes=CHANGES.get(variant, {}),
    )


def specs(tasks: Sequence[str], variants: Sequence[str], asked: argparse.Namespace) -> list[Spec]:
    """Seed by seed, so that every row of the table has its first seed early."""
    every = [
        spec(task, variant, seed, asked)
        for seed in range(asked.seeds)
        for task in tasks
        for variant in variants
    ]
    return [one for one in every if one is not None]


def table(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each task and variant with a finished run, with what it gains on the full one.

    The gain is of the mean final success over the seeds that both have finished.
    """
    rows = []
    for task in asked.tasks:
        full = row(task, FULL, specs([task], [FULL], asked), asked.out)
        of_full = {} if full is None else {run["seed"]: run["final"] for run in full["runs"]}
        for variant in asked.variants:
            found = row(task, variant, specs([task], [variant], asked), asked.out)
            if found is None:
                continue
            gains = [
                r["final"] - of_full[r["seed"]] for r in found["runs"] if r["seed"] in of_full
            ]
            found["gain_on_full"] = sum(gains) / len(gains) if gains else None
            rows.append(found)
    return rows


def show_gains(rows: Sequence[dict[str, Any]]) -> None:
    """Print the changes by what they do, worst first."""
    compared = [r for r in rows if r["gain_on_full"] is not None and r["method"] != FULL]
    for found in sorted(compared, key=lambda r: (r["task"], r["gain_on_full"])):
        print(f"{found['task']:<11} {found['method']:<19} {found['gain_on_full']:+.3f}")


def main() -> int:
    """Run what is missing, then print and write the table."""
    names = [*CHANGES, *DEMOS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=["peg", "fetch-push"], choices=list(TASKS))
    parser.add_argument("--variants", nargs="+", default=names, choices=names)
    parser.add_argument("--method", default="ours", help="what is changed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="instead of the task's own")
    parser.add_argument("--episodes", type=int, default=100, help="of an evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/learning"))
    parser.add_argument("--only-print", action="store_true")
    asked = parser.parse_args()
    if not asked.only_print:
        finish_all(specs(asked.tasks, asked.variants, asked), asked.out, asked.jobs)
    rows = table(asked)
    show(rows)
    show_gains(rows)
    write(rows, asked.out.parent / "ablations.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
