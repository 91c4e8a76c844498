"""Residual learning driven by a learned judge alone, beside the true sparse reward.

    python tests/benchmarks/bench_learned_reward.py [--tasks pick-lift drawer]
        [--rewards sparse ours detector naive] [--seeds 5] [--first-seed 5] [--jobs 1]
        [--only-print]

Tasks, bases and demonstrations are those of bench_learning.py. The judge of a task and seed is
trained on its demonstrations and 10 failures (hover, retreat) before the run; in the run neither
reward, nor the end of an episode, nor what is imitated, nor who may act knows of the simulator's
success. Rows: the true sparse reward; potentials beside the detector's success (ours); that
success alone; the plain difference of progress beside it. Two more, if asked for, turn progress
around and trust it as far as what succeeded allows (misled), or blindly (misled-trusted).

Evaluation: true success of 100 episodes on the frozen seeds. Every finished run is kept under the
hash of its configuration; a killed one goes on from its checkpoint.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_learning import TASKS, finish_all, row, show, spec, write
from learning_run import Spec, base_policy, demonstrations
from reward_episodes import SEEN

from robot_rl.apps.envs import eval_seeds, make_env
from robot_rl.apps.judging import judged_env
from robot_rl.apps.measure import measure
from robot_rl.apps.reward.data import instruction_of
from robot_rl.apps.reward.probes import Prober
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import config_hash, from_plain, to_plain, write_atomically
from robot_rl.learn.record import RunRecord
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.learn.reward_source import RewardSource
from robot_rl.learn.rollout import Driver
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.reward.alignment import AlignmentCfg
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.judge import Judge
from robot_rl.reward.progress import ProgressEstimate, ProgressQuery
from robot_rl.reward.retraining import train_judge

REWARDS: Mapping[str, RewardCfg | None] = {
    "sparse": None,
    "ours": RewardCfg(),
    "detector": RewardCfg(auxiliary="none"),
    "naive": RewardCfg(auxiliary="naive", alignment=AlignmentCfg(episodes=0)),
    "misled": RewardCfg(),
    "misled-trusted": RewardCfg(alignment=AlignmentCfg(episodes=0)),
}
DEFAULT = ["sparse", "ours", "detector", "naive"]
FAILURES, FAILURE_SEEDS = 10, 730_000


@dataclass(frozen=True, kw_only=True)
class JudgedSpec:
    """A run whose reward comes from a judge; its hash is the name of its folder."""

    learning: Spec
    reward: RewardCfg
    misled: bool = False
    failures: int = FAILURES
    model: EmbeddedCfg = field(default_factory=EmbeddedCfg)
    detector: DetectorCfg = field(default_factory=DetectorCfg)

    @property
    def seed(self) -> int:
        """Of everything."""
        return self.learning.seed

    @property
    def key(self) -> str:
        """Hash of all that the run is; a changed default is another run."""
        return config_hash({"run": self, "learner": self.learning.learner()})


class Misled(EmbeddedModel):
    """Says of every frame how much is left to do, and calls it progress."""

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """See `EmbeddedModel.score`; success is left as it is."""
        return [replace(said, progress=1 - said.progress) for said in super().score(queries)]


def judge_of(wanted: JudgedSpec, out: Path) -> Judge:
    """The judge of this task and seed, trained when it is first needed."""
    learning = wanted.learning
    task = instruction_of(learning.task)
    key = config_hash(
        {
            "task": learning.task,
            "demos": learning.demos,
            "failures": wanted.failures,
            "model": wanted.model,
            "detector": wanted.detector,
            "seed": learning.seed,
        }
    )
    folder = out / "judges" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{key}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / "detector.json").exists():
            demos = demonstrations(learning, out)
            learned = [Lesson(episode=demo, task=task, success=True) for demo in demos]
            env = make_env(learning.task)
            prober, first = Prober(env, learning.task), FAILURE_SEEDS + 1000 * learning.seed
            for k in range(wanted.failures):
                failure = prober.fail(SEEN[k % len(SEEN)], first + k)
                learned.append(Lesson(episode=failure, task=task, success=False))
            env.close()
            train_judge(
                learned, task, model=wanted.model, detector=wanted.detector, seed=learning.seed
            ).save(folder)
    judge = Judge.load(folder, task)
    return replace(judge, model=Misled.load(folder)) if wanted.misled else judge


def run(wanted: JudgedSpec, out: Path) -> None:
    """Learn by the judge's word, evaluated by the truth."""
    learning, folder = wanted.learning, out / "runs" / wanted.key
    cfg, demos = learning.learner(), demonstrations(learning, out)
    base, judge = base_policy(learning, demos, out), judge_of(wanted, out)
    env, truth = judged_env(make_env(learning.task), judge), make_env(learning.task)
    seeds = eval_seeds(learning.task)[: learning.episodes]
    with RunFolder.create(folder, to_plain(wanted), resume=True, steps=cfg.steps) as logs:

        def evaluate(step: int, name: str, driver: Driver, anchor: BasePolicy) -> float:
            with logs.off_the_clock():
                found = measure(truth, driver, anchor, seeds)
            logs.log_eval(step, name, found.seeds, found.successes, found.lengths)
            return found.rate.mean

        source = RewardSource(wanted.reward, judge, watch=env.watch)
        learner = ResidualLearner(
            cfg, env, base, demos, run=logs, evaluate=evaluate, reward=source
        )
        learner.resume()
        summary = learner.train()
    result = {"spec": to_plain(wanted), "summary": summary, "folder": str(folder)}
    write_atomically(folder / "result.json", json.dumps(to_plain(result), indent=2) + "\n")


