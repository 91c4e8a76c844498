"""A leader arm takes over only where the robot stands, and lets go when it falls silent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.teleop.devices.device import STALE_S
from robot_rl.teleop.devices.leader import LeaderArm, LeaderCfg

NAMES = ("base", "elbow", "wrist")
angles = st.tuples(*[st.floats(-3, 3)] * 3)
signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)


class Bench:
    """A leader and a robot that stand where they are put."""

    def __init__(self, **cfg):
        zero = (0.0, 0.0, 0.0)
        self.cfg = LeaderCfg(joint_names=NAMES, **({"offset_rad": zero, "sign": (1, 1, 1)} | cfg))
        self.now_s, self.heard_s = 10.0, 10.0
        self.leader, self.robot = np.zeros(3 + self.cfg.has_trigger), np.zeros(3)
        self.arm = LeaderArm(
            self.cfg,
            lambda: (self.heard_s, self.leader),
            lambda: self.robot,
            clock=lambda: self.now_s,
        )


@given(angles, signs, angles)
def test_the_robots_joints_are_the_leaders_through_sign_and_offset(offset, sign, wished):
    bench = Bench(offset_rad=offset, sign=sign)
    bench.robot = np.array(wished)
    bench.leader = np.array(sign) * (np.array(wished) - np.array(offset))
    sample = bench.arm.read()
    np.testing.assert_allclose(sample.joints_rad, wished, atol=1e-9)
    assert sample.active and not sample.note


def test_a_misaligned_leader_is_told_which_joint_to_turn():
    bench = Bench(align_rad=0.2)
    bench.robot = np.array([0.0, 0.9, -0.1])
    sample = bench.arm.read()
    assert not sample.active
    assert sample.note == "leader is not aligned: turn elbow by +0.90 rad (within 0.2 rad)"
    bench.leader = np.array([0.0, 0.8, 0.0])
    assert bench.arm.read().active


def test_once_aligned_it_stays_in_charge_until_released_or_silent():
    bench = Bench()
    assert bench.arm.read().active
    bench.leader = np.array([1.0, 0.0, 0.0])
    assert bench.arm.read().active, "the robot lags behind, which is no misalignment"
    bench.arm.release()
    assert not bench.arm.read().active
    bench.robot = bench.leader
    assert bench.arm.read().active
    bench.now_s += 2 * STALE_S
    silent = bench.arm.read()
    assert not silent.active and "no position for 0.2 s" in silent.note
    bench.heard_s, bench.robot = bench.now_s, np.zeros(3)
    assert not bench.arm.read().active, "after silence it has to be aligned anew"


def test_the_trigger_closes_the_gripper():
    bench = Bench(has_trigger=True, trigger_open_rad=0.5, trigger_closed_rad=-0.5)
    for trigger, opening in [(0.5, 1.0), (0.0, 0.5), (-0.5, 0.0), (-2.0, 0.0), (3.0, 1.0)]:
        bench.leader[-1] = trigger
        assert bench.arm.read().gripper == pytest.approx(opening)


def test_nothing_is_asked_for_before_both_have_reported():
    cfg = LeaderCfg(joint_names=NAMES, offset_rad=(0, 0, 0), sign=(1, 1, 1))
    assert LeaderArm(cfg, lambda: None, lambda: None).read().note.endswith("of the leader yet")
    heard = LeaderArm(cfg, lambda: (0.0, np.zeros(3)), lambda: None).read()
    assert heard.note.endswith("of the robot yet") and not heard.active


def test_wrong_tables_are_refused():
    with pytest.raises(ShapeError, match="leader: offset_rad"):
        LeaderCfg(joint_names=NAMES, offset_rad=(0.0,), sign=(1, 1, 1))
    with pytest.raises(ConfigError, match="must hold 1 and -1 only"):
        LeaderCfg(joint_names=NAMES, offset_rad=(0, 0, 0), sign=(1, 2, 1))
    bench = Bench()
    bench.leader = np.zeros(5)
    with pytest.raises(ShapeError, match="leader: positions"):
        bench.arm.read()
