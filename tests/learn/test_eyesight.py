"""Eyes learn to see what a demonstration acts on and the state does not tell."""

from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.learn.eyesight import EyesightCfg, fit_eyes, with_features
from robot_rl.replay.trajectory import Trajectory

CFG = EyesightCfg(
    steps=150, batch=32, chunk=2, hidden=32, width=8, features=8, image_shift_px=1, lr=3e-3
)


def episode(seed, steps=12):
    """The action points to a bright square that is only in the image."""
    rng = np.random.default_rng(seed)
    images = np.zeros((steps + 1, 28, 28, 3), np.uint8)
    places = rng.integers(0, 22, (steps + 1, 2))
    for image, (row, column) in zip(images, places, strict=True):
        image[row : row + 6, column : column + 6] = 255
    actions = (places[:-1] / 11.0 - 1).astype(np.float32)
    return Trajectory(
        obs={"state": rng.standard_normal((steps + 1, 2)).astype(np.float32), "front": images},
        executed=actions,
        requested=actions,
        reward=np.zeros(steps, np.float32),
        terminated=True,
        success=True,
        control_source=np.full(steps, 2, np.uint8),
        t_s=np.arange(steps + 1) / 10,
    )


@pytest.fixture(scope="module")
def demos():
    return [episode(seed) for seed in range(20)]


def unexplained(seen, actions, new, wanted):
    """Share of the variance that a linear reading of features leaves on new episodes."""
    ones = [np.concatenate([x, np.ones((len(x), 1))], 1) for x in (seen, new)]
    reading = np.linalg.lstsq(ones[0], actions, rcond=None)[0]
    return ((ones[1] @ reading - wanted) ** 2).mean() / wanted.var()


def test_features_tell_what_only_the_image_shows(demos):
    held_out = [episode(seed) for seed in range(100, 110)]
    eyes = fit_eyes(CFG, demos, seed=0)
    seen, new = (
        np.concatenate([e.obs["state"][:-1] for e in with_features(eyes, episodes)])
        for episodes in (demos, held_out)
    )
    actions, wanted = (np.concatenate([e.executed for e in es]) for es in (demos, held_out))
    assert seen.shape == (240, 2 + 8)
    assert unexplained(seen[:, :2], actions, new[:, :2], wanted) > 0.9
    assert unexplained(seen, actions, new, wanted) < 0.4


def test_the_same_arguments_give_the_same_eyes(demos):
    short = replace(CFG, steps=3)
    first, second = (fit_eyes(short, demos, seed=1).arrays() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_demonstrations_without_images_are_refused(demos):
    blind = [replace(demos[0], obs={"state": demos[0].obs["state"]})]
    with pytest.raises(ConfigError, match="hold no images"):
        fit_eyes(CFG, blind, seed=0)
    with pytest.raises(ConfigError, match="must be at least 1"):
        EyesightCfg(steps=0)
