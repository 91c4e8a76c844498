"""The embedded judge of progress on twin tasks, tested on kinds of failure it was never shown.

    python tests/benchmarks/bench_reward.py [--tasks peg pick-lift drawer] [--seeds 5]
                                            [--demos 20] [--failures 10] [--only-print]

Trained on demonstrations, and on episodes that hover half-way or retreat; tested on new successes
and on six other kinds of failure: standing still, random motion, near misses, the whole task done
beside the object, motions of another episode, motions with the gripper open. Every training seed
has its own demonstrations, failures and networks; the test set is the same for all. True progress
of a failure is known at five of its frames, from the time that the expert would still have needed.

Episodes, truth and results are kept under runs/bench/reward; called again, only what is missing is
made. One torch thread.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_rl.apps.collect import ExpertDriver
from robot_rl.apps.envs import make_env
from robot_rl.apps.reward_data import cases_of, lessons
from robot_rl.apps.reward_probes import Prober, steps_to_go
from robot_rl.config import config_hash, to_plain, write_atomically
from robot_rl.intervals import bootstrap
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.detector import SuccessDetector, fit_detector
from robot_rl.reward.embedded import fit_embedded
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.evaluation import Case, evaluate, judge
from sim.tasks import make_env as make_twin_env

TASKS = ("peg", "pick-lift", "drawer")
SEEN = ("hover", "retreat")
UNSEEN = ("idle", "random", "short", "beside", "mimic", "drop")
TEST_SUCCESSES, TEST_OF_KIND, TRUE_FRAMES = 40, 16, 4
TRAIN_SEEDS, TEST_SEEDS = 710_000, 780_000  # demonstrations; failures start 20 000 and 40 000 on
FIGURES = (
    "voc",
    "mae",
    "mae_success",
    "false_positive",
    "any_time_false_positive",
    "recall",
    "too_early",
    "roc_auc",
    "kendall_tau",
    "calibration_error",
    "judged",
)
BARS = {"voc": 0.9, "mae": 0.12, "false_positive": 0.03, "any_time_false_positive": 0.03}
MOST_CPU_S = 180.0


def train_episodes(task: str, seed: int, demos: int, failures: int) -> Iterator[Trajectory]:
    """What one training seed learns from."""
    env = make_env(task)
    expert, prober = ExpertDriver(env, task), Prober(env, task)
    first, found = TRAIN_SEEDS + 1000 * seed, 0
    for k in range(10 * demos):
        episode = expert.demonstrate(first + k)
        if episode.success and found < demos:
            found += 1
            yield episode
    for k in range(failures):
        yield prober.fail(SEEN[k % len(SEEN)], first + 20_000 + k)
    env.close()


def test_episodes(task: str) -> Iterator[Trajectory]:
    """What every seed is tested on."""
    env = make_env(task)
    expert, prober = ExpertDriver(env, task), Prober(env, task)
    found = seed = 0
    while found < TEST_SUCCESSES:
        episode = expert.demonstrate(TEST_SEEDS + seed)
        seed, found = seed + 1, found + bool(episode.success)
        if episode.success:
            yield episode
    for kind in (kind for kind in UNSEEN if kind in prober.kinds()):
        for k in range(TEST_OF_KIND):
            yield prober.fail(kind, TEST_SEEDS + 40_000 + 100 * UNSEEN.index(kind) + k)
    env.close()


def kept(path: Path, task: str, episodes: Iterable[Trajectory]) -> Path:
    """A store with these episodes, made if it is not there; whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with EpisodeStore.create(part, StoreMeta(robot=f"{task} twin", control_hz=20.0)) as store:
            for episode in episodes:
                store.append(episode)
        part.rename(path)
    return path


def true_progress(path: Path, task: str) -> dict[str, dict[int, float]]:
    """Progress of the failures at some frames: 1 - steps left / steps left at the start."""
    file = path.with_suffix(".truth.json")
    if not file.exists():
        env = make_twin_env(task, difficulty={"horizon": 400})
        truth: dict[str, dict[int, float]] = {}
        store = EpisodeStore.open(path)
        for info in store.infos():
            if info.outcome == "success":
                continue
            episode = store.read(info.id)
            frames = np.linspace(0, len(episode), TRUE_FRAMES + 1).round().astype(int)
            left = steps_to_go(env, task, episode, frames.tolist())
            if left[0]:
                truth[info.id] = {
                    int(frame): float(np.clip(1 - steps / left[0], 0, 1))
                    for frame, steps in zip(frames, left, strict=True)
                    if steps is not None
                }
        env.close()
        write_atomically(file, json.dumps(truth) + "\n")
    found = json.loads(file.read_text())
    return {name: {int(k): v for k, v in frames.items()} for name, frames in found.items()}


