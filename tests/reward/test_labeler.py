import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, DataError, RobotRLError
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.labeler import AsyncLabeler, LabelerCfg, keyframes_of
from robot_rl.reward.potentials import FramePotentials, PotentialTable
from robot_rl.reward.progress import Capabilities, ProgressEstimate

SOON_S = 60.0
META = StoreMeta(
    robot="test",
    control_hz=10,
    cameras=(CameraMeta(name="top", width_px=8, height_px=6, codec="png"),),
)


def episode(steps=20, level=200):
    """A film that brightens from black to `level`."""
    ramp = np.linspace(0, level, steps + 1).astype(np.uint8)
    frames = np.broadcast_to(ramp[:, None, None, None], (steps + 1, 6, 8, 3)).copy()
    rows = np.zeros((steps, 1), np.float32)
    return Trajectory(
        obs={"state": np.zeros((steps + 1, 2), np.float32), "top": frames},
        executed=rows,
        requested=rows,
        reward=rows[:, 0],
        terminated=False,
        success=None,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1) * 0.1,
        attrs={"task": "brighten"},
    )


class Brightness:
    """Progress is how bright the picture is; it can be made to wait, or to see nothing."""

    model_id = "brightness"

    def __init__(self, version=0, blind=False, max_frames=None):
        self.version, self.blind = version, blind
        self.capabilities = Capabilities(causal=True, max_frames=max_frames)
        self.go_on, self.is_asked = threading.Event(), threading.Event()
        self.go_on.set()
        self.asked = []

    def score(self, queries):
        self.is_asked.set()
        self.go_on.wait(SOON_S)
        self.asked += [len(query) for query in queries]
        return [self._judge(query) for query in queries]

    def _judge(self, query):
        about = {"model_id": self.model_id, "version": self.version}
        if self.blind:
            return ProgressEstimate.invalid(len(query), **about, raw_text="it is dark")
        progress = query.frames["top"].mean(axis=(1, 2, 3), dtype=np.float32) / 255
        return ProgressEstimate(
            progress=progress,
            success=np.full_like(progress, np.nan),
            sigma=np.full_like(progress, 0.1),
            valid=np.ones(len(progress), bool),
            **about,
        )

    def save(self, folder):
        return folder


@pytest.fixture
def store(tmp_path):
    with EpisodeStore.create(tmp_path / "store", META) as store:
        yield store


def label_of(store, name):
    arrays, facts = store.annotation("progress", name)
    return FramePotentials.from_arrays(arrays), facts


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=60), st.floats(0.0, 3.0))
def test_keyframes_hold_both_ends_and_leave_no_gap_wider_than_asked(gaps, every_s):
    t_s = np.cumsum([0.0, *gaps])
    rows = keyframes_of(t_s, every_s)
    assert rows[0] == 0
    assert rows[-1] == len(t_s) - 1
    assert (np.diff(rows) > 0).all()
    skipped = np.diff(rows) > 1
    assert (np.diff(t_s[rows])[skipped] <= every_s + max(gaps) + 1e-9).all()


def test_episodes_that_are_there_are_labelled_with_interpolation_between_keyframes(store):
    name = store.append(episode(steps=20, level=255))
    with AsyncLabeler(store, Brightness(version=4), LabelerCfg(keyframe_every_s=0.5)) as labeler:
        assert labeler.wait_idle(SOON_S)
    found, facts = label_of(store, name)
    assert found.phi == pytest.approx(np.linspace(0, 1, 21), abs=0.01)
    assert (found.phi_version == 4).all()
    assert found.phi_valid.all()
    assert facts["keyframes"] == [0, 5, 10, 15, 20]
    assert (labeler.counts.labelled, labeler.counts.frames) == (1, 5)


def test_the_newest_episode_is_labelled_first(store):
    order, model = [], Brightness()
    model.go_on.clear()
    names = [store.append(episode()) for _ in range(3)]
    with AsyncLabeler(
        store, model, LabelerCfg(), on_label=lambda name, _: order.append(name)
    ) as labeler:
        newer = [store.append(episode()) for _ in range(3)]
        for name in newer:
            labeler.submit(name)
        model.go_on.set()
        assert labeler.wait_idle(SOON_S)
    first_or_second = order[:2]
    assert newer[-1] in first_or_second  # one may have been under way already
    rest = [name for name in order if name != order[0]]
    assert rest == sorted(rest, reverse=True)
    assert sorted(order) == sorted(names + newer)


