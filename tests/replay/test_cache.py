import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.replay.cache import PAD_PX, CacheCfg, TrainingCache
from robot_rl.replay.store import EpisodeStore

CFG = CacheCfg(height_px=12, width_px=16)


@pytest.fixture
def episodes(store, make_trajectory):
    made = [make_trajectory(seed, steps=4 + seed) for seed in range(4)]
    for episode in made:
        store.append(episode)
    return made


@pytest.fixture
def cache(store, episodes, tmp_path):
    return TrainingCache.build(store, tmp_path / "cache", CFG)


def test_rows_without_a_shift_are_the_stored_images(cache, episodes):
    images = np.concatenate([episode.obs["wrist"] for episode in episodes])
    rows = np.arange(len(images))
    np.testing.assert_array_equal(cache.images("wrist", rows), images)


@given(shift=st.lists(st.tuples(*[st.integers(-PAD_PX, PAD_PX)] * 2), min_size=1, max_size=5))
def test_a_shift_is_padding_by_edges_and_cropping(shared_cache, shift):
    cache, images = shared_cache
    rows = np.arange(len(shift)) % len(images)
    found = cache.images("wrist", rows, np.asarray(shift))
    edges = ((PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0))
    for got, row, (down, right) in zip(found, rows, shift, strict=True):
        padded = np.pad(images[row], edges, mode="edge")
        top, left = PAD_PX - down, PAD_PX - right
        np.testing.assert_array_equal(got, padded[top : top + 12, left : left + 16])


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory, meta, make_trajectory):
    folder = tmp_path_factory.mktemp("shared")
    episode = make_trajectory()
    with EpisodeStore.create(folder / "s.zarr", meta) as store:
        store.append(episode)
        return TrainingCache.build(store, folder / "cache", CFG), episode.obs["wrist"]


def test_a_batch_holds_transitions_of_one_episode_each(cache, episodes):
    batch = cache.sample(np.random.default_rng(0), 200, shift=False)
    steps = [(episode, t) for episode in episodes for t in range(len(episode))]
    assert len(cache) == len(steps)
    assert set(batch.step.tolist()) == set(range(len(steps))), "every transition is drawn"
    for k, index in enumerate(batch.step.tolist()):
        episode, t = steps[index]
        for key in ("state", "wrist"):
            np.testing.assert_array_equal(batch.obs[key][k], episode.obs[key][t])
            np.testing.assert_array_equal(batch.next_obs[key][k], episode.obs[key][t + 1])
        np.testing.assert_array_equal(batch.executed[k], episode.executed[t])
        np.testing.assert_array_equal(batch.base[k], episode.base[t])
        is_last = t + 1 == len(episode)
        after = episode.next_base if is_last else episode.base[t + 1]
        np.testing.assert_array_equal(batch.next_base[k], after)
        assert batch.reward[k] == episode.reward[t]
        assert batch.terminated[k] == (is_last and episode.terminated)


def test_images_are_resized_to_the_training_size(store, episodes, tmp_path):
    cfg = CacheCfg(height_px=8, width_px=10)
    small = TrainingCache.build(store, tmp_path / "cache", cfg).images("wrist", np.arange(3))
    assert small.shape == (3, 8, 10, 3)
    assert abs(small.mean() - episodes[0].obs["wrist"][:3].mean()) < 6


def test_the_cache_is_reused_until_the_episodes_or_the_settings_change(store, cache, tmp_path):
    root, written = tmp_path / "cache", (cache.folder / "low.npz").stat().st_mtime_ns
    again = TrainingCache.build(store, root, CFG)
    assert again.folder == cache.folder
    assert (again.folder / "low.npz").stat().st_mtime_ns == written
    others = [TrainingCache.build(store, root, replace(CFG, width_px=20)).folder]
    others.append(TrainingCache.build(store, root, replace(CFG, cameras=())).folder)
    store.label("ep_000002", "success", "human")
    others.append(TrainingCache.build(store, root, CFG).folder)
    store.delete(["ep_000000"])
    others.append(TrainingCache.build(store, root, CFG).folder)
    assert len({cache.folder, *others}) == 5


@pytest.mark.parametrize("name", ["cam_wrist.u8", "low.npz", "files.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_cache_is_made_again(store, cache, episodes, tmp_path, name, damage):
    path = cache.folder / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        middle = len(data) // 2
        data[middle] ^= 0xFF
        path.write_bytes(data[:middle] if damage == "cut" else data)
        os.utime(path, ns=(1, 1))
    again = TrainingCache.build(store, tmp_path / "cache", CFG)
    images = np.concatenate([episode.obs["wrist"] for episode in episodes])
    np.testing.assert_array_equal(again.images("wrist", np.arange(len(images))), images)


def test_what_cannot_be_cached_is_refused_with_a_reason(store, tmp_path, make_trajectory):
    root = tmp_path / "cache"
    with pytest.raises(DataError, match="holds no episode to train on"):
        TrainingCache.build(store, root)
    with pytest.raises(ConfigError, match="training images are 4 x 84 px"):
        CacheCfg(height_px=4)
    store.append(make_trajectory())
    with pytest.raises(UnknownNameError, match="unknown camera 'front'"):
        TrainingCache.build(store, root, CacheCfg(cameras=("front",)))
    wide = make_trajectory(1)
    obs = {**wide.obs, "state": np.zeros((len(wide) + 1, 9), np.float32)}
    store.append(replace(wide, obs=obs))
    with pytest.raises(DataError, match="differ in size"):
        TrainingCache.build(store, root, CFG)
    assert list(root.iterdir()) == [], "no draft is left"