def cases_with_truth(path: Path, task: str) -> list[Case]:
    """The test set, with what is known of the progress of its failures."""
    truth = true_progress(path, task)
    cases = cases_of((path,))
    for case in cases:
        for frame, progress in truth.get(case.name.split("/")[-1], {}).items():
            case.progress[frame] = progress
    return cases


def measured(task: str, seed: int, cfg: EmbeddedCfg, asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one training seed; trains and tests if that was not done yet."""
    what = {
        "task": task,
        "seed": seed,
        "demos": asked.demos,
        "failures": asked.failures,
        "cfg": to_plain(cfg),
    }
    file = asked.out / "runs" / f"{task}-{seed}-{config_hash(what)}.json"
    if file.exists() or asked.only_print:
        return json.loads(file.read_text()) if file.exists() else {}
    data = asked.out / "data"
    name = f"{task}-train-{seed}-{asked.demos}-{asked.failures}.zarr"
    episodes = train_episodes(task, seed, asked.demos, asked.failures)
    train = kept(data / name, task, episodes)
    test = kept(data / f"{task}-test.zarr", task, test_episodes(task))
    fitted = fit_embedded(lessons((train,)), cfg, seed=seed)
    detector = SuccessDetector(fit_detector(fitted.held_out))
    cases = judge(fitted.model, cases_with_truth(test, task))
    found = evaluate(cases, detector)
    fooled: dict[str, list[bool]] = {}
    for case, first in zip(cases, found.first_frame, strict=True):
        fooled.setdefault(case.kind, []).append(first is not None)
    result = {
        **what,
        "figures": {key: found.figures[key].mean for key in FIGURES},
        "called_success_by_kind": {kind: float(np.mean(v)) for kind, v in fooled.items()},
        "threshold": detector.cfg.threshold,
        "cpu_s": fitted.cpu_s,
        "episodes": len(cases),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result, indent=2) + "\n")
    print(f"{task} seed {seed}: {json.dumps(result['figures'])}", flush=True)
    return result


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a task: each figure's mean over seeds with its interval, and what fooled it."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [row for row in rows if row["task"] == task]
        line: dict[str, Any] = {"task": task, "seeds": len(runs)}
        for name in FIGURES:
            line[name] = to_plain(bootstrap([run["figures"][name] for run in runs]))
        line["cpu_s"] = to_plain(bootstrap([run["cpu_s"] for run in runs]))
        line["called_success_by_kind"] = {
            kind: float(np.mean([run["called_success_by_kind"][kind] for run in runs]))
            for kind in runs[0]["called_success_by_kind"]
        }
        line["missed"] = [
            name
            for name, bar in BARS.items()
            if not (line[name]["mean"] >= bar if name == "voc" else line[name]["mean"] <= bar)
        ] + ["cpu_s"] * (line["cpu_s"]["mean"] > MOST_CPU_S)
        lines.append(line)
    return lines


def show(lines: list[dict[str, Any]]) -> None:
    """Print the table: mean over seeds, and its interval."""
    print("figure".ljust(25) + "".join(f"{line['task']:>28}" for line in lines))
    for name in (*FIGURES, "cpu_s"):
        cells = [
            f"{line[name]['mean']:.3f} ({line[name]['low']:.3f} … {line[name]['high']:.3f})"
            for line in lines
        ]
        print(name.ljust(25) + "".join(cell.rjust(28) for cell in cells))
    for line in lines:
        kinds = ", ".join(f"{k} {v:.0%}" for k, v in line["called_success_by_kind"].items())
        print(f"{line['task']} ({line['seeds']} seeds), called success at any time: {kinds}")
        print(f"  bars missed: {', '.join(line['missed']) or 'none'}")


def main() -> int:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--demos", type=int, default=20)
    parser.add_argument("--failures", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/reward"))
    parser.add_argument("--only-print", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cfg = EmbeddedCfg()
    rows = [
        row
        for seed in range(asked.seeds)
        for task in asked.tasks
        if (row := measured(task, seed, cfg, asked))
    ]
    lines = table(rows)
    show(lines)
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out.parent / "reward.json"
    write_atomically(file, json.dumps(lines, indent=2) + "\n")
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