def test_nobody_waits_while_the_model_thinks(store):
    model = Brightness()
    model.go_on.clear()
    with AsyncLabeler(store, model, LabelerCfg()) as labeler:
        names = [store.append(episode(steps=3)) for _ in range(3)]
        for _ in range(1000):
            for name in names:
                labeler.submit(name)
        assert labeler.counts.labelled == 0  # and yet we are here
        model.go_on.set()
        assert labeler.wait_idle(SOON_S)
    assert labeler.counts.labelled == 3


def test_a_full_queue_drops_its_oldest_and_finds_it_again(store):
    model = Brightness()
    model.go_on.clear()
    with AsyncLabeler(store, model, LabelerCfg(queue=2)) as labeler:
        names = [store.append(episode(steps=3)) for _ in range(5)]
        for name in names:
            labeler.submit(name)
        assert labeler.counts.displaced >= 2
        model.go_on.set()
        assert labeler.wait_idle(SOON_S)
    assert all(label_of(store, name) for name in names)


def test_a_new_model_labels_everything_again_and_no_label_mixes_versions(store):
    names = [store.append(episode(steps=6)) for _ in range(3)]
    table = PotentialTable(3 * 7)
    rows = {name: slice(7 * k, 7 * k + 7) for k, name in enumerate(names)}
    seen = []

    def keep(name, found):
        table.write(rows[name].start, found)
        for where in rows.values():
            versions = table.read(np.arange(where.start, where.stop)).phi_version
            seen.append(set(versions.tolist()))

    with AsyncLabeler(store, Brightness(version=1), LabelerCfg(), on_label=keep) as labeler:
        assert labeler.wait_idle(SOON_S)
        labeler.update_model(Brightness(version=2))
        assert labeler.wait_idle(SOON_S)
    assert {facts["version"] for _, facts in (label_of(store, n) for n in names)} == {2}
    assert all(len(versions) == 1 for versions in seen)
    assert labeler.counts.labelled == 6


def test_a_model_that_changes_between_the_parts_of_an_episode_labels_nothing(store):
    store.append(episode())

    class Restless(Brightness):
        def _judge(self, query):
            self.version += 1
            return super()._judge(query)

    model = Restless(max_frames=2)
    with AsyncLabeler(store, model, LabelerCfg()) as labeler:
        assert labeler.wait_idle(SOON_S)
    assert labeler.counts.labelled == 0
    assert labeler.counts.failed == 1


def test_long_episodes_are_asked_about_in_parts(store):
    name, model = store.append(episode(steps=40, level=255)), Brightness(max_frames=3)
    with AsyncLabeler(store, model, LabelerCfg(keyframe_every_s=0.5)) as labeler:
        assert labeler.wait_idle(SOON_S)
    assert model.asked == [3, 3, 3]
    assert label_of(store, name)[0].phi == pytest.approx(np.linspace(0, 1, 41), abs=0.01)


def test_what_cannot_be_judged_gets_no_label_and_is_asked_about_ever_more_rarely(store):
    name, model = store.append(episode()), Brightness(blind=True)
    with AsyncLabeler(store, model, LabelerCfg(retry_s=0.001, rescan_s=0.001)) as labeler:
        deadline_s = time.monotonic() + SOON_S
        while labeler.counts.failed < 3 and time.monotonic() < deadline_s:
            labeler.wait_idle(0.1)
        with pytest.raises(DataError, match="no such annotation"):
            label_of(store, name)
        model.blind = False
        while labeler.counts.labelled < 1 and time.monotonic() < deadline_s:
            labeler.wait_idle(0.1)
    assert label_of(store, name)[0].phi_valid.all()


