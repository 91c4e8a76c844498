"""The embedded judge of progress on twin tasks, tested on kinds of failure it was never shown.

    python tests/benchmarks/bench_reward.py [--tasks peg pick-lift drawer peg/pixels] [--seeds 5]
                                            [--demos 20] [--failures 10] [--only-print]
                                            [--split selection] [--keep]

Trained on demonstrations that go on for half a second, and on episodes that hover half-way or
retreat; tested on new successes and on six other kinds of failure: standing still, random motion,
near misses, the whole task done beside the object, motions of another episode, motions with an
open gripper. Every training seed has its own demonstrations, failures and networks; the test set
is the same for all. True progress of a failure is known at five of its frames, from the time that
the expert would still have needed. `--split selection` has other starts and five other kinds:
settings are chosen there.

All figures are of episodes that end with the simulator's success, but for `recall_going_on`: the
successes that are called so at any time when the episode may go on for 0.5 s.

Episodes, truth and results are kept under runs/bench/reward; called again, only what is missing is
made. One torch thread.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reward_episodes import GOES_ON_STEPS, SPLITS, Made

from robot_rl.apps.reward.data import DETECTOR_FILE
from robot_rl.apps.reward.train import learned_eyes
from robot_rl.config import config_hash, save_config, to_plain, write_atomically
from robot_rl.intervals import bootstrap
from robot_rl.learn.eyesight import EyesightCfg
from robot_rl.reward.detector import BarCfg, DetectorCfg, SuccessDetector, fit_detector
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.embedded_fit import fit_embedded
from robot_rl.reward.evaluation import Case, evaluate, judge

TASKS = ("peg", "pick-lift", "drawer")
PIXELS = "/pixels"
FIGURES = (
    "voc",
    "mae",
    "mae_success",
    "false_positive",
    "any_time_false_positive",
    "recall",
    "recall_going_on",
    "too_early",
    "roc_auc",
    "kendall_tau",
    "calibration_error",
    "judged",
    "most_false",
)
BARS = {"voc": 0.9, "mae": 0.12, "false_positive": 0.03, "any_time_false_positive": 0.03}
MOST_CPU_S = 180.0
DETECTOR, BAR = DetectorCfg(), BarCfg()


@cache
def made_of(folder: Path, task: str, split: str) -> Made:
    """The episodes of a task in state or pixel form, kept in memory once they were asked for."""
    pixels = task.endswith(PIXELS)
    return Made(folder, task.removesuffix(PIXELS), SPLITS[split], pixels=pixels)


def measured(task: str, seed: int, cfg: EmbeddedCfg, asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one training seed; trains and tests if that was not done yet."""
    what = {
        "task": task,
        "seed": seed,
        "split": asked.split,
        "demos": asked.demos,
        "failures": asked.failures,
        "cfg": to_plain(cfg),
        "detector": to_plain(DETECTOR),
        "bar": to_plain(BAR),
    }
    file = asked.out / "runs" / f"{task.replace('/', '-')}-{seed}-{config_hash(what)}.json"
    if file.exists() or asked.only_print:
        return json.loads(file.read_text()) if file.exists() else {}
    made = made_of(asked.out / "data", task, asked.split)
    taught = made.lessons(seed, asked.demos, asked.failures)
    began_s = time.process_time()
    eyes = learned_eyes(taught, EyesightCfg(), seed=seed)
    fitted = fit_embedded(taught, cfg, eyes=eyes, seed=seed)
    cpu_s = time.process_time() - began_s
    detector = SuccessDetector(fit_detector(fitted.held_out, DETECTOR, BAR))
    whole = judge(fitted.model, made.cases)
    at_end = [cut(case, GOES_ON_STEPS) if case.success else case for case in whole]
    found = evaluate(at_end, detector, resamples=1)  # intervals are over seeds
    figures = {key: found.figures[key].mean for key in FIGURES if key in found.figures}
    figures["recall_going_on"] = later_recall(whole, detector)
    figures["most_false"] = detector.cfg.most_false
    kinds: dict[str, list[tuple[bool, float]]] = {}
    for case, first in zip(at_end, found.first_frame, strict=True):
        off = np.abs(case.estimate.progress - case.progress)
        error = float(off[np.isfinite(off)].mean()) if np.isfinite(off).any() else float("nan")
        kinds.setdefault(case.kind, []).append((first is not None, error))
    result = {
        **what,
        "figures": figures,
        "called_success_by_kind": {k: float(np.mean([x for x, _ in v])) for k, v in kinds.items()},
        "mae_by_kind": {k: float(np.nanmean([x for _, x in v])) for k, v in kinds.items()},
        "threshold": detector.cfg.threshold,
        "cpu_s": cpu_s,
        "episodes": len(whole),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result, indent=2) + "\n")
    if asked.keep:
        save(fitted.model, detector, asked.out / "models" / f"{task.replace('/', '-')}-{seed}")
    print(f"{task} seed {seed}: {json.dumps(result['figures'])}", flush=True)
    return result


def save(model: EmbeddedModel, detector: SuccessDetector, folder: Path) -> None:
    """A model as `robot-rl reward eval` and `audit` read it."""
    model.save(folder)
    save_config(folder / DETECTOR_FILE, detector.cfg)


def cut(case: Case, frames: int) -> Case:
    """A judged case without its last frames; judging is causal, so its judgement is the same."""
    kept = slice(None, len(case.query) - frames)
    query, estimate = case.query, case.estimate
    columns = ("progress", "success", "sigma", "valid")
    return replace(
        case,
        query=replace(
            query,
            stamps_s=query.stamps_s[kept],
            frames={name: rows[kept] for name, rows in query.frames.items()},
            proprio=None if query.proprio is None else query.proprio[kept],
        ),
        estimate=replace(estimate, **{name: getattr(estimate, name)[kept] for name in columns}),
        progress=case.progress[kept],
        achieved=None if case.achieved is None else case.achieved[kept],
        backwards=None,
    )


def later_recall(cases: list[Case], detector: SuccessDetector) -> float:
    """Share of successes that were called so at any time, the time after success included."""
    wins = [case for case in cases if case.success]
    return float(np.mean([detector.held(case.query, case.estimate).any() for case in wins]))


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a task: each figure's mean over seeds with its interval, and what fooled it."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [row for row in rows if row["task"] == task]
        line: dict[str, Any] = {"task": task, "seeds": len(runs)}
        for name in FIGURES:
            line[name] = to_plain(bootstrap([run["figures"][name] for run in runs]))
        line["cpu_s"] = to_plain(bootstrap([run["cpu_s"] for run in runs]))
        for what in ("called_success_by_kind", "mae_by_kind"):
            kinds = runs[0][what]
            line[what] = {k: float(np.mean([run[what][k] for run in runs])) for k in kinds}
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
        errors = ", ".join(f"{k} {v:.3f}" for k, v in line["mae_by_kind"].items())
        print(f"  error of progress: {errors}")
        print(f"  bars missed: {', '.join(line['missed']) or 'none'}")


def main() -> int:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--split", choices=list(SPLITS), default="test")
    parser.add_argument("--keep", action="store_true", help="keep the models, too")
    parser.add_argument("--demos", type=int, default=20)
    parser.add_argument("--failures", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/reward"))
    parser.add_argument("--only-print", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cfg = EmbeddedCfg()
    rows = [
        row
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds)
        for task in asked.tasks
        if (row := measured(task, seed, cfg, asked))
    ]
    lines = table(rows)
    show(lines)
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out.parent / f"reward{'' if asked.split == 'test' else '-' + asked.split}.json"
    write_atomically(file, json.dumps(lines, indent=2) + "\n")
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
