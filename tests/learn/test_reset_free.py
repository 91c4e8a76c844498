"""There and back on a line that nobody resets: turns, calls for help, and what is counted."""

import itertools
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.reset_free import ResetFree, ResetFreeCfg
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import PolicyDriver, run_episode
from robot_rl.learn.run import RunFolder
from robot_rl.learn.td3 import TD3Cfg
from robot_rl.policy.callable import CallablePolicy


class Line:
    """A point on a line, put to 0 only where that was asked for."""

    def __init__(self):
        self.at, self.is_due, self.put_back = 0.0, True, 0

    def request_reset(self):
        self.is_due = True


class Side(gym.Env):
    """Brings the point to one side of the line; 12 steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, line, goal):
        self.line, self.goal = line, goal

    def reset(self, *, seed=None, options=None):
        if self.line.is_due:
            self.line.at, self.line.is_due = 0.0, False
            self.line.put_back += 1
        self.count = 0
        return np.array([self.line.at], np.float32), {}

    def step(self, action):
        self.line.at += 0.3 * float(np.clip(action[0], -1, 1))
        self.count += 1
        good = abs(self.line.at - self.goal) < 0.2
        obs = np.array([self.line.at], np.float32)
        return obs, float(good), good, not good and self.count >= 12, {"is_success": good}


def towards(goal):
    return CallablePolicy(lambda obs: np.clip((goal - obs) * 2, -1, 1))


def both(path=None, steps=300, backward=None, **cfg):
    line = Line()
    learn = ResidualCfg(
        steps=steps,
        candidates=("base", "residual"),
        warmup_steps=30,
        warmup_updates=5,
        eval_every=100,
        checkpoint_every=50,
        batch=16,
        utd=0.2,
        td3=TD3Cfg(width=16, pull=0.3),
    )
    learners = []
    for k, (goal, base) in enumerate(((1.0, towards(1.0)), (0.0, backward or towards(0.0)))):
        env = Side(line, goal)
        demos = [run_episode(Side(Line(), 1.0), PolicyDriver(towards(1.0)), None, seed=0)]
        run = None
        if path is not None:
            run = RunFolder.create(path / str(k), {"same": True}, resume=True)
        learners.append(ResidualLearner(replace(learn, seed=k), env, base, demos, run=run))
    judged = []

    def evaluate(step, name):
        judged.append((step, name))
        return 1.0

    made = ResetFree(
        ResetFreeCfg(steps=steps, **cfg),
        *learners,
        request_reset=line.request_reset,
        control_hz=10.0,
        evaluate=evaluate,
    )
    return made, line, judged


def test_who_works_takes_turns_and_nobody_is_called(tmp_path):
    made, line, judged = both(tmp_path)
    done = made.train()
    assert done["resets"] == made.resets == line.put_back == 1
    rows = read_lines(tmp_path / "0" / "attempts.jsonl")
    assert len(rows) == made.attempts and rows[-1]["step"] == made.step >= 300
    assert [row["direction"] for row in rows[:4]] == ["there", "back", "there", "back"]
    assert rows[-1]["robot_s"] == pytest.approx(made.step / 10)
    assert judged[0] == (0, "base") and judged[-1][0] == made.step
    assert made.forward.episode and made.backward.episode


def test_a_person_is_called_after_so_many_failed_ways_back_and_each_call_counts(tmp_path):
    stuck = CallablePolicy(lambda obs: np.ones_like(obs))
    made, line, _ = both(tmp_path, backward=stuck, patience=2)
    made.train()
    rows = read_lines(tmp_path / "0" / "attempts.jsonl")
    back = [row for row in rows if row["direction"] == "back"]
    assert back and line.put_back >= 2 and made.resets in (line.put_back, line.put_back + 1)
    for before, after in itertools.pairwise(rows):
        if after["resets"] > before["resets"]:  # called: it begins there again
            assert after["direction"] == "there" and not before["success"]
    longest, run = 0, 0
    for row in rows:
        run = run + 1 if row["direction"] == "back" and not row["success"] else 0
        longest = max(longest, run)
    assert longest <= 2


def test_a_resumed_practice_counts_on_and_begins_with_a_call(tmp_path):
    made, _, _ = both(tmp_path, steps=150)
    made.train()
    again, line, _ = both(tmp_path, steps=300)
    assert again.resume()
    assert again.step == made.step and again.attempts == made.attempts
    again.train()
    assert again.resets == made.resets + 1 and line.put_back >= 1
    assert again.step >= 300


def test_counts_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="patience 0 must be at least 1"):
        ResetFreeCfg(patience=0)