def test_an_episode_that_just_failed_is_left_alone_until_its_time_or_a_new_model(store):
    name, model = store.append(episode()), Brightness(blind=True)
    with AsyncLabeler(store, model, LabelerCfg(retry_s=1000.0)) as labeler:
        assert labeler.wait_idle(SOON_S)
        labeler.submit(name)
        assert labeler.wait_idle(SOON_S)
        assert len(model.asked) == 1
        labeler.update_model(Brightness(version=1))
        assert labeler.wait_idle(SOON_S)
    assert label_of(store, name)[1]["version"] == 1


def test_fresh_labels_are_not_made_again(store):
    store.append(episode())
    for asked in (1, 0):
        model = Brightness()
        with AsyncLabeler(store, model, LabelerCfg()) as labeler:
            assert labeler.wait_idle(SOON_S)
        assert len(model.asked) == asked


def test_a_damaged_label_is_made_again(store):
    name = store.append(episode())
    for _ in range(2):
        with AsyncLabeler(store, Brightness(), LabelerCfg()) as labeler:
            assert labeler.wait_idle(SOON_S)
        assert label_of(store, name)[0].phi_valid.all()
        (store.path / "annotations" / "progress" / name / "zarr.json").write_text("{")
        with pytest.raises(DataError, match="damaged annotation"):
            label_of(store, name)


def test_a_damaged_episode_does_not_stop_the_others(store):
    bad, good = store.append(episode()), store.append(episode())
    (store.folder(bad) / "zarr.json").write_text("{")
    with AsyncLabeler(store, Brightness(), LabelerCfg()) as labeler:
        assert labeler.wait_idle(SOON_S)
    assert label_of(store, good)[0].phi_valid.all()
    assert labeler.counts.failed == 1


def test_recording_goes_on_while_labels_are_written(store):
    """A label's write must not sweep away what the recorder is just writing."""
    with AsyncLabeler(store, Brightness(), LabelerCfg(keyframe_every_s=0.0)) as labeler:
        for version in range(4):
            labeler.submit(store.append(episode(steps=2)))
            labeler.update_model(Brightness(version=version))
        assert labeler.wait_idle(SOON_S)
    assert len(store) == 4
    assert all(label_of(store, name)[1]["version"] == 3 for name in store.ids())


def test_closing_a_model_that_never_answers_says_so(store):
    store.append(episode())
    model = Brightness()
    model.go_on.clear()
    labeler = AsyncLabeler(store, model, LabelerCfg()).start()
    assert model.is_asked.wait(SOON_S)
    with pytest.raises(RobotRLError, match=r"did not answer within 0\.05 s"):
        labeler.close(0.05)
    model.go_on.set()
    labeler.close()
    assert not labeler.is_alive


def test_a_killed_labeler_leaves_whole_labels_and_the_next_goes_on(tmp_path):
    path = tmp_path / "store"
    with EpisodeStore.create(path, META) as store:
        names = [store.append(episode(steps=4)) for _ in range(10)]
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_labeler import *\n"
        f"with EpisodeStore.open({str(path)!r}, mode='a') as store:\n"
        "    with AsyncLabeler(store, Brightness(), LabelerCfg(), on_label=lambda n, _: "
        "print(n, flush=True)) as labeler:\n"
        "        labeler.wait_idle(60)\n"
        "        print('done', flush=True)\n"
        "        labeler.wait_idle(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    assert "done\n" not in lines
    with EpisodeStore.open(path, mode="a") as store:
        for name in (path / "annotations" / "progress").iterdir():
            assert label_of(store, name.name)[0].phi_valid.all()
        with AsyncLabeler(store, Brightness(), LabelerCfg()) as labeler:
            assert labeler.wait_idle(SOON_S)
        assert all(label_of(store, name)[0].phi_valid.all() for name in names)
        assert 0 < labeler.counts.labelled <= 7
        assert len(store) == 10


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keyframe_every_s", -1.0, r"keyframe_every_s is -1.0, but must be >= 0"),
        ("queue", 0, r"queue is 0, but must be >= 1"),
        ("rescan_s", float("nan"), r"rescan_s is nan, but must be >= 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(field, value, message):
    with pytest.raises(ConfigError, match=message):
        LabelerCfg(**{field: value})
