import threading
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.clock import ManualClock
from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.env.clauses import CLAUSES
from robot_rl.env.conformance import ConformanceError, check_port
from robot_rl.env.fake_port import FakePort, FakePortCfg
from robot_rl.errors import PortError
from robot_rl.types import CameraSpec, Command, RobotSpec

CAMERA = CameraSpec(name="wrist", width_px=40, height_px=36, rate_hz=30.0)
FULL = RobotSpec(
    name="two",
    arms=(franka_arm("left"), replace(franka_arm("right"), gripper=None)),
    cameras=(CAMERA,),
    tracked=("cube", "goal"),
    signals={"drawer": 1},
)


@pytest.mark.parametrize("spec", [None, franka_like_spec(), FULL], ids=["fake", "bare", "full"])
def test_the_fake_port_conforms(spec):
    check_port(lambda: FakePort(spec))


class OtherSpecAfterConnect(FakePort):
    def connect(self):
        super().connect()
        self._spec = franka_like_spec("renamed", tracked=("goal",))


class ConnectsInConstructor(FakePort):
    def __init__(self):
        super().__init__()
        self._is_connected = True


class SpeaksInConstructor(FakePort):
    def __init__(self):
        super().__init__()
        self._end = threading.Event()
        thread = threading.Thread(target=self._end.wait, name="driver", daemon=True)
        thread.start()
        BACKGROUND.append((self._end, thread))


class LeavesAThread(FakePort):
    def connect(self):
        super().connect()
        end = threading.Event()
        thread = threading.Thread(target=end.wait, name="poller")
        thread.start()
        BACKGROUND.append((end, thread))


class RefusesSecondConnect(FakePort):
    def connect(self):
        if self._is_connected:
            raise PortError("already connected")
        super().connect()


class ConnectMoves(FakePort):
    def connect(self):
        super().connect()
        self._draw(seed=np.random.default_rng().integers(1000))


class NamesNoPose(FakePort):
    def read(self):
        return replace(super().read(), poses={})


class ShortVelocities(FakePort):
    def read(self):
        return replace(super().read(), dq_rad_s=np.zeros(6))


class BackwardClock(ManualClock):
    def sleep_until(self, time_s):
        self._now_s = time_s


class TurnsTheClockBack(FakePort):
    def __init__(self):
        super().__init__()
        self._clock = BackwardClock()


class StampsAhead(FakePort):
    def read(self):
        state = super().read()
        return replace(state, stamp_s=state.stamp_s + 1.0)


class EditsItsArgument(FakePort):
    def send(self, command):
        np.add(command.q_rad, 1e-3, out=command.q_rad)
        return super().send(command)


class EchoesWhatItDidNotSend(FakePort):
    def send(self, command):
        super().send(command)
        return command


class IgnoresSend(FakePort):
    def send(self, command):
        sent = super().send(command)
        self._q_target = self._q
        return sent


class IgnoresStop(FakePort):
    def stop(self):
        self._move()


class SwallowsNaN(FakePort):
    def send(self, command):
        if np.isnan(command.q_rad).any():
            return command
        return super().send(command)


class SwallowsShortCommands(FakePort):
    def send(self, command):
        if command.q_rad.shape != self._q.shape:
            return command
        return super().send(command)


class TellsNothing(FakePort):
    def send(self, command):
        if command.q_rad.shape != self._q.shape:
            raise ValueError("operands could not be broadcast")
        return super().send(command)


class Crashes(FakePort):
    def read(self):
        self._require_connection()
        raise KeyError("joint_states")


class ForgetsTheSeed(FakePort):
    def reset(self, seed):
        super().reset(int(np.random.default_rng().integers(10**6)))


class KnowsOneScene(FakePort):
    def reset(self, seed):
        super().reset(0)


BACKGROUND: list = []


