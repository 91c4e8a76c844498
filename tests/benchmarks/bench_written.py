"""What a search for written functions costs and finds on two twin tasks, without a language model.

    python tests/benchmarks/bench_written.py [--tasks peg pick-lift] [--out runs/bench/written]
        [--trial-steps 0 --trial-base DIR]

No language model is reachable where this is run: the answers below were written by hand, as one
would plausibly write them (a plain distance, stages, a bonus for speed, mistakes), without looking
at the episodes. A local server plays them, so that all but the model's wit is measured: what the
checks accept and refuse, VOC and separation on episodes that nothing was chosen by (of those, some
kinds of failure do not occur in what was), and the time of a candidate in the sandbox.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np

from robot_rl.apps.collect import ExpertDriver, open_store
from robot_rl.apps.envs import make_env
from robot_rl.apps.reward import write as reward_write
from robot_rl.apps.reward.data import cases_of, load_judge
from robot_rl.apps.reward.probes import Prober
from robot_rl.apps.reward.trial import TrialCfg
from robot_rl.learn.progress import Progress
from robot_rl.reward.evaluation import evaluate, judge
from robot_rl.reward.written.sandbox import Sandbox
from robot_rl.reward.written.search import SearchCfg, finished_rounds

TASKS = ("peg", "pick-lift")
SEEN = ("hover", "retreat", "random", "idle")
UNSEEN = ("short", "beside", "mimic", "drop")
DEMOS, FAILURES = 12, 3
FIGURES = ("voc", "success_failure_gap", "roc_auc", "recall", "false_positive")
FIGURES += ("any_time_false_positive", "mae_success")

PEG = (
    """
def progress(gap_m):
    distance = np.linalg.norm(gap_m, axis=-1)
    return 1.0 - np.tanh(distance / 0.05), {"distance": distance}
""",
    """
def progress(gap_m):
    aside = np.linalg.norm(gap_m[:, :2], axis=-1)
    above = np.clip(gap_m[:, 2], 0.0, None)
    depth = np.clip(-gap_m[:, 2] / 0.03, 0.0, 1.0)
    align = np.exp(-aside / 0.02)
    approach = 1.0 - np.tanh(above / 0.08)
    inserted = depth * (aside < 0.005)
    return 0.3 * align + 0.3 * align * approach + 0.4 * inserted, {
        "align": align, "approach": approach, "inserted": inserted,
    }
""",
    """
def progress(gap_m, tip_velocity_m_s):
    distance = np.linalg.norm(gap_m, axis=-1)
    speed = np.linalg.norm(tip_velocity_m_s, axis=-1)
    return -distance + 0.1 * speed, {"distance": -distance, "speed": speed}
""",
    """
def progress(gap_m):
    done = np.zeros(gap_m.shape[0])
    for k in range(gap_m.shape[0]):
        done[k] = -gap_m[k, 2] > 0.024
    return done
""",
)
PEG_NEXT = (
    """
def progress(gap_m):
    aside = np.linalg.norm(gap_m[:, :2], axis=-1)
    height = gap_m[:, 2]
    far = 1.0 - np.tanh(np.hypot(aside, np.clip(height, 0.0, None)) / 0.06)
    inside = aside < 0.006
    depth = np.where(inside, np.clip(-height / 0.03, 0.0, 1.0), 0.0)
    return 0.5 * far + 0.5 * depth, {"far": far, "depth": depth}
""",
    """
def progress(gap_m, peg_tilt):
    aside = np.linalg.norm(gap_m[:, :2], axis=-1)
    upright = np.exp(-np.linalg.norm(peg_tilt, axis=-1) / 0.1)
    depth = np.clip((0.05 - gap_m[:, 2]) / 0.08, 0.0, 1.0)
    centred = np.exp(-((aside / 0.015) ** 2))
    return 0.2 * upright + 0.3 * centred + 0.5 * centred * depth, {
        "upright": upright, "centred": centred, "depth": depth,
    }
""",
    """
