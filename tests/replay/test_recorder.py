import multiprocessing
import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, DataError
from robot_rl.replay.journal import Kind
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.ring import Ring
from robot_rl.replay.store import EpisodeStore

CONTEXT = multiprocessing.get_context("spawn")


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 300), max_size=40), pops=st.lists(st.integers(0, 4), min_size=1)
)
def test_a_ring_gives_back_every_record_in_order(sizes, pops):
    ring = Ring.create(1024, CONTEXT)
    try:
        expected = []
        for k, size in enumerate(sizes):
            payload = bytes((k % 256,)) * size
            if ring.push(Kind.STEP, (payload[: size // 2], payload[size // 2 :])):
                expected.append(payload)
            else:
                assert ring.backlog_bytes + 2 * size + 16 > 1024 - 300, "refused without need"
            for _ in range(pops[k % len(pops)]):
                with ring.pop(timeout_s=0) as item:
                    if expected:
                        assert item is not None
                        assert bytes(item[1]) == expected.pop(0)
                    else:
                        assert item is None
    finally:
        ring.close(unlink=True)


def test_a_ring_larger_than_shared_memory_is_refused():
    with pytest.raises(ConfigError, match="does not fit into /dev/shm"):
        Ring.create(1 << 50, CONTEXT)


@pytest.fixture
def path(store):
    store.close()
    return store.path


def _record(writer, steps: int) -> None:
    for k in range(steps + 1):
        image = np.full((12, 16, 3), k, np.uint8)
        writer.frame("wrist", image, t_device_ns=k, t_host_ns=k + 1, frame_no=k)
        writer.observe(float(k), {"state": np.full(3, k)})
        if k < steps:
            writer.step(np.full(2, k), np.full(2, k), base=np.zeros(2))


def test_what_another_process_records_is_what_was_handed_over(path, make_trajectory):
    with Recorder(path, ring_bytes=2 << 20) as recorder:
        first = recorder.begin({"task": "peg"})
        _record(first, 5)
        first.seal("success", "human")
        second = recorder.begin()  # while the first is being sealed
        _record(second, 3)
        second.discard()
        recorder.wait(second.id)
        recorder.command("label", first.id, "failure", "human")
        recorder.command("undo")
        recorder.wait("undo")
        recorder.command("undo", first.id, "unused")
        recorder.command("explode")
        with pytest.raises(DataError, match=r"unknown command 'explode'\. Available"):
            recorder.wait("explode")
        with pytest.raises(DataError, match="another writer has this store open"):
            EpisodeStore.open(path, mode="a")
    store = EpisodeStore.open(path)
    assert store.ids() == [first.id, second.id]
    found = store.read(first.id)
    assert found.success is False
    assert found.executed[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.obs["wrist"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.attrs["drops"] == {}


def test_frames_are_dropped_and_counted_before_a_row_is_lost(path):
    with Recorder(path, ring_bytes=(1 << 20) + 4096) as recorder:
        os.kill(recorder._process.pid, signal.SIGSTOP)  # a disk that does not keep up
        writer = recorder.begin()
        _record(writer, 20)
        os.kill(recorder._process.pid, signal.SIGCONT)
        writer.seal("success", "env")
        recorder.wait(writer.id)
    found = EpisodeStore.open(path).read(writer.id)
    assert len(found) == 20
    assert found.attrs["drops"]["wrist"] >= 10


def test_a_killed_recorder_is_noticed_and_its_episode_salvaged(path):
    with Recorder(path, ring_bytes=2 << 20) as recorder:
        writer = recorder.begin({"task": "peg"})
        _record(writer, 5)
        while recorder.backlog_bytes:
            pass
        os.kill(recorder._process.pid, signal.SIGKILL)
        recorder._process.join()
        with pytest.raises(DataError, match="the recorder process has ended"):
            writer.step(np.zeros(2), np.zeros(2), base=np.zeros(2))
    with EpisodeStore.open(path, mode="a") as store:
        assert store.repair() == {writer.id: "salvaged 5 steps, outcome unknown"}


def test_a_store_in_use_is_reported_when_the_recorder_starts(store):
    with pytest.raises(DataError, match="another writer has this store open"):
        Recorder(store.path, ring_bytes=2 << 20).start()
    with pytest.raises(DataError, match="is no folder"):
        Recorder(store.path / "nothing").start()
