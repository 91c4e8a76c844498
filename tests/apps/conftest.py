"""Runs as a learner writes them, with figures drawn from a seed."""

import math

import cv2
import numpy as np
import pytest

from robot_rl.learn.run import RunFolder
from robot_rl.learn.video import EpisodeVideo


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