def progress(gap_m):
    total = 1.0 / np.linalg.norm(gap_m, axis=-1)
    return total / total.max(), {}
""",
    """
def progress(gap_m, hole_xy_m):
    tip = hole_xy_m + gap_m[:, :2]
    aside = np.linalg.norm(tip - hole_xy_m, axis=-1)
    return np.log(0.001 - gap_m[:, 2]), {"aside": aside}
""",
)
PICK = (
    """
def progress(gap_m, cube_height_m):
    near = 1.0 - np.tanh(np.linalg.norm(gap_m, axis=-1) / 0.1)
    lifted = np.clip((cube_height_m[:, 0] - 0.033) / 0.1, 0.0, 1.0)
    return 0.5 * near + 0.5 * lifted, {"near": near, "lifted": lifted}
""",
    """
def progress(gap_m, opening_m, cube_height_m):
    far = np.linalg.norm(gap_m, axis=-1)
    near = np.exp(-far / 0.1)
    closed = np.clip((0.08 - opening_m[:, 0]) / 0.02, 0.0, 1.0)
    held = closed * (far < 0.03)
    lifted = np.clip((cube_height_m[:, 0] - 0.033) / 0.11, 0.0, 1.0) * held
    return 0.3 * near + 0.2 * held + 0.5 * lifted, {
        "near": near, "held": held, "lifted": lifted,
    }
""",
    """
def progress(tool_height_m):
    return tool_height_m[:, 0], {"height": tool_height_m[:, 0]}
""",
    """
import gym
def progress(gap_m):
    return -np.linalg.norm(gap_m, axis=-1)
""",
)
PICK_NEXT = (
    """
def progress(gap_m, opening_m, cube_height_m):
    aside = np.linalg.norm(gap_m[:, :2], axis=-1)
    over = 1.0 - np.tanh(aside / 0.06)
    down = over * (1.0 - np.tanh(np.abs(gap_m[:, 2]) / 0.08))
    around = (aside < 0.02) & (np.abs(gap_m[:, 2]) < 0.02)
    closed = np.where(around, np.clip((0.08 - opening_m[:, 0]) / 0.014, 0.0, 1.0), 0.0)
    lifted = np.where(around, np.clip((cube_height_m[:, 0] - 0.033) / 0.1, 0.0, 1.0), 0.0)
    return 0.15 * over + 0.25 * down + 0.15 * closed + 0.45 * lifted, {
        "over": over, "down": down, "closed": closed, "lifted": lifted,
    }
""",
    """
def progress(gap_m, cube_height_m):
    far = np.linalg.norm(gap_m, axis=-1)
    return 10.0 * cube_height_m[:, 0] - far, {"far": far}
""",
    """
def progress(gap_m, opening_m):
    return np.where(opening_m < 0.07, 1.0, 0.5)
""",
    """
def progress(gap_m, cube_height_m, tool_velocity_m_s):
    near = np.exp(-np.linalg.norm(gap_m, axis=-1) / 0.05)
    up = np.clip((cube_height_m[:, 0] - 0.033) / 0.1, 0.0, 1.0)
    still = np.exp(-np.linalg.norm(tool_velocity_m_s, axis=-1) / 0.2)
    return 0.4 * near + 0.55 * up + 0.05 * still * up, {"near": near, "up": up, "still": still}
