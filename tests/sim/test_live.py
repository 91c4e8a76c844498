"""A twin that runs on its own: what streams, jumps, silence and resets do to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.control.franka import franka_arm
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from sim.bridge import BRIDGE_PERIOD_S, Bridge
from sim.drive import ENGAGE_RAD, Drive
from sim.live import Episode, LiveTwin, Pacer
from sim.tasks import make_twin

ARM = franka_arm()
HOME = ARM.home_rad
OPEN = np.array([0.08])


def started(timeout_s=0.1):
    drive = Drive((ARM,), timeout_s=timeout_s)
    drive.start(HOME, OPEN)
    return drive


def bridge_stream(targets, ticks=20):
    """What an arm bridge would send towards each target, one row a tick."""
    bridge = Bridge((ARM,))
    bridge.start(HOME, OPEN)
    rows = []
    for target in targets:
        bridge.aim(bridge.clip(HOME + target, OPEN)[0], OPEN)
        rows += [bridge.step()[0].copy() for _ in range(ticks)]
    return np.array(rows)


@given(st.lists(st.lists(st.floats(-0.6, 0.6), min_size=7, max_size=7), min_size=1, max_size=5))
def test_a_stream_within_the_limits_is_followed_without_lag(targets):
    drive = started()
    for row in bridge_stream(np.array(targets)):
        assert drive.aim(row)
        np.testing.assert_allclose(drive.step()[0], row, atol=1e-9)


@given(
    st.lists(st.lists(st.floats(-4, 4), min_size=7, max_size=7), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=80, max_size=80),
)
def test_no_joint_leaves_its_range_or_exceeds_its_speed_whatever_is_asked(targets, comes):
    drive = started()
    drive.aim(HOME)
    rows = [drive.step()[0]]
    for i, is_there in enumerate(comes):
        if is_there:
            drive.aim(HOME + np.array(targets[i % len(targets)]))
        rows.append(drive.step()[0])
    q = np.array(rows)
    dq = np.diff(q, axis=0) / BRIDGE_PERIOD_S
    assert (q >= ARM.joint_lower_rad - 1e-9).all() and (q <= ARM.joint_upper_rad + 1e-9).all()
    assert (np.abs(dq) <= ARM.joint_velocity_limit_rad_s + 1e-6).all()


def test_a_far_target_is_gone_to_within_the_limits_of_acceleration():
    drive = started()
    drive.aim(HOME)
    target = HOME + np.linspace(-0.8, 0.8, 7)
    rows = [HOME, HOME]
    for _ in range(150):
        drive.aim(target)
        rows.append(drive.step()[0])
    ddq = np.diff(rows, n=2, axis=0) / BRIDGE_PERIOD_S**2
    far = np.abs(np.array(rows[2:]) - target).max(1) > 0.02  # nearer, it is a stream
    assert (np.abs(ddq) <= ARM.joint_acceleration_limit_rad_s2 + 1e-4)[far].all()
    np.testing.assert_allclose(rows[-1], target, atol=1e-9)


def test_a_stream_whose_ticks_come_late_or_in_pairs_is_followed_as_late_as_they_come():
    rows = bridge_stream([np.full(7, 0.5), np.full(7, -0.3)], ticks=40)
    rng = np.random.default_rng(0)
    drive, newest, worst = started(), -1, 0.0
    drive.aim(HOME)
    drive.step()
    for now in range(len(rows)):
        arrived = max(newest, now - int(rng.integers(0, 3)))  # 0 to 20 ms late
        if arrived > newest:
            newest = arrived
            drive.aim(rows[newest])
        worst = max(worst, np.abs(drive.step()[0] - rows[now]).max())
    assert worst < 4 * BRIDGE_PERIOD_S * ARM.joint_velocity_limit_rad_s.max()


def test_a_stream_that_ends_is_braked_within_the_limits_and_held():
    rows = bridge_stream([np.full(7, 0.5)], ticks=80)
    drive = started(timeout_s=0.1)
    for row in rows[:15]:
        drive.aim(row)
        q = drive.step()[0]
    speed = np.abs(rows[14] - rows[13]) / BRIDGE_PERIOD_S
    assert speed.max() > 0.5
    after = np.array([drive.step()[0] for _ in range(60)])
    assert drive.is_holding
    braking = speed**2 / (2 * ARM.joint_acceleration_limit_rad_s2)
    assert (np.abs(after - q).max(0) <= braking + 0.01).all()
    assert np.abs(np.diff(after[-10:], axis=0)).max() == 0.0


def test_a_far_target_named_once_is_given_up_when_the_stream_has_ended():
    drive = started(timeout_s=0.2)
    drive.aim(HOME)
    drive.step()
    drive.aim(HOME + 2.0)
    rows = np.array([drive.step()[0] for _ in range(200)])
    assert np.abs(rows[-1] - HOME).max() < 1.0
    assert (rows[-1] == rows[-50]).all()


def test_commands_count_from_the_first_near_the_start_on():
    drive = started()
    far = HOME + np.eye(7)[2] * (ENGAGE_RAD + 0.01)
    assert not drive.aim(far) and not drive.grip(np.zeros(1))
    q, width = drive.step()
    assert (q == HOME).all() and (width == OPEN).all() and drive.is_holding and drive.is_untouched
    assert drive.aim(HOME) and drive.is_untouched
    assert drive.aim(far) and drive.grip(np.zeros(1))
    assert not drive.is_holding
    _, width = drive.step()
    assert width[0] == pytest.approx(0.08 - 0.001) and not drive.is_untouched


def test_a_timeout_shorter_than_a_tick_is_refused():
    with pytest.raises(ConfigError, match=r"timeout_s is 0.001, but must be at least 0.01"):
        Drive((ARM,), timeout_s=0.001)


class Time:
    def __init__(self):
        self.now_s, self.slept = 0.0, []

    def __call__(self):
        return self.now_s

    def sleep(self, duration_s):
        self.slept.append(duration_s)
        self.now_s += duration_s


def live(name="reach", **more):
    time = Time()
    return LiveTwin(make_twin(name), command_timeout_s=0.1, now_s=time, **more), time


def test_an_episode_begins_exactly_at_its_start_and_only_when_motion_is_asked_for():
    twin, time = live("push")
    twin.reset(3)
    start = make_twin("push").draw(np.random.default_rng(3))
    for _ in range(50):
        twin.command(start.q_rad)  # an arm bridge that holds
        state = twin.tick()
        time.now_s += BRIDGE_PERIOD_S
    assert twin.episode == Episode(3, 1)
    np.testing.assert_array_equal(state.q_rad, start.q_rad)
    for name, pose in start.poses.items():
        np.testing.assert_array_equal(state.poses[name], pose)
    twin.command(start.q_rad + 0.02)
    for _ in range(50):
        state = twin.tick()
    assert np.abs(state.q_rad - start.q_rad).max() > 0.005
    assert state.stamp_s == time.now_s


def test_a_reset_forgets_commands_and_ignores_those_of_before():
    twin, _ = live()
    twin.command(twin.tick().q_rad + 0.04)
    twin.reset(1)
    start = twin.tick().q_rad
    twin.command(start + 1.0)
    np.testing.assert_array_equal(twin.tick().q_rad, start)
    assert twin.ignored == 1


def test_a_command_acts_after_its_delay():
    twin, time = live(delay_s=0.05)
    start = twin.tick().q_rad
    twin.command(start + 0.04)
    twin.grip(np.array([0.04]))
    for _ in range(4):
        time.now_s += BRIDGE_PERIOD_S
        np.testing.assert_array_equal(twin.tick().q_rad, start)
    time.now_s += 2 * BRIDGE_PERIOD_S
    twin.tick()
    assert not twin.drive.is_untouched


def test_commands_that_are_not_finite_or_of_another_robot_are_refused():
    twin, _ = live()
    with pytest.raises(NonFiniteError, match="joint command is not finite"):
        twin.command(np.full(7, np.nan))
    with pytest.raises(ShapeError, match=r"joint command has shape \(6,\), but must have shape"):
        twin.command(np.zeros(6))
    with pytest.raises(ShapeError, match=r"gripper command has shape \(2,\)"):
        twin.grip(np.zeros(2))
    with pytest.raises(ConfigError, match=r"delay_s is -1"):
        live(delay_s=-1)
    assert twin.tick() is not None and twin.drive.is_untouched


def test_missed_ticks_slip_and_are_not_made_up_for():
    time = Time()
    pacer = Pacer(0.01, max_behind_s=0.05, now_s=time, sleep=time.sleep)
    for _ in range(5):
        pacer.wait()
    assert time.now_s == pytest.approx(0.05) and pacer.slip_s == 0.0
    time.now_s += 0.03  # a small delay is made up for
    pacer.wait()
    pacer.wait()
    pacer.wait()
    pacer.wait()
    assert time.now_s == pytest.approx(0.09) and pacer.slip_s == 0.0
    time.now_s += 1.0
    pacer.wait()
    assert pacer.slip_s == pytest.approx(0.99)
    pacer.wait()
    assert time.now_s == pytest.approx(1.10)
