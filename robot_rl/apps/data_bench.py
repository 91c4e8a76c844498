"""What recording and sampling cost on this machine: `python -m robot_rl.apps.data_bench`.

learning:  **transition → episode store** → progress model → **replay** → residual agent → weights

The picture is heavy on purpose: a smooth background under sensor noise, as a real camera gives.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from robot_rl.replay.cache import PAD_PX, CacheCfg, TrainingCache
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory

__all__ = ["bench_recording", "bench_sampling", "main"]

CAMERAS = ("front", "wrist")


def _pictures(count: int) -> np.ndarray:
    """uint8 (count, 480, 640, 3): smooth random background with noise of 2 grey levels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    background = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = rng.normal(0, 2, (count, 480, 640, 3))
    return np.clip(background + noise, 0, 255).astype(np.uint8)


def bench_recording(seconds: float = 20.0, rate_hz: float = 30.0) -> dict[str, float]:
    """Record two 640 x 480 cameras in real time through the recorder process.

    Returns:
        Submit times [ms], shares of a core of the control loop and of the writer process, time
        from sealing to sealed [s], frames dropped, longest backlog [MB] and data rate [MB/min].
    """
    pictures = _pictures(8)
    cameras = tuple(CameraMeta(name=name, width_px=640, height_px=480) for name in CAMERAS)
    with tempfile.TemporaryDirectory(prefix="robot_rl_bench_") as folder:
        path = Path(folder) / "bench.zarr"
        EpisodeStore.create(
            path, StoreMeta(robot="bench", control_hz=rate_hz, cameras=cameras)
        ).close()
        times: list[float] = []
        backlog = 0
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Recorder(path) as recorder:
            writer = recorder.begin({"task": "bench"})
            state, action = np.zeros(32, np.float32), np.zeros(7, np.float32)
            wall, used = time.perf_counter(), 0.0
            ticks = round(seconds * rate_hz)
            for k in range(ticks + 1):
                start, cpu = time.perf_counter(), time.process_time()
                now = time.time_ns()
                for name in CAMERAS:
                    picture = pictures[k % len(pictures)]
                    writer.frame(name, picture, t_device_ns=now, t_host_ns=now, frame_no=k)
                writer.observe(k / rate_hz, {"state": state}, robot={"q_rad": state[:7]})
                if k < ticks:
                    writer.step(action, action, base=action)
                used += time.process_time() - cpu
                times.append(time.perf_counter() - start)
                backlog = max(backlog, recorder.backlog_bytes)
                time.sleep(max(0.0, wall + (k + 1) / rate_hz - time.perf_counter()))
            elapsed = time.perf_counter() - wall
            end = time.perf_counter()
            writer.seal("success", "bench")
            recorder.wait(writer.id, timeout_s=300)
            sealed = time.perf_counter() - end
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        store = EpisodeStore.open(path)
        size = sum(p.stat().st_size for p in store.folder(writer.id).rglob("*") if p.is_file())
        drops = store.info(writer.id).facts["drops"]
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {
        "submit_p50_ms": float(p50),
        "submit_p99_ms": float(p99),
        "loop_core_share": used / elapsed,
        "writer_core_share": cpu / elapsed,  # with its start-up and sealing
        "seal_s": sealed,
        "drops": float(sum(drops.values())),
        "backlog_mb": backlog / 1e6,
        "mb_per_min": size / 1e6 / elapsed * 60,
    }


def bench_sampling(transitions: int = 20_000, batch: int = 256) -> dict[str, float]:
    """Draw batches of two 84 x 84 cameras: plain numpy in RAM against the mapped cache.

    Returns:
        Medians [ms] over interleaved rounds: RAM without a shift, RAM with the usual pad-and-crop
        loop, the cache without and with the shift; and the ratios to plain RAM.
    """
    rng = np.random.default_rng(0)
    steps = 500
    cameras = tuple(
        CameraMeta(name=name, width_px=84, height_px=84, codec="png") for name in CAMERAS
    )
    noise = {name: rng.integers(0, 256, (steps + 1, 84, 84, 3), np.uint8) for name in CAMERAS}
    zeros = np.zeros((steps, 7), np.float32)
    episode = Trajectory(
        obs={"state": np.zeros((steps + 1, 32), np.float32), **noise},
        executed=zeros,
        requested=zeros,
        reward=zeros[:, 0],
        terminated=True,
        success=True,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1) / 20,
    )
    with tempfile.TemporaryDirectory(prefix="robot_rl_bench_") as folder:
        meta = StoreMeta(robot="bench", control_hz=20, cameras=cameras)
        with EpisodeStore.create(Path(folder) / "bench.zarr", meta) as store:
            for _ in range(max(1, transitions // steps)):
                store.append(episode)
            cache = TrainingCache.build(store, Path(folder) / "cache", CacheCfg())
        rows = len(cache.low["state"])
        index = np.arange(rows)
        ram = {name: np.ascontiguousarray(cache.images(name, index)) for name in CAMERAS}

        def draw() -> np.ndarray:
            return rng.integers(rows, size=batch)

        def plain() -> None:
            index = draw()
            for name in CAMERAS:
                ram[name][index]

        def padded() -> None:
            index = draw()
            for name in CAMERAS:
                edges = ((0, 0), (PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0))
                wide = np.pad(ram[name][index], edges, mode="edge")
                out = np.empty((batch, 84, 84, 3), np.uint8)
                for k, (y, x) in enumerate(rng.integers(0, 2 * PAD_PX + 1, (batch, 2))):
                    out[k] = wide[k, y : y + 84, x : x + 84]

        def cached() -> None:
            index = draw()
            for name in CAMERAS:
                cache.images(name, index)

        def shifted() -> None:
            index = draw()
            for name in CAMERAS:
                cache.images(name, index, rng.integers(-PAD_PX, PAD_PX + 1, (batch, 2)))

        named: dict[str, Callable[[], None]] = {
            "ram": plain,
            "ram_pad_and_crop": padded,
            "cache": cached,
            "cache_shift": shifted,
        }
        times: dict[str, list[float]] = {name: [] for name in named}
        for _ in range(60):
            for name, call in named.items():
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    result = {f"{name}_ms": float(np.median(value[5:])) * 1e3 for name, value in times.items()}
    for name in ("cache", "cache_shift"):
        result[f"{name}_ratio"] = result[f"{name}_ms"] / result["ram_ms"]
    return result


def main() -> int:
    """Print both results as JSON."""
    print(json.dumps({"recording": bench_recording(), "sampling": bench_sampling()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