""",
)
ANSWERS = {"peg": (PEG, PEG_NEXT), "pick-lift": (PICK, PICK_NEXT)}


def stores(task: str, folder: Path) -> dict[str, Path]:
    """Episodes to choose by and to measure on, made once."""
    found = {"train": folder / f"{task}-train.zarr", "test": folder / f"{task}-test.zarr"}
    env = make_env(task)
    expert, prober = ExpertDriver(env, task), Prober(env, task)
    for kind, path in found.items():
        if path.exists():
            continue
        first = 760_000 if kind == "train" else 780_000
        probes = [k for k in (SEEN if kind == "train" else SEEN + UNSEEN) if k in prober.kinds()]
        part = path.with_name(f".{path.name}")
        with open_store(part, task, env) as store, Progress(path.name, DEMOS) as progress:
            seed, kept = first, 0
            while kept < DEMOS:
                episode = expert.demonstrate(seed)
                seed += 1
                if episode.success:
                    store.append(episode)
                    kept += 1
                    progress.update(kept)
            for k, probe in enumerate(probes * FAILURES):
                store.append(prober.fail(probe, first + 60_000 + k))
        part.rename(path)
    env.close()
    return found


def server(task: str) -> object:
    """The local server that plays the answers of a task."""
    path = Path(__file__).parents[1] / "reward" / "written" / "scripted_server.py"
    spec = importlib.util.spec_from_file_location("scripted_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    first, later = ANSWERS[task]

    def say(prompt: str, draft: int) -> str:
        told = "Write a better function" in prompt
        return f"```python{(later if told else first)[draft]}```"

    return module.ScriptedServer(say)


def search(task: str, data: dict[str, Path], out: Path, trial: TrialCfg) -> dict[str, object]:
    """Search, and measure what was found on the episodes that nothing was chosen by."""
    playing = server(task)
    try:
        cfg = reward_write.Cfg(
            data=(data["train"],),
            out=out,
            model="writer",
            url=playing.url,  # type: ignore[attr-defined]
            env=task,
            held_out_share=0.0,
            search=SearchCfg(rounds=2, candidates=4),
            trial=trial,
        )
        start_s = time.monotonic()
        reward_write.main(cfg)
        took_s = time.monotonic() - start_s
    finally:
        playing.close()  # type: ignore[attr-defined]
    model, detector = load_judge(out)
    cases = judge(model, cases_of((data["test"],)))
    found = evaluate(cases, detector).figures
    rounds = finished_rounds(out)
    for each in rounds:
        for c in each.candidates:
            f = c.figures
            words = c.failure or (c.trial.words if c.trial else "accepted")
            marks = f"{f.worth:.3f} {f.voc:.3f} {f.auc:.3f} {f.fooled:.3f}" if f else "-"
            print(f"{task} {each.number + 1}.{c.index + 1}: {marks} {words}")
    times = [c.figures.took_ms for r in rounds for c in r.candidates if c.figures]
    for name in FIGURES:
        print(
            f"{task} {name}: {found[name].mean:.3f} {found[name].low:.3f} {found[name].high:.3f}"
        )
    return {
        "figures": {name: vars(found[name]) for name in FIGURES},
        "test_episodes": len(cases),
        "sandbox_ms": [float(np.median(times)), float(max(times))],
        "search_s": took_s,
        "judge_ms": judged_ms(model),
    }


def judged_ms(model: object, calls: int = 200) -> list[float]:
    """Median and 95th percentile of one frame's judgement by the model in its warm sandbox."""
    vectors = np.zeros((1, model.schema.size), np.float32)  # type: ignore[attr-defined]
    took = []
    for _ in range(calls):
        start_s = time.perf_counter()
        model.progress(vectors)  # type: ignore[attr-defined]
        took.append(1e3 * (time.perf_counter() - start_s))
    return [float(v) for v in np.percentile(took[10:], (50, 95))]


def start_ms(calls: int = 5) -> list[float]:
    """Median and longest time to raise a sandbox."""
    took = []
    for _ in range(calls):
        start_s = time.perf_counter()
        with Sandbox() as sandbox:
            sandbox.start()
            took.append(1e3 * (time.perf_counter() - start_s))
    return [float(np.median(took)), float(max(took))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/written"))
    parser.add_argument("--trial-steps", type=int, default=0)
    parser.add_argument("--trial-base", type=Path, default=None)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, object] = {"sandbox_start_ms": start_ms()}
    for task in options.tasks:
        data = stores(task, options.out)
        trial = TrialCfg(steps=options.trial_steps, base=options.trial_base)
        name = f"{task}-{options.trial_steps}"
        rows[task] = search(task, data, options.out / name, trial)
    print(json.dumps(rows, indent=1))
    (options.out / "written.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
