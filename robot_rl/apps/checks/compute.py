"""Python, the libraries every part needs, processor, torch and GPU: where learning runs."""

import os
import shutil
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

REQUIRED = ("numpy", "gymnasium", "zarr", "cv2", "safetensors", "tyro", "rich", "matplotlib")
EXTRAS = {"gymnasium_robotics": "bench", "stable_baselines3": "bench", "pytest": "dev"}


def check() -> list[Finding]:
    """Everything about computing on this machine."""
    return [_python(), _libraries(), _extras(), _processor(), *_torch_and_gpu()]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="python", status="ok", detail=f"{found} at {sys.prefix}")


def _libraries() -> Finding:
    failures = []
    for name in REQUIRED:
        try:
            import_module(name)
        except ImportError as error:
            failures.append(f"{name}: {error}")
    if failures:
        return Finding(
            name="libraries", status="broken", detail="; ".join(failures), mend="make clean setup"
        )
    return Finding(
        name="libraries", status="ok", detail=f"numpy {version('numpy')}, zarr {version('zarr')}"
    )


def _extras() -> Finding:
    missing = {name: extra for name, extra in EXTRAS.items() if find_spec(name) is None}
    if missing:
        extras = ",".join(sorted(set(missing.values())))
        return Finding(
            name="extras",
            status="absent",
            detail=f"not installed: {', '.join(missing)} (benchmarks and tests)",
            mend=f"pip install 'robot-rl[{extras}]'",
        )
    return Finding(name="extras", status="ok", detail="benchmarks and tests")


def _processor() -> Finding:
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    load = os.getloadavg()[0]
    detail = f"{cores} cores for this process, load {load:.1f}"
    if load > cores:
        return Finding(
            name="processor",
            status="slow",
            detail=detail,
            mend="Others are using it: figures measured now are pessimistic.",
        )
    return Finding(name="processor", status="ok", detail=detail)


def _torch_and_gpu() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        return [Finding(name="torch", status="broken", detail=str(error), mend="make clean setup")]
    flags = _cpu_flags()
    bf16 = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
    detail = (
        f"{torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, "
        f"bf16 {'by ' + ' and '.join(bf16) if bf16 else 'only emulated (use float32)'}"
    )
    return [Finding(name="torch", status="ok", detail=detail), _gpu()]


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # no /proc on macOS
        return set()


def _gpu() -> Finding:
    from torch import __version__, cuda

    if cuda.is_available():
        memory_gib = cuda.get_device_properties(0).total_memory / 2**30
        detail = f"{cuda.device_count()} x {cuda.get_device_name(0)}, {memory_gib:.0f} GiB"
        return Finding(name="gpu", status="ok", detail=detail)
    if shutil.which("nvidia-smi") is None:
        return Finding(
            name="gpu",
            status="absent",
            detail="no NVIDIA driver; state tasks learn on the processor, pixels want a GPU",
        )
    return Finding(
        name="gpu",
        status="slow",
        detail=f"there is an NVIDIA driver, but torch {__version__} cannot use it",
        mend="pip install --force-reinstall torch --index-url https://pypi.org/simple",
    )
