"""A toy task that behavior cloning must solve: move a point in the plane to its goal."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robot_rl.policy.base import BasePolicy
from robot_rl.policy.queue import ChunkQueue
from robot_rl.replay.trajectory import Trajectory

sys.path.insert(0, str(Path(__file__).parent))  # for its neighbours


def _demonstration(seed: int) -> Trajectory:
    rng = np.random.default_rng(seed)
    state = rng.uniform(-1, 1, 4)
    states, actions = [state], []
    for _ in range(16):
        action = np.clip(2 * (state[2:] - state[:2]), -1, 1)
        state = np.concatenate([state[:2] + 0.2 * action, state[2:]])
        states.append(state)
        actions.append(action)
    steps = len(actions)
    return Trajectory(
        obs={"state": np.array(states, np.float32)},
        executed=np.array(actions, np.float32),
        requested=np.array(actions, np.float32),
        reward=np.eye(1, steps, steps - 1, dtype=np.float32)[0],
        terminated=True,
        success=True,
        control_source=np.full(steps, 2, np.uint8),
        t_s=np.arange(steps + 1) / 10,
    )


def _success(policy: BasePolicy, seeds: range = range(1000, 1020)) -> float:
    queue, wins = ChunkQueue(policy), 0
    for seed in seeds:
        state = np.random.default_rng(seed).uniform(-0.9, 0.9, 4).astype(np.float32)
        queue.reset()
        for _ in range(16):
            action, _ = queue.next({"state": state})
            state[:2] += 0.2 * np.clip(action, -1, 1)
        wins += bool(np.linalg.norm(state[2:] - state[:2]) < 0.15)
    return wins / len(seeds)


@pytest.fixture
def demonstrations() -> Callable[[int], list[Trajectory]]:
    """`demonstrations(n)`: n episodes of the toy task."""
    return lambda count: [_demonstration(seed) for seed in range(count)]


@pytest.fixture
def toy_success() -> Callable[[BasePolicy], float]:
    """Share of 20 fixed starts of the toy task in which a policy ends at its goal."""
    return _success
