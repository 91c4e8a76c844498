"""How fast each back-end labels, and what the control loop notices of a labeler at work.

    python tests/benchmarks/bench_labels.py [--checkpoint qwen3-vl/ --device cuda]

Labels: queries of eight keyframes of two 96 x 96 cameras, frames a second and latency of a query.
Vision-language judges run on random weights of a tiny Qwen3-VL unless a checkpoint is given, which
times everything but the model. Jitter: how late each step of a 20 Hz loop starts, with a policy of
256 x 2 in it; alone, with the embedded model labelling in a thread of the same process, and with
the labeler's model behind `reward serve`. The variants take turns. A labeler is at work only if it
labels: a turn goes on until it has finished a few, however busy the machine, but not for ever.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from robot_rl.policy.stacked import StackedMLP
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.embedded_fit import fit_embedded
from robot_rl.reward.episodes import goal_of, query_of
from robot_rl.reward.labeler import AsyncLabeler, LabelerCfg
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.remote import RemoteCfg, RemoteModel
from robot_rl.reward.vlm.image_text import ImageTextCfg, ImageTextEncoder
from robot_rl.reward.vlm.local import LocalCfg, LocalEngine
from robot_rl.reward.vlm.robometer import RobometerCfg
from robot_rl.reward.vlm.robometer_heads import RobometerHeads, save_heads
from robot_rl.reward.vlm.saved import make_judge

CAMERAS, SIDE_PX, HZ, STEPS = ("front", "wrist"), 96, 20.0, 100
TASK = "push the square to the right"
LEAST_LABELS, MOST_TURNS = 3, 20.0
KEYFRAMES = np.linspace(0, STEPS, 8).round().astype(int)


def attempt(seed: int) -> Trajectory:
    """A film in which a bright square crosses the picture."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 40, (STEPS + 1, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    for t in range(STEPS + 1):
        left = int(t / STEPS * (SIDE_PX - 16))
        frames[t, 40:56, left : left + 16] = 250
    rows = np.zeros((STEPS, 2), np.float32)
    state = np.linspace(0, 1, STEPS + 1, dtype=np.float32)[:, None]
    return Trajectory(
        obs={"state": np.repeat(state, 4, axis=1), **dict.fromkeys(CAMERAS, frames)},
        executed=rows,
        requested=rows,
        reward=rows[:, 0],
        terminated=True,
        success=True,
        control_source=np.zeros(STEPS, np.uint8),
        t_s=np.arange(STEPS + 1) / HZ,
        attrs={"task": TASK},
    )


def embedded_model() -> EmbeddedModel:
    lessons = [Lesson(episode=attempt(k), task=TASK, success=True) for k in range(4)]
    return fit_embedded(lessons, EmbeddedCfg(steps=30)).model


