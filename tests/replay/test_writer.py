import numpy as np
import pytest

from robot_rl.errors import DataError, NonFiniteError, ShapeError, UnknownNameError
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore

IMAGE = np.zeros((12, 16, 3), np.uint8)


def _frame(writer, k: int, **more) -> None:
    writer.frame("wrist", IMAGE + k, t_device_ns=10 * k, t_host_ns=10 * k + 3, frame_no=k, **more)


def _record(writer, steps: int) -> None:
    for k in range(steps):
        _frame(writer, k)
        writer.observe(0.05 * k, {"state": np.full(3, k)}, robot={"q_rad": np.full(7, k)})
        writer.step(np.ones(2), np.full(2, 2.0), base=np.zeros(2), reward=1.0, control_source=3)
    writer.observe(0.05 * steps, {"state": np.full(3, steps)}, robot={"q_rad": np.zeros(7)})


def test_an_episode_recorded_step_by_step_reads_as_a_trajectory(store):
    writer = store.begin({"task": "peg", "policy": "v3"})
    _record(writer, 4)
    assert len(store) == 0, "an open episode is not visible"
    name = writer.seal("success", "human", next_base=np.ones(2), facts={"notes": "fine"})
    found = store.read(name)
    assert found.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.obs["wrist"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 3], "newest frame at each tick"
    assert (found.success, found.terminated) == (True, True)
    assert found.next_base is not None
    assert found.next_base.tolist() == [1.0, 1.0]
    facts = {"task": "peg", "policy": "v3", "notes": "fine", "drops": {}}
    assert facts.items() <= found.attrs.items()
    content = store.content(name)
    assert content.low["step/residual"].tolist() == [[2.0, 2.0]] * 4
    assert content.low["robot/q_rad"].shape == (5, 7)
    assert content.cameras["wrist"].t_host_ns.tolist() == [3, 13, 23, 33]
    assert store.info(name).interventions == 1
    assert store.partials() == []


def test_depth_comes_back_and_is_read_by_plain_zarr(tmp_path):
    camera = CameraMeta(name="wrist", width_px=16, height_px=12, depth=True)
    meta = StoreMeta(robot="arm", control_hz=20, cameras=(camera,))
    depth = np.random.default_rng(0).integers(0, 2000, (70, 12, 16)).astype(np.uint16)
    with EpisodeStore.create(tmp_path / "depth.zarr", meta) as store:
        writer = store.begin()
        for k, image in enumerate(depth):
            _frame(writer, k, depth=image)
        with pytest.raises(ShapeError, match="uint16 depth of camera 'wrist'"):
            _frame(writer, 70)
        for k in range(2):
            writer.observe(k, {"state": np.zeros(1)})
            if k == 0:
                writer.step(np.zeros(1), np.zeros(1))
        name = writer.seal("unknown", "none")
        import zarr

        group = zarr.open(str(store.folder(name)), mode="r")
        np.testing.assert_array_equal(group["cam/wrist/depth"][:], depth)
        assert len(store.content(name).cameras["wrist"].depth) == 70


def test_calls_out_of_order_are_refused_in_words(store):
    writer = store.begin()
    with pytest.raises(DataError, match="step after 0 observations and 0 steps"):
        writer.step(np.zeros(2), np.zeros(2))
    writer.observe(1.0, {"state": np.zeros(3)})
    with pytest.raises(DataError, match="observe after 1 observations"):
        writer.observe(2.0, {"state": np.zeros(3)})
    writer.step(np.zeros(2), np.zeros(2))
    with pytest.raises(DataError, match="seal after 1 observations and 1 steps"):
        writer.seal("success", "human")
    with pytest.raises(DataError, match=r"stamp 1\.0 s must be after 1\.0 s"):
        writer.observe(1.0, {"state": np.zeros(3)})
    with pytest.raises(DataError, match="differ from the first row"):
        writer.observe(2.0, {"state": np.zeros(4)})
    with pytest.raises(NonFiniteError, match="obs/state is not finite"):
        writer.observe(2.0, {"state": np.full(3, np.nan)})
    with pytest.raises(ShapeError, match="frame of camera 'wrist'"):
        writer.frame("wrist", IMAGE[:6], t_device_ns=0, t_host_ns=0, frame_no=0)
    with pytest.raises(UnknownNameError, match="unknown camera 'front'"):
        writer.frame("front", IMAGE, t_device_ns=0, t_host_ns=0, frame_no=0)
    writer.observe(2.0, {"state": np.zeros(3)})
    with pytest.raises(UnknownNameError, match="unknown outcome 'great'"):
        writer.seal("great", "human")
    with pytest.raises(NonFiniteError, match="next_base"):
        writer.seal("success", "human", next_base=np.full(2, np.inf))
    writer.seal("success", "human")
    with pytest.raises(DataError, match="after the episode has ended"):
        writer.observe(3.0, {"state": np.zeros(3)})


def test_a_discarded_episode_comes_back_by_undo(store):
    writer = store.begin({"task": "peg"})
    _record(writer, 3)
    writer.discard()
    assert (len(store), store.partials()) == (0, [])
    again = store.begin()
    assert again.id != writer.id
    again.discard()  # before the first step: nothing to keep
    assert store.undo() == [writer.id]
    assert store.info(writer.id).length == 3


def test_a_sealed_but_unmoved_recording_is_finished_at_the_next_opening(store, monkeypatch):
    writer = store.begin()
    _record(writer, 3)
    monkeypatch.setattr(store, "seal_journal", lambda name: name)  # as if killed right there
    writer.seal("success", "human")
    store.close()
    assert EpisodeStore.open(store.path).ids() == [], "readers see sealed episodes only"
    with EpisodeStore.open(store.path, mode="a") as reopened:
        assert reopened.info(writer.id).outcome == "success"
        assert reopened.partials() == []


def test_a_journal_left_behind_by_a_finished_seal_is_not_sealed_twice(store, monkeypatch):
    writer = store.begin()
    _record(writer, 3)
    monkeypatch.setattr(store, "seal_journal", lambda name: name)
    writer.seal("success", "human")
    store.close()
    path = store.journal(writer.id)
    left_behind = path.read_bytes()
    EpisodeStore.open(store.path, mode="a").close()
    path.write_bytes(left_behind)  # as if killed between the rename and removing the journal
    with EpisodeStore.open(store.path, mode="a") as reopened:
        assert reopened.ids() == [writer.id]
        assert not path.exists()


def test_repair_salvages_the_complete_steps_of_a_cut_off_recording(store):
    writer = store.begin({"task": "peg"})
    _record(writer, 4)
    writer.step(np.ones(2), np.ones(2), base=np.zeros(2))  # its outcome was never observed
    empty = store.begin()
    store.close()
    path = store.journal(writer.id)
    path.write_bytes(path.read_bytes()[:-3])
    with EpisodeStore.open(store.path, mode="a") as reopened:
        assert reopened.partials() == [writer.id, empty.id]
        assert reopened.begin().id not in (writer.id, empty.id)
        done = reopened.repair()
        assert done[writer.id] == "salvaged 4 steps, outcome unknown"
        assert "nothing to salvage" in done[empty.id]
        found = reopened.read(writer.id)
        assert found.success is None
        assert "cut inside a record" in found.attrs["salvaged"]
        assert empty.id not in reopened.partials()
