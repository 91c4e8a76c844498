"""Environment steps per CPU second, ours beside the peers: random actions, episodes reset.

    python tests/benchmarks/bench_env.py [--tasks peg pick-lift]

All contenders run in turns in one session, one thread each; the figure is the median over turns.
`bound` is `mujoco.batch` alone on the same scenes, given the drive commands that random actions
lead to: physics, and nothing that makes it a robot.
Two threads (or, with cameras, two processes) are measured in wall time, and mean little unless
the machine is idle. Peers run in processes of their own (two renderers in one disturb each other),
in this interpreter or, if they need another MuJoCo, in the one that BENCH_PEERS names. The
machine's load changes every absolute figure: quote the ratios.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from sim.batch import BatchedTwin
from sim.tasks import make_env, make_twin

TURNS, TURN_S, BATCH = 5, 0.5, 64
PEER_IDS = ("FetchPickAndPlace-v4", "FetchPush-v4")
PLAYED = 30  # steps of recorded commands, fewer than any task's horizon
Timed = Callable[[int], float]  # does about that many env steps, returns CPU seconds a step

PEER_SCRIPT = """
import sys, time, gymnasium as gym, gymnasium_robotics
try:
    from sim.external import FetchPush
    FetchPush()  # mends gymnasium-robotics for this MuJoCo
except ImportError:
    pass
gym.register_envs(gymnasium_robotics)
env = gym.make(sys.argv[1], render_mode="rgb_array", width=84, height=84)
images, count = int(sys.argv[2]), int(sys.argv[3])
env.reset(seed=0)
actions = [env.action_space.sample() for _ in range(count)]
start = time.process_time()
for action in actions:
    *_, terminated, truncated, _ = env.step(action)
    for _ in range(images):
        env.render()
    if terminated or truncated:
        env.reset()
print((time.process_time() - start) / count)
"""


def single(env: gym.Env) -> Timed:
    """One environment, stepped and reset as gymnasium asks."""
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(500)]

    def run(count: int) -> float:
        start = time.process_time()
        for i in range(count):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()
        return (time.process_time() - start) / count

    return run


def batched(batch: BatchedTwin, clock: Callable[[], float] = time.process_time) -> Timed:
    """Many scenes; ended episodes are reset."""
    batch.reset(range(BATCH))
    size = (100, BATCH, *batch.single_action_space.shape)
    actions = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)

    def run(count: int) -> float:
        calls = max(1, count // BATCH)
        start = clock()
        for i in range(calls):
            batch.step(actions[i % len(actions)])
            ended = np.flatnonzero(~batch.active)
            if len(ended):
                batch.reset(range(len(ended)), ids=ended)
        return (clock() - start) / (calls * BATCH)

    return run


def bound(task: str) -> Timed:
    """Physics alone: the drive commands of random actions, played again without what made them."""
    batch = BatchedTwin(make_twin(task), BATCH)
    rollout, played = batch._batch.rollout, []

    def listen(steps: int, control: np.ndarray, **settings: Any) -> Any:
        played.append(control.copy())
        return rollout(steps, control, **settings)

    batch._batch.rollout = listen
    batch.reset(range(BATCH))
    size = (PLAYED, BATCH, *batch.single_action_space.shape)
    for actions in np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32):
        batch.step(actions)

    def run(count: int) -> float:
        calls, spent = max(1, count // BATCH), 0.0
        for i in range(calls):
            if i % PLAYED == 0:
                batch.reset(range(BATCH))
            control = played[i % PLAYED]
            start = time.process_time()
            rollout(control.shape[1], control, record=(), ids=np.arange(BATCH))
            spent += time.process_time() - start
        return spent / (calls * BATCH)

    return run


def peer(interpreter: str, name: str, images: int) -> Timed:
    """A peer in another interpreter."""

    def run(count: int) -> float:
        command = [interpreter, "-c", PEER_SCRIPT, name, str(images), str(count)]
        return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    return run


def measure(runs: dict[str, Timed]) -> dict[str, float]:
    """Median steps per CPU second, all contenders in turns."""
    counts = {name: max(20, round(TURN_S / run(64))) for name, run in runs.items()}
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            turns[name].append(1 / run(counts[name]))
    return {name: statistics.median(values) for name, values in turns.items()}


def one_process_with_cameras(task: str, count: int) -> float:
    """Wall seconds for `count` steps of a pixel environment, after its first."""
    env = make_env(task, pixels=True)
    run = single(env)
    run(5)
    start = time.perf_counter()
    run(count)
    env.close()
    return time.perf_counter() - start


def wall(task: str) -> dict[str, float]:
    """Steps per wall second on one and on two cores."""
    twin, rates = make_twin(task), {}
    for threads in (1, 2):
        run = batched(BatchedTwin(twin, BATCH, num_threads=threads), time.perf_counter)
        run(BATCH * 5)
        rates[f"batch, {threads} threads"] = 1 / run(BATCH * 30)
    count = 300
    for processes in (1, 2):
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            seconds = pool.starmap(one_process_with_cameras, [(task, count)] * processes)
        rates[f"2 cameras, {processes} processes"] = processes * count / max(seconds)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["peg", "pick-lift"])
    parser.add_argument("--out", type=Path, default=Path("runs/bench/env.json"))
    options = parser.parse_args()
    peers = os.environ.get("BENCH_PEERS", sys.executable)
    runs: dict[str, Timed] = {}
    for task in options.tasks:
        runs[f"{task}: RobotEnv"] = single(make_env(task))
        runs[f"{task}: BatchedTwin"] = batched(BatchedTwin(make_twin(task), BATCH))
        runs[f"{task}: bound, mujoco.batch alone"] = bound(task)
        runs[f"{task}: RobotEnv, 2 cameras"] = single(make_env(task, pixels=True))
    runs["FetchPush, as in sim.external"] = single(gym.make("sim.external:External/FetchPush-v0"))
    for name in PEER_IDS:
        runs[name] = peer(peers, name, 0)
        runs[f"{name}, 2 images"] = peer(peers, name, 2)
    rates = measure(runs)
    for name, rate in rates.items():
        print(f"{name:44s} {rate:8.0f} steps/CPU-s", flush=True)
    walls = {task: wall(task) for task in options.tasks}
    for task, row in walls.items():
        for name, rate in row.items():
            print(f"{task}: {name:34s} {rate:8.0f} steps/s (wall)")
    facts = {"cpu": platform.processor(), "mujoco": mujoco.__version__, "load": os.getloadavg()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table = {"machine": facts, "steps_per_cpu_s": rates, "steps_per_s": walls}
    options.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