def finish(wanted: Spec | JudgedSpec, out: Path) -> None:
    """Run what is not finished, in a process of its own."""
    if isinstance(wanted, Spec):
        finish_all([wanted], out, 1)
        return
    folder = out / "runs" / wanted.key
    if (folder / "result.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as log:
        done = subprocess.run(
            [sys.executable, __file__, "--run", json.dumps(to_plain(wanted)), "--out", str(out)],
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
    words = "done" if done.returncode == 0 else f"FAILED, see {folder / 'output.txt'}"
    kind = "misled" if wanted.misled else wanted.reward.auxiliary
    what = f"{wanted.learning.task} {kind} seed {wanted.seed}"
    print(f"{what}: {words}", flush=True)


def judged(task: str, reward: str, seed: int) -> Spec | JudgedSpec:
    """One run of the table."""
    plain, cfg = spec(task, "ours", seed), REWARDS[reward]
    if cfg is None:
        return plain
    return JudgedSpec(learning=plain, reward=cfg, misled=reward.startswith("misled"))


def verdicts(wanted: list[Spec | JudgedSpec], out: Path) -> dict[str, int] | None:
    """What the judge said of executed episodes, against the truth; None without a judge."""
    counts = {"seen": 0, "missed": 0, "false": 0, "failures": 0}
    folders = [out / "runs" / one.key for one in wanted if isinstance(one, JudgedSpec)]
    for folder in (folder for folder in folders if (folder / "result.json").exists()):
        for episode in RunRecord.read(folder).episodes:
            said, true = episode["success"], episode["true_success"]
            name = ("seen" if said else "missed") if true else "false" if said else "failures"
            counts[name] += 1
    return counts if folders else None


def table(asked: argparse.Namespace, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """One row for each task and reward with a finished run."""
    rows = []
    for task in asked.tasks:
        for reward in asked.rewards:
            wanted = [judged(task, reward, seed) for seed in seeds]
            found = row(task, reward, wanted, asked.out)  # type: ignore[arg-type]
            if found is not None:
                rows.append({**found, "verdicts": verdicts(wanted, asked.out)})
    return rows


def main() -> int:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=["pick-lift", "drawer"], choices=list(TASKS))
    parser.add_argument("--rewards", nargs="+", default=DEFAULT, choices=list(REWARDS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/learning"))
    parser.add_argument("--only-print", action="store_true")
    parser.add_argument("--run", default="", help="one run, as JSON; for the processes of this")
    asked = parser.parse_args()
    if asked.run:
        use_one_thread()
        run(from_plain(JudgedSpec, json.loads(asked.run)), asked.out)
        return 0
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    if not asked.only_print:
        wanted = [judged(t, r, s) for s in seeds for t in asked.tasks for r in asked.rewards]
        with ThreadPoolExecutor(asked.jobs) as pool:
            list(pool.map(lambda one: finish(one, asked.out), wanted))
    rows = table(asked, seeds)
    show(rows)
    for found in (found for found in rows if found["verdicts"]):
        counts = ", ".join(f"{count} {what}" for what, count in found["verdicts"].items())
        print(f"{found['task']} {found['method']}, executed episodes: {counts}")
    write(rows, asked.out.parent / "learned_reward.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
