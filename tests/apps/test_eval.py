"""Evaluation tells each episode, the rate and its interval; errors say what to give instead."""

import json
import re

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.apps import eval as eval_verb
from robot_rl.apps.film import explain_by, film
from robot_rl.errors import CheckpointError, ConfigError, ShapeError
from robot_rl.learn.rollout import PolicyDriver
from robot_rl.learn.run import RunFolder
from robot_rl.learn.statistics import wilson
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.residual import ResidualPolicy
from robot_rl.policy.saved import load_policy, save_policy


class Even(gym.Env):
    """Succeeds after ten steps, if the seed is even."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        good = self.steps == 10 and self.seed % 2 == 0
        info = {"is_success": good}
        return np.zeros(3, np.float32), float(good), good, self.steps == 12, info

    def render(self):
        return np.full((60, 80, 3), 20 * self.steps, np.uint8)


@pytest.fixture(autouse=True, scope="module")
def even_env():
    gym.register("Even-v0", entry_point=Even, disable_env_checker=True)
    yield
    gym.registry.pop("Even-v0")


@pytest.fixture
def policy(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    norm = Normaliser.fit(rows[:, :3], rows[:, 3:])
    made = ChunkEnsemble.fresh(norm, chunk=4, members=2, hidden=(8, 8), seed=0)
    return save_policy(made, tmp_path / "base")


def test_every_episode_is_told_and_the_rate_has_its_interval(policy, tmp_path, capsys):
    cfg = eval_verb.Cfg(
        policy=policy, env="gym:Even-v0", seeds=(1, 2, 3, 4, 6), videos=2, out=tmp_path / "out"
    )
    assert eval_verb.main(cfg) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +2  success +10 +1\.00", lines[2])
    assert re.fullmatch(r" +3  failure +12 +0\.00", lines[3])
    around = wilson(3, 5)
    assert lines[6] == (
        f"success 0.60 ({around.low:.2f} to {around.high:.2f}), 3 of 5 episodes, 11 steps each"
    )
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [e["success"] for e in result["episodes"]] == [False, True, False, True, True]
    videos = sorted((tmp_path / "out" / "videos").glob("*.json"))
    assert [json.loads(v.read_text())["success"] for v in videos] == [False, True]


def test_a_residual_policy_is_filmed_with_what_it_thinks(policy, tmp_path, capsys):
    base = load_policy(policy)
    agent = TD3(TD3Cfg(width=16, zero_init=False), base.norm, scale=0.3, seed=1)
    folder = save_policy(ResidualPolicy(base, agent), tmp_path / "residual")
    cfg = eval_verb.Cfg(policy=folder, env="gym:Even-v0", seeds=(2,), videos=1, out=tmp_path)
    assert eval_verb.main(cfg) == 0
    assert len(list((tmp_path / "videos").glob("*.webm"))) == 1

    seen = []
    explain = explain_by(agent)

    def spy(*step):
        seen.append(explain(*step))
        return seen[-1]

    driver = PolicyDriver(ResidualPolicy(base, agent))
    film(Even(), driver, base, [2], tmp_path / "again", explain=spy)
    values, shares = zip(*seen, strict=True)
    assert np.isfinite(values).all()
    # The base beside the driver is the one underneath it, so no share exceeds the scale.
    assert np.abs(shares).max() <= 1 + 1e-4
    assert np.abs(shares).max() > 0


def test_the_policy_and_task_of_a_run_are_found(policy, tmp_path):
    run = RunFolder.create(tmp_path / "run", {"env": "gym:Even-v0"})
    save_policy(load_policy(policy), run.path / "policy")
    assert eval_verb.find_policy(run.path, "") == (run.path / "policy", "gym:Even-v0")
    assert eval_verb.find_policy(run.path, "peg") == (run.path / "policy", "peg")


def test_what_cannot_be_evaluated_says_what_to_give(policy, tmp_path):
    with pytest.raises(CheckpointError, match="holds no policy"):
        eval_verb.main(eval_verb.Cfg(policy=tmp_path, env="gym:Even-v0"))
    with pytest.raises(ConfigError, match="does not say its environment"):
        eval_verb.main(eval_verb.Cfg(policy=policy))
    with pytest.raises(ConfigError, match="must be at least 1 and 0"):
        eval_verb.Cfg(policy=policy, episodes=0)
    with pytest.raises(ShapeError):
        eval_verb.main(eval_verb.Cfg(policy=policy, env="gym:Pendulum-v1", seeds=(0,)))


def test_an_environment_without_pictures_refuses_videos(policy, monkeypatch, tmp_path):
    monkeypatch.setattr(Even, "render", lambda self: None)
    cfg = eval_verb.Cfg(policy=policy, env="gym:Even-v0", seeds=(0,), videos=1, out=tmp_path)
    with pytest.raises(ConfigError, match="shows no pictures"):
        eval_verb.main(cfg)