def judges(checkpoint: Path | None, device: str, scratch: Path) -> dict[str, ProgressModel]:
    """Every judge on a local model."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "reward" / "vlm"))
    import tiny_models  # pyright: ignore

    torch.manual_seed(0)
    folder = checkpoint or tiny_models.qwen3(scratch / "qwen3")
    dtype = "float32" if device == "cpu" else "bfloat16"
    engine = LocalEngine(LocalCfg(folder=folder, device=device, dtype=dtype))
    width = engine.load().model.config.get_text_config().hidden_size
    save_heads(RobometerHeads(width), scratch / "heads")
    pairs = ImageTextEncoder(ImageTextCfg(folder=tiny_models.clip(scratch / "clip")))
    found = {kind: make_judge(kind, engine) for kind in ("grm", "roboreward", "logprob", "gvl")}
    robometer = make_judge("robometer", engine, RobometerCfg(heads=scratch / "heads"))
    return {**found, "robometer": robometer, "clip goal": make_judge("goal_baseline", pairs)}


@contextmanager
def served(folder: Path) -> Iterator[RemoteModel]:
    """The model of a folder behind `reward serve`, in a process of its own."""
    code = (
        "import sys; from pathlib import Path\n"
        "from robot_rl.apps.reward.serve import Cfg, ScoreServerCfg, main\n"
        "main(Cfg(model=Path(sys.argv[1]), server=ScoreServerCfg(port=0), threads=1))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        with RemoteModel(RemoteCfg(url=child.stdout.readline().split()[-1])) as remote:
            yield remote
    finally:
        child.terminate()
        child.communicate()


def label_times(models: dict[str, ProgressModel], calls: int) -> dict[str, dict[str, float]]:
    """Frames a second, and percentiles of the latency of a query of eight keyframes."""
    demo = attempt(99)
    query = query_of(demo, TASK, goal=goal_of(demo), frames=KEYFRAMES)
    rows = {}
    for name, model in models.items():
        model.score([query])
        took_s, began_cpu_s = [], time.process_time()
        for _ in range(calls):
            start_s = time.perf_counter()
            model.score([query])
            took_s.append(time.perf_counter() - start_s)
        spent_s = time.process_time() - began_cpu_s
        p50, p95 = np.percentile(took_s, (50, 95))
        rows[name] = {
            "frames_per_s": len(query) * calls / sum(took_s),
            "p50_ms": 1e3 * float(p50),
            "p95_ms": 1e3 * float(p95),
            "cpu_ms": 1e3 * spent_s / calls,  # of this process; what a loaded machine leaves alone
        }
    return rows


def lateness_ms(seconds: float, labels: Callable[[], int] | None = None) -> np.ndarray:
    """How late each step of a 20 Hz loop starts, on an absolute schedule.

    Args:
        seconds: For so long at least.
        labels: How many have been finished; the loop then also goes on until there are enough.
    """
    policy, obs = StackedMLP(1, (32, 256, 256, 7), layer_norm=True, seed=0), np.zeros(32, "f4")
    start_s, late = time.perf_counter() + 0.05, []
    for step in range(int(MOST_TURNS * seconds * HZ)):
        if step >= seconds * HZ and (labels is None or labels() >= LEAST_LABELS):
            break
        due_s = start_s + step / HZ
        while (left_s := due_s - time.perf_counter()) > 0:
            time.sleep(left_s)
        late.append(1e3 * (time.perf_counter() - due_s))
        policy.act(obs)
    return np.array(late)


@contextmanager
def labelling(store: EpisodeStore, model: ProgressModel) -> Iterator[Callable[[], int]]:
    """A labeler that never runs out of work: whatever is labelled is due again."""
    done: list[str] = []

    class Restless:
        """The model, called by another name each time, so that no label is ever fresh."""

        capabilities, version = model.capabilities, model.version

        @property
        def model_id(self) -> str:
            return f"{len(done)}"

        score, save = model.score, model.save

    def again(name: str, _: object) -> None:
        done.append(name)
        labeler.submit(name)

    labeler = AsyncLabeler(store, Restless(), LabelerCfg(rescan_s=0.1), on_label=again)
    with labeler:
        yield lambda: len(done)


def jitter(model: EmbeddedModel, scratch: Path, seconds: float, turns: int) -> dict[str, object]:
    """Percentiles of the lateness, alone and beside a labeler at work."""
    cameras = tuple(CameraMeta(name=n, width_px=SIDE_PX, height_px=SIDE_PX) for n in CAMERAS)
    meta = StoreMeta(robot="bench", control_hz=HZ, cameras=cameras)
    late: dict[str, list[np.ndarray]] = {"alone": [], "thread": [], "served": []}
    labels = {"thread": 0, "served": 0}
    with (
        EpisodeStore.create(scratch / "store", meta) as store,
        served(model.save(scratch / "embedded")) as remote,
    ):
        for seed in range(4):
            store.append(attempt(seed))
        for _ in range(turns):
            late["alone"].append(lateness_ms(seconds))
            for name, judge in (("thread", model), ("served", remote)):
                with labelling(store, judge) as count:
                    late[name].append(lateness_ms(seconds, count))
                    labels[name] += count()
    rows: dict[str, object] = {}
    for name, parts in late.items():
        p50, p95, p99 = np.percentile(np.concatenate(parts), (50, 95, 99))
        figures = {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}
        steps = sum(map(len, parts))
        rows[name] = {**figures, "steps": steps, "labels": labels.get(name, 0)}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/labels.json"))
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = embedded_model()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        models: dict[str, ProgressModel] = {"embedded": model}
        models |= judges(options.checkpoint, options.device, scratch)
        rows = label_times(models, options.calls)
        with served(model.save(scratch / "served")) as remote:
            rows |= label_times({"embedded, served": remote}, options.calls)
        for name, row in rows.items():
            print(f"{name:20s} " + "  ".join(f"{k} {v:9.2f}" for k, v in row.items()), flush=True)
        steps = jitter(model, scratch, options.seconds, options.turns)
    for name, row in steps.items():
        print(f"20 Hz loop, {name:8s} {row}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"labels": rows, "jitter": steps}, indent=1))


if __name__ == "__main__":
    main()
