"""The disk that episodes are sealed to: room, write speed, and the price of certainty (fsync)."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

BLOCK = 1 << 20
BLOCKS = 64
SYNCS = 15
LOW_GB = 10.0  # a run with checkpoints and videos takes about one
SLOW_MB_S = 50.0  # two uncompressed 640 x 480 cameras at 30 Hz
SLOW_SYNC_MS = 50.0  # one control step at 20 Hz


def check(folder: Path) -> list[Finding]:
    """Room, throughput and fsync latency of the file system under `folder`."""
    try:
        free_gb = shutil.disk_usage(folder).free / 1e9
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            speed_mb_s = _write_speed_mb_s(Path(scratch) / "stream")
            sync_ms = _sync_ms(Path(scratch) / "sync")
    except OSError as error:
        return [
            Finding(
                name="disk",
                status="broken",
                detail=f"{folder} cannot be written: {error}",
                mend="Free some room, or give another folder: robot-rl doctor --folder PATH",
            )
        ]
    detail = (
        f"{free_gb:.0f} GB free, {speed_mb_s:.0f} MB/s to disk, fsync {sync_ms:.1f} ms in {folder}"
    )
    mends = []
    if free_gb < LOW_GB:
        mends.append(f"Keep at least {LOW_GB:.0f} GB free.")
    if speed_mb_s < SLOW_MB_S or sync_ms > SLOW_SYNC_MS:
        mends.append("Record to a local SSD, not to a network or memory-card folder.")
    return [
        Finding(name="disk", status="slow" if mends else "ok", detail=detail, mend=" ".join(mends))
    ]


def _write_speed_mb_s(path: Path) -> float:
    block = os.urandom(BLOCK)  # not compressible: some file systems would cheat
    start_s = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(BLOCKS):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return BLOCK * BLOCKS / 1e6 / (time.perf_counter() - start_s)


def _sync_ms(path: Path) -> float:
    times_s = []
    with path.open("wb") as file:
        for _ in range(SYNCS):
            file.write(b"x" * 4096)
            file.flush()
            start_s = time.perf_counter()
            os.fsync(file.fileno())
            times_s.append(time.perf_counter() - start_s)
    return 1e3 * median(times_s)
