"""Windows hold the actions that followed, and never those of another episode."""

import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.replay.trajectory import Trajectory


def episode(first: float, steps: int, dim: int = 1, camera: bool = False) -> Trajectory:
    count = np.arange(steps, dtype=np.float32)[:, None]
    obs = {"state": np.full((steps + 1, dim), first, np.float32)}
    if camera:
        obs["cam"] = np.full((steps + 1, 4, 4, 3), int(first), np.uint8)
    return Trajectory(
        obs=obs,
        executed=first + count,
        requested=np.full((steps, 1), -1, np.float32),
        reward=np.zeros(steps, np.float32),
        terminated=True,
        success=True,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1.0),
    )


def test_every_step_has_a_window_of_its_own_episodes_executed_actions():
    windows = ChunkWindows.cut([episode(10, 3), episode(20, 2)], 3)
    assert windows.chunk[:, :, 0].tolist() == [
        [10, 11, 12],
        [11, 12, 12],
        [12, 12, 12],
        [20, 21, 21],
        [21, 21, 21],
    ]
    assert windows.mask.tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert windows.episode.tolist() == [0, 0, 0, 1, 1]
    assert windows.state[:, 0].tolist() == [10, 10, 10, 20, 20]


def test_weights_and_images_follow_their_episode():
    windows = ChunkWindows.cut(
        [episode(1, 2, camera=True), episode(2, 1, camera=True)], 2, weights=[0.5, 2]
    )
    assert windows.weight.tolist() == [0.5, 0.5, 2]
    assert windows.images["cam"][:, 0, 0, 0].tolist() == [1, 1, 2]
    assert windows.rows(np.array([2])).images["cam"].shape == (1, 4, 4, 3)


def test_an_empty_episode_adds_nothing():
    assert len(ChunkWindows.cut([episode(1, 0), episode(2, 2)], 2)) == 2


def test_no_steps_mixed_shapes_and_wrong_weights_are_refused():
    with pytest.raises(DataError, match="0 demonstrated steps"):
        ChunkWindows.cut([], 2)
    with pytest.raises(DataError, match="2 different shapes"):
        ChunkWindows.cut([episode(1, 2), episode(1, 2, dim=3)], 2)
    with pytest.raises(DataError, match="must be 1 finite numbers"):
        ChunkWindows.cut([episode(1, 2)], 2, weights=[1, 1])
    with pytest.raises(DataError, match="finite numbers"):
        ChunkWindows.cut([episode(1, 2)], 2, weights=[np.nan])
