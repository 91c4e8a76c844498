import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import ConfigError, DataError, ShapeError, UnknownNameError
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory

FINITE = st.floats(-1e6, 1e6, width=32)


@st.composite
def trajectories(draw) -> Trajectory:
    steps, actions, width = draw(
        st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5))
    )

    def numbers(*shape):
        return draw(hnp.arrays(np.float32, shape, elements=FINITE))

    obs = {"state": numbers(steps + 1, width)}
    if draw(st.booleans()):
        obs["wrist"] = draw(hnp.arrays(np.uint8, (steps + 1, 12, 16, 3)))
    has_base = draw(st.booleans())
    gaps = draw(hnp.arrays(np.float64, steps + 1, elements=st.floats(1e-6, 1e3)))
    return Trajectory(
        obs=obs,
        executed=numbers(steps, actions),
        requested=numbers(steps, actions),
        base=numbers(steps, actions) if has_base else None,
        next_base=numbers(actions) if has_base and draw(st.booleans()) else None,
        reward=numbers(steps),
        terminated=draw(st.booleans()),
        success=draw(st.sampled_from([True, False, None])),
        control_source=draw(hnp.arrays(np.uint8, steps, elements=st.integers(0, 4))),
        t_s=np.cumsum(gaps),
        attrs=draw(st.dictionaries(st.sampled_from("abc"), st.integers() | st.text() | st.none())),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(trajectory=trajectories())
def test_every_trajectory_comes_back_bit_for_bit(store, assert_same, trajectory):
    assert_same(store.read(store.append(trajectory)), trajectory)


def test_the_index_tells_what_was_appended(store, make_trajectory):
    trajectory = make_trajectory(seed=0, steps=7)
    info = store.info(store.append(trajectory))
    assert (info.id, info.length, info.outcome) == ("ep_000000", 7, "success")
    assert (info.label_source, info.task, info.terminated) == ("env", "peg", False)
    assert info.reward_sum == pytest.approx(trajectory.reward.sum())
    assert info.duration_s == pytest.approx(trajectory.t_s[-1] - trajectory.t_s[0])
    assert store.infos() == [info] == EpisodeStore.open(store.path).infos()


def test_a_lost_or_damaged_index_is_rebuilt(store, make_trajectory):
    store.append(make_trajectory())
    infos = store.infos()
    for text in ("", "{", '{"episodes": 3}', '{"episodes": {"ep_000000": 3}}', "[]"):
        (store.path / "index.json").write_text(text)
        assert EpisodeStore.open(store.path).infos() == infos


def test_plain_zarr_reads_every_array(store, make_trajectory):
    trajectory = make_trajectory()
    store.append(trajectory)
    root = zarr.open(str(store.path), mode="r")
    assert root.attrs["schema_version"] == 1
    episode = root["episodes/ep_000000"]
    assert episode.metadata.zarr_format == 3
    np.testing.assert_array_equal(episode["low/step/executed"][:], trajectory.executed)
    np.testing.assert_array_equal(episode["low/obs/state"][:], trajectory.obs["state"])
    data, offset = episode["cam/wrist/png"][:], episode["cam/wrist/offset"][:]
    assert data[:4].tobytes() == b"\x89PNG"
    assert offset[-1] == len(data)
    np.testing.assert_array_equal(episode["cam/wrist/tick_frame"][:], np.arange(6))
    assert all(array.compressors == () for _, array in episode["low/step"].arrays())


def test_jpeg_frames_come_back_close_and_in_the_right_colours(tmp_path, make_trajectory):
    camera = CameraMeta(name="wrist", width_px=16, height_px=12)
    meta = StoreMeta(robot="arm", control_hz=20, cameras=(camera,))
    trajectory = make_trajectory()
    images = np.zeros((6, 12, 16, 3), np.uint8) + np.asarray([200, 100, 30], np.uint8)
    obs = {**trajectory.obs, "wrist": images}
    with EpisodeStore.create(tmp_path / "jpeg.zarr", meta) as store:
        found = store.read(store.append(replace(trajectory, obs=obs)))
    assert np.abs(found.obs["wrist"].astype(int) - images).max() <= 3


def test_only_the_named_cameras_are_read(store, make_trajectory):
    name = store.append(make_trajectory())
    assert set(store.read(name, cameras=()).obs) == {"state"}
    with pytest.raises(UnknownNameError, match=r"unknown camera 'front'\. Available: wrist\."):
        store.read(name, cameras=("front",))


def test_deleted_episodes_come_back_in_the_order_of_deletion(store, make_trajectory):
    for seed in range(4):
        store.append(make_trajectory(seed))
    store.delete(["ep_000001", "ep_000002"])
    store.delete(["ep_000000"])
    assert store.ids() == ["ep_000003"]
    assert store.append(make_trajectory()) == "ep_000004"
    assert store.undo() == ["ep_000000"]
    assert store.undo() == ["ep_000001", "ep_000002"]
    assert store.undo() == []
    assert len(store) == 5


def test_deleting_with_one_wrong_id_moves_nothing(store, make_trajectory):
    store.append(make_trajectory())
    with pytest.raises(DataError, match="has no episode ep_000009"):
        store.delete(["ep_000000", "ep_000009"])
    assert store.ids() == ["ep_000000"]


@pytest.mark.parametrize(
    "name", ["../peg", "/etc", "ep_1", "ep_000000/..", "", ".", "ep_000000\n"]
)
def test_no_id_leaves_the_store(store, make_trajectory, name):
    store.append(make_trajectory())
    for call in (store.read, store.info, store.journal, lambda n: store.delete([n])):
        with pytest.raises(DataError, match="no episode id"):
            call(name)


def test_links_are_not_followed_out_of_the_store(store, make_trajectory, tmp_path):
    store.append(make_trajectory())
    (tmp_path / "elsewhere").mkdir()
    (store.path / "episodes" / "ep_000007").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="has no episode ep_000007"):
        store.read("ep_000007")
    store.close()
    (store.path / "trash").rmdir()
    (store.path / "trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link"):
        EpisodeStore.open(store.path)


