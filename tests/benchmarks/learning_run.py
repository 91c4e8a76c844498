"""One finished run of the learning tables: demonstrations, base, learner, evaluations.

    python tests/benchmarks/learning_run.py OUT '{"task": "peg", "method": "ours", "seed": 0, ...}'

Demonstrations are the same for all methods of a task, a base for all methods of a task and seed;
both are made once, under a lock. A killed run goes on from its checkpoint when called again.
"""

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robot_rl.apps import collect
from robot_rl.apps.envs import eval_seeds, load_demos, make_env
from robot_rl.apps.measure import measure
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import config_hash, from_plain, to_plain, write_atomically
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.methods import WITHOUT_BASE, ResidualCfg, baseline
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import Driver
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.saved import load_policy, save_policy
from robot_rl.replay.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What one run is; its hash is the name of its folder."""

    task: str
    method: str
    seed: int
    steps: int
    demos: int = 20
    evaluate_every: int = 5_000
    episodes: int = 100
    changes: dict[str, Any] = field(default_factory=dict)  # of ResidualCfg, nested by dots
    bc: BCCfg = field(default_factory=BCCfg)

    @property
    def key(self) -> str:
        """Hash of the run and of all that its method resolves to: a changed default is new."""
        return config_hash({"run": self, "learner": self.learner()})

    def learner(self) -> ResidualCfg:
        """The method's configuration with the changes of this run."""
        cfg = baseline(self.method, ResidualCfg())
        cfg = replace(
            cfg,
            steps=self.steps,
            seed=self.seed,
            eval_every=self.evaluate_every,
            checkpoint_every=self.evaluate_every,
        )
        whole: dict[str, Any] = {}
        for name, value in self.changes.items():
            outer, _, inner = name.partition(".")
            if inner:
                value = replace(whole.get(outer, getattr(cfg, outer)), **{inner: value})
            whole[outer] = value
        return replace(cfg, **whole)  # at once: single fields need not fit the old others


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time makes what lies at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def demonstrations(spec: Spec, out: Path) -> list[Trajectory]:
    """Those that come with the task, or scripted ones, recorded once."""
    if spec.task.startswith("gym:"):
        return load_demos("builtin", spec.task)[: spec.demos]
    path = out / "demos" / f"{spec.task}-{spec.demos}.zarr"
    with locked(path):
        if not path.exists():
            partial = path.with_suffix(".partial")
            collect.collect(
                collect.Cfg(env=spec.task, out=partial, episodes=spec.demos, append=True)
            )
            partial.rename(path)
    return load_demos(str(path), spec.task)


def base_policy(spec: Spec, demos: list[Trajectory], out: Path) -> BasePolicy:
    """The base that all methods of this task and seed start from."""
    key = config_hash({"task": spec.task, "demos": spec.demos, "bc": spec.bc})
    path = out / "bases" / f"{key}-s{spec.seed}"
    with locked(path):
        if not (path / "policy.json").exists():
            save_policy(fit(spec.bc, demos, seed=spec.seed), path)
    return load_policy(path)


def run(spec: Spec, out: Path) -> dict[str, Any]:
    """Learn, and return what is kept of it; the run folder stays beside."""
    cfg = spec.learner()
    demos = demonstrations(spec, out)
    base = None
    if spec.method not in WITHOUT_BASE:
        base = base_policy(spec, demos, out)
    env, judge = make_env(spec.task), make_env(spec.task)
    seeds = eval_seeds(spec.task)[: spec.episodes]
    folder = out / "runs" / spec.key
    with RunFolder.create(folder, to_plain(spec), resume=True, steps=cfg.steps) as logs:

        def evaluate(step: int, name: str, driver: Driver, anchor: BasePolicy) -> float:
            with logs.off_the_clock():
                found = measure(judge, driver, anchor, seeds)
            logs.log_eval(step, name, found.seeds, found.successes, found.lengths)
            return found.rate.mean

        used = demos if cfg.demo_fraction or base is not None else []
        learner = ResidualLearner(cfg, env, base, used, run=logs, evaluate=evaluate)
        learner.resume()
        summary = learner.train()
    result = {"spec": to_plain(spec), "summary": summary, "folder": str(folder)}
    write_atomically(folder / "result.json", json.dumps(to_plain(result), indent=2) + "\n")
    return result


if __name__ == "__main__":
    use_one_thread()
    run(from_plain(Spec, json.loads(sys.argv[2])), Path(sys.argv[1]))
