"""Watching a robot that others drive: what is stored is what was seen and executed."""

from dataclasses import replace

import numpy as np
import pytest

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.franka import franka_like_spec
from robot_rl.control.observe import ObserveCfg
from robot_rl.env.fake_port import FakePort, FakePortCfg, fake_reach_task
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import CONTROL_SOURCES
from robot_rl.replay.verify import verify_episode
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.executed import ExecutedLog
from robot_rl.teleop.quality import EpisodeGate, QualityCfg
from robot_rl.teleop.recording import RecordingDesk
from robot_rl.teleop.session import Session, SessionCfg
from robot_rl.teleop.watching import Watcher
from robot_rl.types import Command

SPEC = franka_like_spec("fake", tracked=("goal",))
TASK = replace(fake_reach_task(SPEC), horizon=200)
LATE_S = 0.07  # by which executed commands arrive


class Bench:
    """A fake robot, a bridge that moves it, and a watcher, in one manual time."""

    def __init__(self, recorder, port=None, task=TASK):
        self.port = port or FakePort(SPEC)
        self.port.connect()
        self.session = Session(SessionCfg(countdown_s=0.0, reset_s=0.0, episodes=3))
        names = SPEC.arms[0].joint_names
        gate = EpisodeGate(
            QualityCfg(), control_hz=task.control_hz, rates_hz={"joints": 100.0}, joint_names=names
        )
        self.desk = RecordingDesk(recorder, self.session, gate)
        self.watcher = Watcher(SPEC, task, ObserveCfg(), self.session, self.desk)
        self.watcher.facts = {"task": "fake", "teleop": "keyboard"}
        self.executed, self.on_its_way = ExecutedLog(), []
        self.period_s = 1 / task.control_hz
        self.decoder = ActionDecoder(SPEC, task)
        self.is_executing, self.source = True, "human"
        self.sent = []

    def scene(self):
        self.seed = self.watcher.next_seed()
        self.port.reset(self.seed)
        state = self.port.read()
        self.command = Command(
            q_rad=state.q_rad, gripper_m=state.gripper_m, stamp_s=self.port.clock.now()
        )

    def run(self, seconds, *events, action=None):
        """Let time pass; the bridge moves by `action` at each step."""
        asked = list(events)
        for _ in range(round(seconds / self.period_s)):
            now_s = self.port.clock.now()
            self.watcher.take(asked, now_s)
            asked = []
            if self.watcher.needs_scene:
                self.scene()
            if action is not None and self.desk.is_recording:
                self.command = self.decoder.decode(action, self.command)
                self.sent.append(action)
            self.port.send(self.command)
            self.on_its_way.append(
                (now_s, self.command.q_rad, self.command.gripper_m, self.source)
            )
            while self.on_its_way and self.on_its_way[0][0] <= now_s - LATE_S:
                entry = self.on_its_way.pop(0)
                if self.is_executing:
                    self.executed.add(*entry)
            self.watcher.tick(now_s, self.port.read, self.executed)
            self.port.clock.sleep_until(now_s + self.period_s)


@pytest.fixture
def recorder(tmp_path):
    meta = StoreMeta(robot="fake", control_hz=TASK.control_hz)
    EpisodeStore.create(tmp_path / "s", meta).close()
    with Recorder(tmp_path / "s") as recorder:
        yield recorder


def stored(recorder):
    recorder.close()
    with EpisodeStore.open(recorder._path) as store:
        assert [verify_episode(store, name) for name in store.ids()] == [[] for _ in store.ids()]
        return list(store)


def test_actions_are_what_led_from_command_to_command(recorder):
    bench = Bench(recorder)
    action = np.zeros(bench.decoder.action_dim, np.float32)
    action[:3] = 0.4, -0.2, 0.1
    bench.run(0.5)
    bench.run(2.0, Event.START, action=action)
    bench.run(0.5, Event.SUCCESS)
    (episode,) = stored(recorder)
    assert episode.success and episode.reward.tolist() == [0.0] * (len(episode) - 1) + [1.0]
    assert episode.attrs["seed"] == 0 and episode.attrs["task"] == "fake"
    np.testing.assert_allclose(
        episode.executed[1:, :3], np.tile(action[:3], (len(episode) - 1, 1)), atol=0.02
    )
    assert {CONTROL_SOURCES[k] for k in episode.control_source} == {"human"}
    np.testing.assert_allclose(np.diff(episode.t_s), bench.period_s, atol=1e-6)


def test_the_goal_and_the_horizon_end_an_episode(recorder):
    done = replace(TASK, achieved=lambda state: True, hold_s=0.5)
    bench = Bench(recorder, task=done)
    bench.run(1.5, Event.START)
    assert (bench.session.successes, bench.session.failures) == (1, 0)
    short = replace(TASK, achieved=lambda state: False, horizon=12)
    other = Bench(recorder, task=short)
    other.run(1.5, Event.START)
    assert (other.session.successes, other.session.failures) == (0, 1)
    first, second = stored(recorder)
    assert first.success and first.terminated and first.attrs["teleop"] == "keyboard"
    assert not second.success and not second.terminated and len(second) == 12


def test_a_policy_and_who_takes_over_are_told_apart(recorder):
    bench = Bench(recorder)
    bench.run(0.5, Event.START)
    bench.source = "policy"
    bench.run(0.5)
    bench.source = "blend"
    bench.run(0.5)
    bench.source = "human"
    bench.run(0.5)
    bench.run(0.5, Event.FAILURE)
    (episode,) = stored(recorder)
    words = [CONTROL_SOURCES[k] for k in episode.control_source]
    assert list(dict.fromkeys(words)) == ["human", "policy", "blend"]
    assert words[-1] == "human"


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda bench: setattr(bench, "is_executing", False), "arm bridge: nothing was executed"),
        (lambda bench: setattr(bench, "source", "home"), "the arm went home"),
    ],
)
def test_a_bridge_that_falls_silent_or_goes_home_aborts(recorder, break_it, reason):
    bench = Bench(recorder)
    bench.run(1.0, Event.START)
    break_it(bench)
    bench.run(1.6)
    assert reason in bench.session.reason and not bench.desk.is_recording
    assert bench.session.trashed == 1
    assert stored(recorder) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [({"freeze_after_s": 1.0}, "joints: 0.2"), ({"nan_after_s": 1.0}, "not finite")],
)
def test_frozen_or_broken_joints_abort_with_the_reason(recorder, fault, reason):
    bench = Bench(recorder, port=FakePort(SPEC, FakePortCfg(**fault)))
    bench.run(1.6, Event.START)
    assert reason in bench.session.reason and bench.session.trashed == 1
    assert stored(recorder) == []


def test_a_bridge_that_dies_at_the_last_moment_spoils_the_success(recorder):
    bench = Bench(recorder)
    bench.run(1.0, Event.START)
    bench.is_executing = False
    bench.run(1.6, Event.SUCCESS)
    assert (bench.session.successes, bench.session.trashed) == (0, 1)
    assert "arm bridge: nothing was executed" in bench.session.reason
    assert stored(recorder) == []


def test_repeating_takes_the_same_start_again(recorder):
    bench = Bench(recorder)
    bench.run(1.0, Event.START)
    assert bench.seed == 0
    bench.run(1.0, Event.RERECORD)
    assert bench.seed == 0
    bench.run(1.0, Event.SUCCESS)
    assert bench.seed == 1
    (episode,) = stored(recorder)
    assert episode.attrs["seed"] == 0
