"""The chunk queue never plays an action that was planned for another observation or episode.

The three last tests fail on the defects of the published release: a queue that is cleared only on
termination, after the next base action was already popped, and never between demonstrations.
"""

import numpy as np
import pytest

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import Observation
from robot_rl.policy.queue import ChunkQueue
from robot_rl.types import F32


class Echo:
    """A base whose plan is the observation it was asked with, plus the place in the chunk / 10."""

    chunk = 4

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, obs: Observation) -> F32:
        value = float(np.asarray(obs)[0])
        self.asked.append(value)
        return (value + np.arange(4, dtype=np.float32) / 10)[:, None]


def run(queue: ChunkQueue, observations: list[float]) -> list[tuple[float, float]]:
    out = []
    for value in observations:
        action, phase = queue.next(np.array([value], np.float32))
        out.append((round(float(action[0]), 3), phase))
    return out


def test_a_chunk_is_played_open_loop_and_then_planned_anew():
    base = Echo()
    assert run(ChunkQueue(base), [1, 2, 3, 4, 5, 6]) == [
        (1.0, 0.0),
        (1.1, 0.25),
        (1.2, 0.5),
        (1.3, 0.75),
        (5.0, 0.0),
        (5.1, 0.25),
    ]
    assert base.asked == [1, 5]


@pytest.mark.parametrize("steps", range(1, 9))
def test_the_first_action_of_an_episode_comes_from_its_own_first_observation(steps):
    # Whatever the length of the last episode, aligned with the chunk or not, by success or time.
    queue = ChunkQueue(Echo())
    run(queue, list(range(steps)))
    queue.reset()
    assert run(queue, [50]) == [(50.0, 0.0)]


def test_nothing_is_planned_or_popped_ahead_of_its_observation():
    base = Echo()
    queue = ChunkQueue(base)
    run(queue, [1, 2, 3, 4])
    assert base.asked == [1]  # the chunk is used up, but no plan is made before the next step
    queue.reset()
    assert base.asked == [1]
    assert base.resets == 1


def test_the_base_action_after_a_time_out_continues_the_running_chunk():
    queue = ChunkQueue(Echo())
    run(queue, [1, 2])
    assert run(queue, [3]) == [(1.2, 0.5)]  # at the last observation: not zeros, not a new plan


def test_an_action_cannot_be_changed_through_a_past_one():
    queue = ChunkQueue(Echo())
    first, _ = queue.next(np.array([1.0], np.float32))
    first += 100
    assert run(queue, [2]) == [(1.1, 0.25)]


def test_a_plan_of_another_length_or_with_nan_is_refused():
    class Short(Echo):
        def act(self, obs: Observation) -> F32:
            return np.zeros((3, 1), np.float32)

    class Broken(Echo):
        def act(self, obs: Observation) -> F32:
            return np.full((4, 1), np.nan, np.float32)

    with pytest.raises(ShapeError, match=r"base policy: chunk has shape \(3, 1\)"):
        ChunkQueue(Short()).next(np.zeros(1, np.float32))
    with pytest.raises(NonFiniteError, match="base policy: chunk"):
        ChunkQueue(Broken()).next(np.zeros(1, np.float32))
