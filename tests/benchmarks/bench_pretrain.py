"""What a twin saves on the robot: steps to 95 % with and without pretraining, on hidden twins.

    python tests/benchmarks/bench_pretrain.py --tasks pick-lift --arms none nominal --seeds 1

The robot is a twin whose parameters (drives, delay, mass, friction) are drawn from a seed, up to a
factor of two off. An arm of the comparison sees nothing of them but demonstrations and episodes:

    none          learns on the robot from its first step, as `robot-rl train` does
    data          calibrated offline RL on the demonstrations alone, then the robot
    nominal       pretrained in the twin as it is built
    uniform       pretrained in twins drawn between the bounds
    identified    the robot's arm moves for 8 s, its drives are fitted to what encoders said, and
                  pretraining is in twins drawn from that posterior

Each piece is kept under a hash of what it is, and a killed run goes on where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.apps.threads import use_one_thread
from robot_rl.apps.twins import make_twin, usual_parameters
from robot_rl.config import config_hash, to_plain, write_atomically
from robot_rl.env.robot_env import RobotEnv
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.candidates import fit_normaliser
from robot_rl.learn.carry_over import KIND, CarryOverCfg, Pretrained
from robot_rl.learn.fleet import Turn, run_fleet
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.pretrain import PretrainCfg, Pretrainer
from robot_rl.learn.progress import Progress
from robot_rl.learn.record import RunRecord
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import Driver
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.policy.base import BasePolicy
from robot_rl.replay.trajectory import Trajectory
from sim.batch import BatchedTwin
from sim.identify.excitation import find_motion
from sim.identify.fit import identify
from sim.identify.parameters import ParameterSet
from sim.identify.play import play_motion
from sim.port import SimPort
from sim.randomize import Exactly, RandomizedTwin
from sim.tasks import make_twin as nominal_twin
from sim.tasks.demonstrator import Demonstrator
from sim.twin import DEMO_SEEDS, EVAL_SEEDS

REACHED = 0.95
DEMOS = {"pick-lift": 20, "peg": 20, "drawer": 13, "push": 20}
SCENES = 25


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One piece: a learner on one hidden robot."""

    task: str
    seed: int
    arm: str
    steps: int = 15_000
    every: int = 1_000
    episodes: int = 100
    twin_steps: int = 30_000
    twin_utd: float = 0.75
    offline_updates: int = 2_000
    carry: CarryOverCfg = field(default_factory=CarryOverCfg)

    def learner(self) -> ResidualCfg:
        """How it learns on the robot."""
        cfg = ResidualCfg(
            steps=self.steps, seed=self.seed, eval_every=self.every, checkpoint_every=self.every
        )
        return cfg if self.arm == "none" else replace(cfg, warmup_steps=1)

    def pretraining(self) -> PretrainCfg:
        """How it learns before."""
        learn = replace(
            PretrainCfg().learn, steps=self.twin_steps, utd=self.twin_utd, seed=self.seed
        )
        return PretrainCfg(learn=learn, offline_updates=self.offline_updates)

    def folder(self, out: Path) -> Path:
        """Where its run lies: a changed default is another run."""
        pretraining = None if self.arm == "none" else self.pretraining()
        whole = {"spec": self, "learner": self.learner(), "pretraining": pretraining}
        return out / "runs" / config_hash(to_plain(whole))


def hidden_robot(task: str, seed: int) -> RandomizedTwin:
    """The robot: a twin with parameters that nobody is told."""
    twin = nominal_twin(task)
    parameters = usual_parameters(twin)
    values = parameters.sample_prior(1, np.random.default_rng((seed, 77)))[0]
    return RandomizedTwin(twin, Exactly(parameters=parameters, values=values))


class Expert:
    """The scripted expert with the faults of a person, beside a port."""

    def __init__(self, env: RobotEnv, twin: Any) -> None:
        self._env, self._expert = env, Demonstrator(twin)

    def at(self, seed: int) -> "Expert":
        """The same with the faults of another episode."""
        self._expert.reset(seed)
        return self

    def reset(self) -> None:
        """Its faults were drawn before."""

    def act(self, obs: Any, base: Any, phase: float) -> Any:
        """What it does about the robot's own state."""
        return self._expert.act(self._env.port.read())


