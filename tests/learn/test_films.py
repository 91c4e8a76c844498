"""What waits for a judge is on disk, whole, for as long as a checkpoint needs it."""

import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.learn.films import Films
from robot_rl.learn.lived import LivedEpisode


def episode(seed):
    rng = np.random.default_rng(seed)
    obs = {
        "state": rng.normal(size=(5, 3)).astype(np.float32),
        "front": rng.integers(0, 255, (5, 8, 6, 3), np.uint8),
    }
    return LivedEpisode(obs=obs, t_s=0.05 * np.arange(5))


def test_a_film_comes_back_as_it_was_in_another_process(tmp_path):
    Films(tmp_path).put(7, episode(1))
    back = Films(tmp_path).read(7, "Rise.")
    for name, rows in episode(1).obs.items():
        np.testing.assert_array_equal(back.obs[name], rows)
        assert back.obs[name].dtype == rows.dtype
    np.testing.assert_array_equal(back.t_s, episode(1).t_s)
    assert back.attrs["task"] == "Rise."


def test_an_episode_that_is_lived_again_replaces_the_one_of_its_number(tmp_path):
    films = Films(tmp_path)
    for seed in (1, 2):
        films.put(0, episode(seed))
    assert films.numbers() == [0]
    np.testing.assert_array_equal(films.read(0, "").obs["front"], episode(2).obs["front"])


def test_a_film_stays_while_any_checkpoint_that_is_kept_waits_for_it(tmp_path):
    films = Films(tmp_path)
    for number in range(4):
        films.put(number, episode(number))
    left = []
    for waiting in ([0, 1, 2, 3], [1, 2, 3], [3], [3], []):
        films.checkpoint(waiting)
        left.append(films.numbers())
    assert left == [[0, 1, 2, 3]] * 3 + [[1, 2, 3], [3]]


def test_after_a_restart_nothing_goes_before_it_is_known_what_older_checkpoints_need(tmp_path):
    Films(tmp_path).put(0, episode(0))
    films = Films(tmp_path)
    films.checkpoint([])
    films.checkpoint([])
    assert films.numbers() == [0]
    films.checkpoint([])
    assert films.numbers() == []


def test_what_is_missing_or_damaged_is_said_and_not_made_up(tmp_path):
    films = Films(tmp_path)
    with pytest.raises(DataError, match=r"ep_00000003\.safetensors cannot be read.*keeps waiting"):
        films.read(3, "")
    films.put(3, episode(3))
    (file,) = tmp_path.glob("ep_*")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match="cannot be read"):
        films.read(3, "")
