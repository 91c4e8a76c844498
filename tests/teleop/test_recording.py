"""The desk against the real store and recorder: what the session decides is on disk."""

import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import CONTROL_SOURCES
from robot_rl.replay.verify import verify_episode
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.quality import EpisodeGate, QualityCfg
from robot_rl.teleop.recording import RecordingDesk
from robot_rl.teleop.session import Session, SessionCfg, State
from robot_rl.types import Image, RobotState

HZ = 10.0


class Bench:
    """A session, a gate and a desk on a real store, with a robot that is a few numbers."""

    def __init__(self, recorder):
        self.session = Session(SessionCfg(episodes=2, countdown_s=0.0, reset_s=1e6))
        rates = {"joints": HZ, "wrist": HZ}
        gate = EpisodeGate(QualityCfg(), control_hz=HZ, rates_hz=rates, joint_names=("a", "b"))
        self.desk, self.recorder = RecordingDesk(recorder, self.session, gate), recorder
        self.now_s = 0.0

    def press(self, *events):
        for event in events:
            self.desk.carry_out(self.session.on(event, self.now_s), {"task": "bench", "seed": 4})
        for _ in range(3):  # reset → idle → countdown → recording
            self.desk.carry_out(self.session.tick(self.now_s), {"task": "bench", "seed": 4})

    def record(self, steps=8, frozen_at=None):
        """One episode up to before the verdict; returns why it was spoiled."""
        self.press(Event.START)
        assert self.session.state is State.RECORDING
        for k in range(steps + 1):
            self.now_s += 1 / HZ
            stamp_s = self.now_s if frozen_at is None or k < frozen_at else 0.1
            rgb = np.full((8, 8, 3), k, np.uint8)
            state = RobotState(
                stamp_s=self.now_s,
                q_rad=np.array([0.1 * k, 0.2]),
                dq_rad_s=np.zeros(2),
                gripper_m=np.array([0.01]),
                images={"wrist": Image(rgb=rgb, stamp_s=stamp_s, frame_number=k + 1)},
            )
            obs = {"state": state.q_rad.astype(np.float32), "wrist": rgb}
            if reason := self.desk.observe(obs, state, t_s=self.now_s, now_s=self.now_s):
                self.desk.carry_out(self.session.abort(reason, self.now_s), {})
                return reason
            if k < steps:
                action = np.array([0.1 * k], np.float32)
                self.desk.step(action, 2 * action, source="human")
        return ""


@pytest.fixture
def store_path(tmp_path):
    camera = CameraMeta(name="wrist", width_px=8, height_px=8, codec="png")
    meta = StoreMeta(robot="bench", control_hz=HZ, cameras=(camera,))
    EpisodeStore.create(tmp_path / "bench.zarr", meta).close()
    return tmp_path / "bench.zarr"


def test_a_sitting_ends_in_the_store_as_it_was_decided(store_path):
    with Recorder(store_path) as recorder:
        bench = Bench(recorder)
        bench.record()
        bench.press(Event.SUCCESS)
        bench.record()
        bench.press(Event.DISCARD)  # ep 1 to the trash
        bench.record()
        bench.press(Event.FAILURE, Event.UNDO, Event.UNDO)  # ep 2 there and back
        bench.record(steps=2)
        bench.press(Event.SUCCESS)  # ep 3 is refused
        assert "episode: 2 steps, but must be at least 5" in bench.session.reason
        bench.record(steps=1)
        bench.press(Event.RERECORD)  # ep 4 to the trash, ep 5 begins
        bench.session.on(Event.START, 0.0)
        assert "wrist: " in bench.record(frozen_at=4)
        bench.desk.check()
    with EpisodeStore.open(store_path) as store:
        outcomes = {info.id: (info.outcome, info.label_source) for info in store.infos()}
        assert outcomes == {
            "ep_000000": ("success", "human"),
            "ep_000002": ("failure", "human"),
        }
        assert [verify_episode(store, name) for name in store.ids()] == [[], []]
        episode = store.read("ep_000000")
        assert episode.attrs["task"] == "bench" and episode.attrs["streams"] == ["joints", "wrist"]
        assert len(episode) == 8 and (episode.obs["wrist"][:, 0, 0, 0] == np.arange(9)).all()
        np.testing.assert_allclose(episode.requested, 2 * episode.executed)
        assert (episode.control_source == CONTROL_SOURCES.index("human")).all()
    trashed = sorted(path.name[7:] for path in (store_path / "trash").iterdir())
    assert trashed == ["ep_000001", "ep_000003", "ep_000004", "ep_000005"]


def test_undo_brings_a_refused_episode_back_with_its_verdict(store_path):
    with Recorder(store_path) as recorder:
        bench = Bench(recorder)
        bench.record(steps=3)
        bench.press(Event.SUCCESS)
        assert bench.session.successes == 0
        bench.press(Event.UNDO)
        assert bench.session.successes == 1
    with EpisodeStore.open(store_path) as store:
        assert [info.outcome for info in store.infos()] == ["success"]


def test_an_episode_without_a_step_leaves_nothing(store_path):
    with Recorder(store_path) as recorder:
        bench = Bench(recorder)
        bench.record(steps=0)
        bench.press(Event.SUCCESS)
        assert (bench.session.successes, bench.session.trashed) == (0, 0)
        bench.press(Event.UNDO)
        assert bench.session.reason == "nothing to undo"
    assert not list((store_path / "trash").iterdir()) and not EpisodeStore.open(store_path).ids()


def test_out_of_turn_is_an_error(store_path):
    with Recorder(store_path) as recorder:
        bench = Bench(recorder)
        with pytest.raises(DataError, match="no episode is open"):
            bench.desk.step(np.zeros(1), np.zeros(1), source="human")
