"""Runs as a learner writes them, with figures drawn from a seed."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_rl.apps.envs import load_demos, make_env
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.run import RunFolder
from robot_rl.learn.video import EpisodeVideo
from robot_rl.policy.saved import save_policy
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore


def write_run(path, seed=0, steps=15_000, method="residual", gain=0.5, videos=0, config=None):
    """A run of `steps` steps whose success grows by `gain` along a logistic curve."""
    rng = np.random.default_rng(seed)
    config = {"env": "peg", "seed": seed, "learn": {"method": method, "scale": 0.4}} | (
        config or {}
    )
    command = ["robot-rl", "train", "--env", "peg", "--seed", str(seed), "--steps", str(steps)]
    run = RunFolder.create(path, config, steps=steps, command=command)

    def rate(step):
        return 0.48 + gain / (1 + math.exp(-(step - 5000) / 1200)) - gain * 0.015

    seeds = list(range(1000, 1100))
    for episode, step in enumerate(range(0, steps + 1, 60)):
        behaviour = "base" if step < 1500 else "imitation" if rng.random() < 0.25 else "residual"
        skill = 0.48 if behaviour == "base" else max(rate(step) - 0.06, 0)
        run.log_episode(
            step,
            {
                "episode": episode,
                "success": bool(rng.random() < skill),
                "length": int(rng.integers(40, 100)),
                "behaviour": behaviour,
                "residual_scale": 0.4 * min(1, step / 6000),
            },
        )
        if step % 120 == 0 and step >= 1500:
            late = step / steps
            run.log(
                step,
                {
                    "q": 0.3 + 0.5 * late + 0.02 * rng.normal(),
                    "dataset_q": 0.5 + 0.4 * late + 0.01 * rng.normal(),
                    "td_error": 0.02 * math.exp(-3 * late) + 0.001 * rng.random(),
                    "residual_size": 0.3 * (1 - math.exp(-4 * late)) + 0.01 * rng.normal(),
                    "residual_saturation": 0.1 * late + 0.01 * rng.random(),
                    "evidence/base": 0.48,
                    "evidence/imitation": 0.5 + 0.2 * late,
                    "evidence/residual": rate(step) - 0.03,
                },
            )
        if step % 1020 == 0:
            early = "imitation" if method == "residual" and step < 4000 else method
            for policy in ("base",) if step == 0 else (early,):
                good = rng.random(100) < (0.48 if step == 0 else rate(step))
                run.log_eval(step, policy, seeds, good, rng.integers(30, 100, 100))
    for k in range(videos):
        _video(run.path / "videos" / f"step_{steps:09d}_seed_{k}.webm", k, steps)
    return run


def _video(path, k, step):
    video = EpisodeVideo(path, fps=20, caption=f"residual, step {step}, seed {k}")
    for i in range(60):
        frame = np.full((240, 320, 3), (214, 219, 224), np.uint8)
        cv2.rectangle(frame, (0, 170), (320, 240), (168, 152, 132), -1)
        cv2.circle(
            frame, (60 + 3 * i, 150 - int(40 * math.sin(i / 15 + k))), 18, (217, 78, 60), -1
        )
        cv2.rectangle(frame, (225, 140), (265, 172), (70, 88, 120), -1)
        video.add(frame, value=0.2 + 0.012 * i, residual=np.sin(np.arange(7) + i / 8 + k))
    video.close(k % 3 != 2, step=step, policy="residual", seed=k)


@pytest.fixture
def make_run():
    return write_run


@pytest.fixture
def tiny(monkeypatch):
    """Name of the smallest task there is; see tiny_env.py."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return "gym:tiny_env:Tiny-v0"


@pytest.fixture
def tiny_demos(tiny, tmp_path):
    """A store with five demonstrations of it."""
    from tiny_env import demonstrations  # pyright: ignore

    env = make_env(tiny)
    with EpisodeStore.create(tmp_path / "demos", StoreMeta(robot="tiny", control_hz=10)) as store:
        for demo in demonstrations(env):
            store.append(demo)
    return tmp_path / "demos"


@pytest.fixture
def tiny_base(tiny_demos, tiny, tmp_path):
    """A base that was cloned from them."""
    cfg = BCCfg(steps=30, checks=1, members=2, width=16, chunk=4)
    base = fit(cfg, load_demos(tiny_demos, tiny), seed=0)
    return save_policy(base, tmp_path / "base")
