"""Eyes, ACT and flow train where they are told to, and act on the CPU whatever it was."""

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.device import device_of
from robot_rl.learn.eyesight import EyesightCfg, fit_eyes
from robot_rl.policy.saved import load_policy, save_policy

NO_GPU = not torch.cuda.is_available()


def seeing(episodes):
    """The episodes with a camera's noise beside their states."""
    rng = np.random.default_rng(0)
    for episode in episodes:
        count = len(episode.obs["state"])
        episode.obs["front"] = rng.integers(0, 256, (count, 28, 28, 3), np.uint8)
    return episodes


def small(kind, **changes):
    return BCCfg(kind=kind, chunk=4, width=16, layers=1, steps=8, batch=8, checks=2, **changes)


@pytest.mark.parametrize("name", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_what_may_be_given(name):
    with pytest.raises(ConfigError, match=f"device is '{name}'.*Give cpu, or cuda on a machine"):
        device_of(name)


def test_small_networks_are_not_sent_to_a_device_that_would_slow_them():
    with pytest.raises(ConfigError, match="device is 'cuda', but kind mlp is trained on the cpu"):
        small("mlp", device="cuda")


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU here")
def test_without_a_gpu_nothing_is_trained_before_it_is_said(demonstrations):
    with pytest.raises(ConfigError, match="device is 'cuda'"):
        fit(small("act", device="cuda"), demonstrations(2), seed=0)
    with pytest.raises(ConfigError, match="device is 'cuda'"):
        fit_eyes(EyesightCfg(device="cuda"), seeing(demonstrations(2)), seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="no NVIDIA GPU here")
@pytest.mark.parametrize("kind", ["act", "flow"])
def test_what_a_gpu_trained_acts_on_the_cpu_as_if_trained_there(kind, demonstrations, tmp_path):
    demos = seeing(demonstrations(3))
    obs = {name: rows[0] for name, rows in demos[0].obs.items()}
    cuda = small(kind, device="cuda")
    there = fit(cuda, demos, seed=0, score=lambda policy: policy.act(obs)[0, 0])
    loaded = load_policy(save_policy(there, tmp_path / kind))
    assert np.isfinite(loaded.act(obs)).all()
    here = fit(small(kind), demos, seed=0)
    last = fit(cuda, demos, seed=0)
    for name, array in here.arrays().items():
        np.testing.assert_allclose(last.arrays()[name], array, atol=5e-3, err_msg=name)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="no NVIDIA GPU here")
def test_eyes_that_a_gpu_trained_see_on_the_cpu(demonstrations):
    demos = seeing(demonstrations(3))
    cfg = {"steps": 8, "batch": 8, "chunk": 2, "hidden": 16, "width": 8, "features": 8}
    here, there = (fit_eyes(EyesightCfg(**cfg, device=d), demos, seed=0) for d in ("cpu", "cuda"))
    obs = {name: rows[0] for name, rows in demos[0].obs.items()}
    np.testing.assert_allclose(there.see(obs), here.see(obs), atol=2e-2)