@pytest.fixture(autouse=True)
def end_background_threads():
    yield
    while BACKGROUND:
        end, thread = BACKGROUND.pop()
        end.set()
        thread.join()


@pytest.mark.parametrize(
    ("port", "clause", "found"),
    [
        (SpeaksInConstructor, "a constructor does no I/O", "it opened ['thread driver']"),
        (OtherSpecAfterConnect, "the spec is known before connect, and stays", "spec.name is"),
        (ConnectsInConstructor, "an unconnected port refuses", "read() before connect()"),
        (ConnectMoves, "connecting and closing twice is harmless", "a second connect() moved"),
        (RefusesSecondConnect, "connecting and closing twice is harmless", "already connected"),
        (LeavesAThread, "closing ends what connecting began", "threads ['poller'] live on"),
        (NamesNoPose, "a state is what the spec says", "state.poses are [], but spec names ['goa"),
        (ShortVelocities, "a state is what the spec says", "state.dq_rad_s has shape (6,)"),
        (TurnsTheClockBack, "the clock only goes on", "turned the clock back"),
        (StampsAhead, "stamps go on and never lie ahead", "lies ahead of the clock"),
        (EditsItsArgument, "send returns what was sent, within limits", "edited its argument"),
        (EchoesWhatItDidNotSend, "send returns what was sent, within limits", "beyond the joint"),
        (IgnoresSend, "send moves the arm", "1.0 s after send() the joints are still 0.050 rad"),
        (IgnoresStop, "stop holds until the next send", "stop() let the arm go on to its target"),
        (SwallowsNaN, "bad commands are refused and move nothing", "raised no NonFiniteError"),
        (SwallowsShortCommands, "bad commands are refused and move nothing", "no ShapeError"),
        (TellsNothing, "bad commands are refused and move nothing", "no ShapeError"),
        (Crashes, "connecting and closing twice is harmless", "it raised KeyError"),
        (ForgetsTheSeed, "equal seeds give equal episodes", "reset(3) twice gave different q_rad"),
        (KnowsOneScene, "equal seeds give equal episodes", "drew the same scene"),
    ],
)
def test_a_broken_port_is_told_which_clause_it_breaks(port, clause, found):
    with pytest.raises(ConformanceError) as caught:
        check_port(port)
    assert caught.value.clause == clause
    assert str(caught.value).startswith(f"port breaks the clause '{clause}': ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("faults", "clause"),
    [
        (FakePortCfg(freeze_after_s=0.05), "stamps go on and never lie ahead"),
        (FakePortCfg(nan_after_s=0.0), "a state is what the spec says"),
    ],
)
def test_the_fake_ports_faults_are_seen(faults, clause):
    with pytest.raises(ConformanceError, match=clause):
        check_port(lambda: FakePort(cfg=faults))


def test_a_port_of_unrepeatable_scenes_conforms_if_it_claims_no_more():
    check_port(ForgetsTheSeed, resets_repeat=False)


def test_something_that_is_no_port_is_told_so():
    class Half:
        spec = franka_like_spec()

        def close(self):
            pass

    with pytest.raises(ConformanceError, match="Half lacks a member of RobotPort"):
        check_port(Half)


def test_every_clause_is_broken_by_some_port_above():
    """A clause that no broken port fails would be a test that cannot fail."""
    marks = test_a_broken_port_is_told_which_clause_it_breaks.pytestmark
    broken = {row[1] for mark in marks for row in mark.args[1]}
    assert set(CLAUSES) <= broken


def test_a_refusing_port_is_a_port_error_not_a_number():
    port = FakePort(cfg=FakePortCfg(refuse_after_s=1.0))
    port.connect()
    port.clock.sleep_until(1.0)
    with pytest.raises(PortError, match="robot 'fake' refuses"):
        port.read()
    with pytest.raises(PortError, match="refuses"):
        port.send(Command(q_rad=np.zeros(7), gripper_m=np.zeros(1), stamp_s=0.0))