def demonstrations(robot: RandomizedTwin, count: int) -> list[Trajectory]:
    """Successful ones, on the robot itself."""
    from robot_rl.learn.rollout import run_episode

    env = RobotEnv(SimPort(robot), robot.task)
    expert, found, seed = Expert(env, robot), [], DEMO_SEEDS[0]
    while len(found) < count:
        episode = run_episode(env, expert.at(seed), None, seed=seed, source="scripted")
        found += [replace(episode, base=None, next_base=None)] if episode.success else []
        seed += 1
        if seed > DEMO_SEEDS[0] + 20 * count:
            raise SystemExit(f"the expert fails on this robot: {len(found)} of {20 * count}")
    env.close()
    return found


def judge(robot: RandomizedTwin, run: RunFolder, spec: Spec) -> Any:
    """Measures a candidate on the robot, on frozen seeds, off the clock."""
    scenes = BatchedTwin(robot, SCENES)
    seeds = EVAL_SEEDS[: spec.episodes]

    def evaluate(learner: ResidualLearner, step: int, name: str) -> float:
        with run.off_the_clock():
            turns = [Turn(driver=learner.driver(name, explore=False), seed=s) for s in seeds]
            episodes = run_fleet(scenes, turns, learner.anchor)
        good = [bool(episode.success) for episode in episodes]
        run.log_eval(step, name, seeds, good, [len(episode) for episode in episodes])
        print(
            f"  {spec.task} {spec.arm} s{spec.seed} {step}: {name} {np.mean(good):.2f}", flush=True
        )
        return float(np.mean(good))

    return evaluate


def start_of(spec: Spec, robot: RandomizedTwin, out: Path) -> Start:
    """Demonstrations and base of a robot; the same for all arms."""
    folder = SplitFolder(out / "starts" / f"{spec.task}-s{spec.seed}")
    if not folder.is_packed:
        demos = demonstrations(robot, DEMOS[spec.task])
        base = fit(BCCfg(), demos, seed=spec.seed)
        folder.pack(Start(base=base, demos=demos, norm=_norm(demos)))
    return folder.unpack()


def _norm(demos: Sequence[Trajectory]) -> Any:
    return fit_normaliser(demos, None)  # pyright: ignore[reportArgumentType]  (there are some)


def pretrained(spec: Spec, start: Start, out: Path) -> Pretrained:
    """The pretraining of an arm, finished here if it is not."""
    cfg = spec.pretraining()
    about = {"kind": KIND, "env": spec.task, "twin": spec.arm, "seed": spec.seed, "cfg": cfg}
    path = out / "pretrained" / config_hash(to_plain(about))
    if path.exists() and RunRecord.read(path).state == "finished":
        return Pretrained.load(path)
    belief = str(identified(spec, out)) if spec.arm == "identified" else spec.arm
    scenes = None if spec.arm == "data" else BatchedTwin(make_twin(spec.task, belief), SCENES)
    with RunFolder.create(path, about, resume=True, steps=spec.twin_steps) as run:
        SplitFolder(path).pack(start)
        assert start.base is not None
        learner = Pretrainer(
            cfg,
            scenes,
            start.base,
            start.demos,
            norm=start.norm,
            run=run,
            seeds=EVAL_SEEDS[:50],
        )
        learner.resume()
        with Progress(f"pretrain {spec.arm} s{spec.seed}", spec.twin_steps) as progress:
            learner.pretrain(progress)
    return Pretrained.load(path)


