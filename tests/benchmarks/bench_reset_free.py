"""Hours of robot time and calls for a person until 90 %: there and back, without resets.

    python tests/benchmarks/bench_reset_free.py --seeds 1

Push the puck to the goal, push it back, and so on, in the twin; demonstrations of both ways, from
scripted experts with a person's faults. Beside it the same learner that is reset in every episode,
at the same robot time. Runs are kept by their configuration, and a killed one goes on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from robot_rl.apps.report.attempts import cost_to
from robot_rl.apps.summary import deployed_curve, summarize
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import steps_to_threshold

THERE, BACK = "push", "push-back"
CONTROL_HZ = 20.0


def command(*words: object) -> None:
    """Run a verb of robot-rl, to its end."""
    subprocess.run([sys.executable, "-m", "robot_rl", *map(str, words)], check=True)


def demonstrations(task: str, count: int, out: Path) -> Path:
    """Recorded once."""
    path = out / f"{task}-{count}.zarr"
    if not path.exists():
        part = path.with_suffix(".part")
        command("collect", "--env", task, "--out", part, "--episodes", count, "--append")
        part.rename(path)
    return path


def learn(seed: int, steps: int, demos: int, out: Path, *, is_reset: bool) -> Path:
    """A finished run."""
    kind = "reset" if is_reset else "undo"
    folder = out / f"{kind}-s{seed}-{steps}-d{demos}"
    record = RunRecord.read(folder) if (folder / "config.json").exists() else None
    if record is not None and record.state == "finished":
        return folder
    words = ["train", "--env", THERE, "--demos", demonstrations(THERE, demos, out)]
    words += ["--seed", seed, "--steps", steps, "--eval-every", 2_500, "--videos", 0]
    words += ["--eval-episodes", 50, "--out", folder, "--resume"]
    if not is_reset:
        words += ["--undo.task", BACK, "--undo.demos", demonstrations(BACK, demos, out)]
    command(*words)
    return folder


def show(folder: Path, name: str, seed: int) -> None:
    """One row of the table."""
    record = RunRecord.read(folder)
    summary, points = summarize(record), deployed_curve(record)
    if record.attempts:
        cost, hours = cost_to(record, 0.9), record.attempts[-1]["robot_s"] / 3600
        reached = "-" if cost is None else f"{cost[0]:.2f} h, {cost[1]} resets"
        resets = record.attempts[-1]["resets"]
    else:
        step = steps_to_threshold([p.step for p in points], [p.rate.mean for p in points], 0.9)
        ended = [row for row in record.episodes if step is not None and row["step"] <= step]
        reached = "-" if step is None else f"{step / CONTROL_HZ / 3600:.2f} h, {len(ended)} resets"
        hours, resets = record.step / CONTROL_HZ / 3600, len(record.episodes)
    base = summary.base.mean if summary.base else float("nan")
    final = summary.final.mean if summary.final else float("nan")
    print(
        f"{name:<22} {seed:>4} {base:>5.2f} {final:>6.2f} {hours:>7.2f} {resets:>7} {reached:>22}"
    )


def main() -> int:
    """Finish what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--demos", type=int, default=10)
    parser.add_argument("--with-resets", action="store_true", help="the reset baseline, too")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/reset-free"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        for is_reset in (False, True) if asked.with_resets else (False,):
            folder = learn(seed, asked.steps, asked.demos, asked.out, is_reset=is_reset)
            runs.append((folder, "reset every episode" if is_reset else "there and back", seed))
    print(
        f"{'':<22} {'seed':>4} {'base':>5} {'final':>6} {'hours':>7} {'resets':>7} {'to 90 %':>22}"
    )
    for folder, name, seed in runs:
        show(folder, name, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
