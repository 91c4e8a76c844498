"""Microseconds from an observation to an action for one robot: residual actor on a chunked base.

    python tests/benchmarks/bench_latency.py

The control step of the residual policy pops the base's action from its queue, runs the residual
actor (256x2) and adds. Beside it, in turns: a torch actor of the same size, and the `predict` of
Stable-Baselines3's SAC. The base plans on every eighth step; its planning is its own line.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import stable_baselines3
import torch
from torch import nn
from update_peers import Blank
from update_task import ACT, OBS

from robot_rl.policy.queue import ChunkQueue
from robot_rl.policy.stacked import StackedMLP
from robot_rl.types import F32

CHUNK = 8
TURNS, CALLS = 20, 200


class ChunkBase:
    """A behaviour-cloned ensemble of 8 chunk networks, played by their mean."""

    chunk = CHUNK

    def __init__(self) -> None:
        self.net = StackedMLP(8, (OBS, 256, 256, CHUNK * ACT), layer_norm=False, seed=0)

    def reset(self) -> None:
        pass

    def act(self, obs: F32) -> F32:
        return self.net.act(obs).mean(0).reshape(CHUNK, ACT)


class KnownPlan(ChunkBase):
    """A base whose chunk is already there, as when it is planned ahead."""

    plan = np.zeros((CHUNK, ACT), np.float32)

    def act(self, obs: F32) -> F32:
        return self.plan


class Residual:
    """The control step: clip(base action + scale * tanh(residual))."""

    def __init__(self, base: ChunkBase) -> None:
        self.queue = ChunkQueue(base)
        self.queue.reset()
        self.actor = StackedMLP(1, (OBS + ACT + 1, 256, 256, ACT), layer_norm=True, seed=1)
        self.x = np.zeros(OBS + ACT + 1, np.float32)

    def __call__(self, obs: F32) -> F32:
        action, phase = self.queue.next(obs)
        self.x[:OBS], self.x[OBS:-1], self.x[-1] = obs, action, phase
        residual = np.tanh(self.actor.act(self.x)[0])
        return np.clip(action + 0.2 * residual, -1.0, 1.0)


def torch_actor() -> Callable[[F32], F32]:
    net = nn.Sequential(
        nn.Linear(OBS, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, ACT)
    )

    def act(obs: F32) -> F32:
        with torch.inference_mode():
            return torch.tanh(net(torch.from_numpy(obs)[None]))[0].numpy()

    return act


def sb3_actor() -> Callable[[F32], F32]:
    policy = {"net_arch": [256, 256]}
    model = stable_baselines3.SAC(
        "MlpPolicy", Blank(), buffer_size=10, policy_kwargs=policy, device="cpu"
    )
    return lambda obs: model.predict(obs, deterministic=True)[0]


def measure(policies: dict[str, Callable[[F32], F32]]) -> dict[str, dict[str, float]]:
    """p50 and p99 microseconds a call, of wall and of CPU time, the policies in turns.

    On a busy machine the wall's p99 is the scheduler's; the CPU's is the policy's own.
    """
    rng = np.random.default_rng(0)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in policies}
    for turn in range(TURNS):
        for name, act in policies.items():
            for obs in rng.normal(size=(CALLS, OBS)).astype(np.float32):
                wall, cpu = time.perf_counter(), time.thread_time()
                act(obs)
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                if turn:  # the first turn warms up
                    times[name].append((1e6 * wall, 1e6 * cpu))
    rows = {}
    for name, pairs in times.items():
        (wall50, cpu50), (wall99, cpu99) = np.percentile(np.array(pairs), (50, 99), axis=0)
        rows[name] = {
            "wall_p50_us": wall50,
            "wall_p99_us": wall99,
            "cpu_p50_us": cpu50,
            "cpu_p99_us": cpu99,
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/latency.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = ChunkBase()
    rows = measure(
        {
            "residual + base queue (chunk planned ahead)": Residual(KnownPlan()),
            "residual + base queue (8-member base plans every 8th)": Residual(base),
            "planning of the 8-member base alone": base.act,
            "torch actor 256x2, inference_mode": torch_actor(),
            "SB3 SAC.predict": sb3_actor(),
        }
    )
    for name, row in rows.items():
        figures = "".join(f"{key.removesuffix('_us')} {us:9.1f}  " for key, us in row.items())
        print(f"{name:55s} {figures} us")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"cpu": platform.processor(), "torch": torch.__version__, "threads": 1}
    options.out.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