def identified(spec: Spec, out: Path) -> Path:
    """The posterior of the robot's drives; what lies about stays as it is believed."""
    path = out / "identified" / f"{spec.task}-s{spec.seed}.json"
    if path.exists():
        return path
    robot, twin = hidden_robot(spec.task, spec.seed), nominal_twin(spec.task)
    nominal = twin.build()
    motion = find_motion(nominal, twin.robot, None, seed=spec.seed)
    model = robot.build().compile()
    robot.parameters.apply(model, robot.belief.sample(1, np.random.default_rng(0))[0])
    measured = play_motion(model, twin.robot, motion, seed=spec.seed, source="robot")
    drives = [p for p in usual_parameters(twin).parameters if p.name.startswith(("arm", "delay"))]
    posterior = identify(nominal, ParameterSet(drives), [measured], seed=spec.seed)
    truth = robot.parameters.as_dict(robot.belief.sample(1, np.random.default_rng(0))[0])
    true = posterior.parameters.from_dict({p.name: truth[p.name] for p in drives})
    error = np.abs(posterior.mean - posterior.parameters.to_coordinates(true))
    words = f"chi2 {posterior.chi2:.2f}, median error {np.median(error):.2f} in coordinates"
    print(f"  {spec.task} s{spec.seed}: identified, {words}", flush=True)
    posterior.save(path)
    return path


class Reached(Exception):
    """What was to be shown has been: no need to go on."""


def finish(spec: Spec, out: Path) -> None:
    """Learn on the robot until 95 % is evaluated, or the steps are over."""
    folder = spec.folder(out)
    if (folder / "result.json").exists():
        return
    robot = hidden_robot(spec.task, spec.seed)
    start = start_of(spec, robot, out)
    source = None if spec.arm == "none" else pretrained(spec, start, out)
    cfg = spec.learner()
    began = time.process_time()
    with RunFolder.create(folder, to_plain(spec), resume=True, steps=spec.steps) as run:
        measure = judge(robot, run, spec)

        def evaluate(step: int, name: str, driver: Driver, anchor: BasePolicy) -> float:
            rate = measure(learner, step, name)
            if rate >= REACHED and name != "base":
                raise Reached
            return rate

        env = RobotEnv(SimPort(robot), robot.task)
        learner = ResidualLearner(
            cfg, env, start.base, start.demos, run=run, evaluate=evaluate, norm=start.norm
        )
        if source is not None:
            source.hand_over(learner, spec.carry)
        learner.resume()
        try:
            learner.train()
        except Reached:
            print(f"  {spec.task} {spec.arm} s{spec.seed}: reached", flush=True)
        env.close()
    evals = [
        (row["step"], row["policy"], sum(row["successes"]) / len(row["successes"]))
        for row in RunRecord.read(folder).evals
    ]
    learned = [(step, rate) for step, name, rate in evals if name != "base"]
    result = {
        "spec": to_plain(spec),
        "evals": evals,
        "to_95": next((step for step, rate in learned if rate >= REACHED), None),
        "base": evals[0][2],
        "first": learned[0] if learned else None,
        "cpu_s": time.process_time() - began,
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=2) + "\n")


def table(specs: Sequence[Spec], out: Path) -> None:
    """What is finished."""
    print(f"{'task':<10} {'arm':<12} {'seed':>4} {'base':>5} {'start':>6} {'to 95 %':>8}")
    for spec in specs:
        file = spec.folder(out) / "result.json"
        if file.exists():
            found = json.loads(file.read_text())
            reached = found["to_95"] if found["to_95"] is not None else f"> {spec.steps}"
            start = (
                found["first"][1] if found["first"] and found["first"][0] == 0 else found["base"]
            )
            print(
                f"{spec.task:<10} {spec.arm:<12} {spec.seed:>4} {found['base']:>5.2f} "
                f"{start:>6.2f} {reached:>8}"
            )


def main() -> int:
    """Finish what is missing, arm by arm in a seed, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=["pick-lift"], choices=list(DEMOS))
    parser.add_argument("--arms", nargs="+", default=["none", "nominal", "identified"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--twin-steps", type=int, default=Spec.twin_steps)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/pretrain"))
    parser.add_argument("--only-print", action="store_true")
    asked = parser.parse_args()
    use_one_thread()
    wanted = [
        Spec(task=task, seed=seed, arm=arm, twin_steps=asked.twin_steps)
        for task in asked.tasks
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds)
        for arm in asked.arms
    ]
    for spec in [] if asked.only_print else wanted:
        finish(spec, asked.out)
    table(wanted, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
