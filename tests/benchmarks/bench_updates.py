"""Milliseconds of CPU per gradient update (critics + actor + targets), ours beside the peers.

    python tests/benchmarks/bench_updates.py [--rows 0 1 2 3] [--algorithms SAC TD3]

All contenders run in turns in one session, one thread each; the figure is the median over turns
of the process's CPU time. SBX (on JAX) and TorchRL run in the interpreters that BENCH_PEERS and
BENCH_TORCHRL name.
The machine's load changes every absolute figure: quote the ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
from update_ours import Products, StackedSAC, StackedTD3, StackedTD3ByOne
from update_peers import PlainSAC, PlainTD3, Sb3
from update_task import Row

ROWS = (
    Row(critics=2, hidden=(256, 256), layer_norm=False),
    Row(critics=10, hidden=(256, 256), layer_norm=False),
    Row(critics=2, hidden=(512, 512, 512), layer_norm=True),
    Row(critics=10, hidden=(512, 512, 512), layer_norm=True),
)
TURNS = 5
TURN_S = 0.25  # CPU time of one contender's turn, at least one update

Timed = Callable[[int], float]  # does that many updates, returns the CPU seconds it took


def timed(update: Callable[[], None]) -> Timed:
    def run(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            update()
        return time.process_time() - start

    return run


def timed_many(updates: Callable[[int], None]) -> Timed:
    def run(count: int) -> float:
        start = time.process_time()
        updates(count)
        return time.process_time() - start

    return run


class OtherPeer:
    """A peer in another interpreter: asked for a number of updates, answers with CPU seconds."""

    def __init__(self, interpreter: str, script: str, algorithm: str, row: Row) -> None:
        path = Path(__file__).with_name(script)
        command = [interpreter, path, algorithm, str(row.critics), *map(str, row.hidden)]
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self.process = subprocess.Popen(
            [*command, *(["--layer-norm"] if row.layer_norm else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, count: int) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(count, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate("")


PEERS = {
    "SBX (jax)": ("BENCH_PEERS", "update_sbx.py"),
    "TorchRL": ("BENCH_TORCHRL", "update_torchrl.py"),
}
"""Peers that bring dependencies of their own: variable of the interpreter, script."""


def contenders(algorithm: str, row: Row) -> dict[str, Timed]:
    """What is measured in turns; the first is what the ratios are to.

    The peers' TD3 climbs the first critic, and SAC the least of all: the first of ours does alike.
    """
    ours, plain = (StackedSAC, PlainSAC) if algorithm == "SAC" else (StackedTD3ByOne, PlainTD3)
    fast = ours(row, "auto")
    choice = fast.critic.precision
    found = {
        f"ours ({choice})": timed(fast.update),
        "ours (fp32)": timed(ours(row, "fp32").update),
    }
    if algorithm == "TD3":
        found[f"ours ({choice}), actor by all critics"] = timed(StackedTD3(row, choice).update)
    found |= {
        "SB3": timed_many(Sb3(algorithm, row).updates),
        "plain torch (CleanRL)": timed(plain(row).update),
    }
    if algorithm == "SAC":
        found[f"bound: products alone ({choice})"] = timed(Products(row, choice).update)
    for name, (variable, script) in PEERS.items():
        if interpreter := os.environ.get(variable):
            found[name] = OtherPeer(interpreter, script, algorithm, row)
    return found


def measure(runs: dict[str, Timed]) -> dict[str, float]:
    """Median CPU milliseconds an update, all contenders in turns."""
    counts = {}
    for name, run in runs.items():
        run(2)  # warm up: compilation, buffers, first touch of the memory
        counts[name] = max(1, round(TURN_S / (run(2) / 2)))
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            turns[name].append(1e3 * run(counts[name]) / counts[name])
    for run in runs.values():
        if isinstance(run, OtherPeer):
            run.close()
    return {name: statistics.median(values) for name, values in turns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=range(len(ROWS)))
    parser.add_argument("--algorithms", nargs="+", default=["SAC", "TD3"])
    parser.add_argument("--out", type=Path, default=Path("runs/bench/updates.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (variable, _) in PEERS.items():
        if not os.environ.get(variable):
            print(f"{name}: peer not measured; name an interpreter that has it in {variable}")
    lines = []
    for algorithm in options.algorithms:
        for index in options.rows:
            row = ROWS[index]
            ms = measure(contenders(algorithm, row))
            mine = next(iter(ms.values()))
            print(f"{algorithm} {row.name}")
            for name, value in ms.items():
                print(f"  {name:38s} {value:8.2f} ms   {value / mine:5.2f} x ours", flush=True)
            lines.append({"algorithm": algorithm, "row": row.name, "cpu_ms_per_update": ms})
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"cpu": platform.processor(), "torch": torch.__version__, "threads": 1}
    options.out.write_text(json.dumps({"machine": facts, "rows": lines}, indent=1))


if __name__ == "__main__":
    main()
