"""MuJoCo and rendering: whether the twin runs here, and how fast its cameras are."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

GL_PACKAGES = "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libopengl0"
SLOW_FPS = 200


def check() -> list[Finding]:
    """MuJoCo's version and a real test render."""
    mujoco = _mujoco()
    return [mujoco] if mujoco.status != "ok" else [mujoco, _rendering(), _menagerie()]


def _mujoco() -> Finding:
    try:
        found = {name: version(name) for name in ("mujoco", "mujoco-core")}
    except PackageNotFoundError as error:
        return Finding(
            name="mujoco",
            status="absent",
            detail=f"{error.name} is not installed; the twin needs it, a robot does not",
            mend="pip install 'robot-rl[sim]'",
        )
    if len(set(found.values())) > 1:
        return Finding(
            name="mujoco",
            status="broken",
            detail=", ".join(f"{name} {number}" for name, number in found.items()) + " do not fit",
            mend="pip install --force-reinstall mujoco==4.0.0 mujoco-core==4.0.0",
        )
    return Finding(name="mujoco", status="ok", detail=found["mujoco"])


def _rendering() -> Finding:
    chosen = os.environ.get("MUJOCO_GL")
    backends = ("cgl",) if sys.platform == "darwin" else ("egl", "osmesa", "glfw")
    failures = []
    for backend in dict.fromkeys([chosen, *backends] if chosen else backends):
        figures = _probe(backend)
        if isinstance(figures, str):
            failures.append(f"{backend}: {figures}")
            continue
        detail = f"{backend} on {figures['device']}: {figures['fps']} frames/s at 84 x 84"
        if failures:
            detail += f" (not {'; not '.join(failures)})"
        use = "" if backend == chosen or backend == "cgl" else f"export MUJOCO_GL={backend}"
        if figures["fps"] < SLOW_FPS:
            return Finding(name="rendering", status="slow", detail=detail, mend=use)
        return Finding(name="rendering", status="ok", detail=detail, mend=use)
    return Finding(
        name="rendering",
        status="slow",
        detail=f"no backend works: {'; '.join(failures)}. State tasks run all the same",
        mend=f"sudo apt-get install -y {GL_PACKAGES} && export MUJOCO_GL=egl",
    )


def _probe(backend: str) -> dict[str, Any] | str:
    """Figures of a render with this backend, or in a few words why there are none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "robot_rl.apps.checks.render_probe"],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no frame within 60 s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return lines[-1][:120] if lines else f"died with code {done.returncode}"
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures if figures["contrast"] > 0 else "the image is of one colour"


def _menagerie() -> Finding:
    try:
        found = version("mujoco-menagerie")
    except PackageNotFoundError:
        return Finding(
            name="real meshes",
            status="absent",
            detail="the twin's own arm is used; it renders faster",
            mend="pip install 'robot-rl[menagerie]'",
        )
    return Finding(name="real meshes", status="ok", detail=f"mujoco-menagerie {found}")