def test_a_second_writer_is_refused_and_told_who_is_first(store):
    with pytest.raises(
        DataError, match=f'another writer has this store open .*"pid": {os.getpid()}'
    ):
        EpisodeStore.open(store.path, mode="a")
    store.close()
    EpisodeStore.open(store.path, mode="a").close()


def test_the_lock_of_a_killed_writer_is_free(store):
    store.close()
    script = (
        "import os, signal, sys; from robot_rl.replay.store_lock import StoreLock\n"
        "from pathlib import Path; StoreLock(Path(sys.argv[1])).acquire()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    lock = store.path / ".journal" / "lock"
    subprocess.run([sys.executable, "-c", script, str(lock)], check=False)
    assert json.loads(lock.read_text())["pid"] != os.getpid()
    EpisodeStore.open(store.path, mode="a").close()


def test_a_reader_may_not_write(store, make_trajectory):
    reader = EpisodeStore.open(store.path)
    with pytest.raises(DataError, match="open for reading"):
        reader.append(make_trajectory())
    with pytest.raises(ConfigError, match="mode is 'w'"):
        EpisodeStore.open(store.path, mode="w")


def test_what_is_no_store_is_refused_with_the_next_step(tmp_path, store):
    with pytest.raises(DataError, match=r"is no folder\. Check the path"):
        EpisodeStore.open(tmp_path / "nothing")
    with pytest.raises(DataError, match="is no episode store"):
        EpisodeStore.open(tmp_path)
    with pytest.raises(DataError, match="exists already"):
        EpisodeStore.create(store.path, store.meta)
    zarr_json = store.path / "zarr.json"
    attrs = json.loads(zarr_json.read_text())
    attrs["attributes"]["schema_version"] = 99
    zarr_json.write_text(json.dumps(attrs))
    with pytest.raises(DataError, match="schema version is 99, but this robot_rl reads version 1"):
        EpisodeStore.open(store.path)
    attrs["attributes"].update(schema_version=1, cameras=[{"name": "../x"}])
    zarr_json.write_text(json.dumps(attrs))
    with pytest.raises(DataError, match="attributes are damaged"):
        EpisodeStore.open(store.path)
    zarr_json.write_bytes(b"\xff\x00")
    with pytest.raises(DataError, match=r"zarr\.json is missing, damaged or another's"):
        EpisodeStore.open(store.path)


def test_an_episode_that_does_not_fit_is_refused_and_leaves_nothing(store, make_trajectory):
    trajectory = make_trajectory()
    with pytest.raises(UnknownNameError, match="unknown camera 'front'"):
        store.append(make_trajectory(camera="front"))
    small = {**trajectory.obs, "wrist": trajectory.obs["wrist"][:, :6]}
    with pytest.raises(ShapeError, match="must have shape"):
        store.append(replace(trajectory, obs=small))
    with pytest.raises(DataError, match="cannot be written as JSON"):
        store.append(replace(trajectory, attrs={"x": float("nan")}))
    with pytest.raises(DataError, match="0 steps"):
        store.append(make_trajectory(steps=0))
    assert len(store) == 0
    assert not list((store.path / ".journal").glob("new_*"))


def test_a_later_label_overrides_the_first_and_belongs_to_one_episode(store, make_trajectory):
    name = store.append(make_trajectory(seed=2))
    before = store.info(name)
    store.label(name, "success", "human")
    assert store.read(name).success is True
    assert store.read(name).attrs["label_source"] == "human"
    assert store.infos()[0] == replace(before, outcome="success", label_source="human")
    with pytest.raises(UnknownNameError, match="unknown outcome 'good'"):
        store.label(name, "good", "human")
    label = store.path / "annotations" / "label" / f"{name}.json"
    label.write_text(label.read_text().replace(before.uuid, "0" * 32))
    assert store.info(name).outcome == "unknown"
    label.write_text("{")
    with pytest.raises(DataError, match="damaged label"):
        store.infos()


def test_annotations_replace_each_other_and_leave_the_episode_alone(store, make_trajectory):
    name = store.append(make_trajectory())
    digest = store.info(name).digest
    for value in (1.0, 2.0):
        store.annotate("progress", name, {"value": np.full(6, value)}, {"model": f"v{value}"})
    arrays, facts = store.annotation("progress", name)
    assert arrays["value"].tolist() == [2.0] * 6
    assert facts == {"model": "v2.0"}
    assert store.info(name).digest == digest
    assert not list((store.path / ".journal").glob("new_*"))
    with pytest.raises(DataError, match="no such annotation"):
        store.annotation("rewards", name)
    with pytest.raises(ConfigError, match=r"annotation '\.\./x' must be"):
        store.annotate("../x", name, {}, {})
