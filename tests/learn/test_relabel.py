"""Demonstrations get the base actions that the base would really have taken in them."""

import numpy as np

from robot_rl.learn.relabel import relabel
from robot_rl.policy.base import Observation
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32


class Echo:
    chunk = 3

    def reset(self) -> None:
        pass

    def act(self, obs: Observation) -> F32:
        return np.repeat(np.asarray(obs)[None, :1], 3, 0)


def episode(first: float, steps: int) -> Trajectory:
    state = (first + np.arange(steps + 1, dtype=np.float32))[:, None]
    return Trajectory(
        obs={"state": state},
        executed=np.full((steps, 1), 9, np.float32),
        requested=np.full((steps, 1), 9, np.float32),
        reward=np.zeros(steps, np.float32),
        terminated=False,
        success=False,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1.0),
    )


def test_base_actions_are_chunks_planned_inside_the_episode_and_the_action_stays():
    labelled = relabel(Echo(), episode(10, 5))
    np.testing.assert_array_equal(labelled.base[:, 0], [10, 10, 10, 13, 13])
    np.testing.assert_array_equal(labelled.next_base, [13])
    np.testing.assert_array_equal(labelled.executed, episode(10, 5).executed)


def test_the_queue_starts_anew_with_each_demonstration():
    policy = Echo()
    first = [relabel(policy, episode(start, 4)).base[0, 0] for start in (10, 20, 30)]
    assert first == [10, 20, 30]
