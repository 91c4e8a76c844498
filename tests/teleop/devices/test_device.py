"""A sample is checked once; scripts and combinations are devices like any other."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.policy.callable import CallablePolicy
from robot_rl.teleop.devices.combined import WithKeys
from robot_rl.teleop.devices.device import STALE_S, Event, Sample
from robot_rl.teleop.devices.scripted import Scripted, policy_script


def test_what_no_hand_can_mean_is_refused():
    with pytest.raises(ShapeError, match="device: twist"):
        Sample(stamp_s=0.0, twist=np.zeros(3))
    with pytest.raises(NonFiniteError, match="device: twist is not finite"):
        Sample(stamp_s=0.0, twist=np.array([0, 0, np.nan, 0, 0, 0]))
    with pytest.raises(NonFiniteError, match="device: joints_rad"):
        Sample(stamp_s=0.0, joints_rad=np.array([np.inf]))
    with pytest.raises(ConfigError, match="within ±1"):
        Sample(stamp_s=0.0, twist=np.full(6, 1.5))
    with pytest.raises(ConfigError, match="gripper is 2"):
        Sample(stamp_s=0.0, gripper=2.0)


def test_a_stale_clutch_is_released():
    held = Sample(stamp_s=5.0, active=True)
    assert held.is_held(5.0 + 0.9 * STALE_S) and not held.is_held(5.0 + 1.1 * STALE_S)
    assert not Sample(stamp_s=5.0).is_held(5.0)


def test_a_script_acts_when_it_can():
    answers = [None, np.array([0.5, -0.5])]
    device = Scripted(lambda: answers.pop(0), clock=lambda: 1.0)
    assert not device.read().active and "waits" in (device.read().note or "waits")


def test_a_policy_is_a_script_that_plays_its_chunks():
    plans = iter([np.array([[0.1], [0.2]]), np.array([[0.3], [0.4]])])
    policy = CallablePolicy(lambda obs: next(plans), chunk=2)
    seen = [None, np.zeros(3), np.zeros(3), np.zeros(3)]
    device = Scripted(policy_script(policy, lambda: seen.pop(0)))
    assert device.read().action is None
    actions = [device.read().action for _ in range(3)]
    assert [round(float(a[0]), 1) for a in actions if a is not None] == [0.1, 0.2, 0.3]


class Hand:
    name = "hand"

    def __init__(self, **sample):
        self.sample, self.calls = sample, []

    def open(self):
        self.calls.append("open")

    def read(self):
        return Sample(stamp_s=0.0, **self.sample)

    def close(self):
        self.calls.append("close")


def test_one_hand_moves_and_the_keyboard_tells_what_became_of_it():
    twist = np.array([0.0, 0.5, 0, 0, 0, 0])
    hand = Hand(twist=twist, active=True, events=(Event.START,))
    keys = Hand(twist=np.ones(6), toggles_gripper=True, events=(Event.SUCCESS,))
    both = WithKeys(hand, keys)
    both.open()
    sample = both.read()
    both.close()
    assert both.name == "hand" and hand.calls == keys.calls == ["open", "close"]
    assert sample.twist is twist and sample.active and not sample.toggles_gripper
    assert sample.events == (Event.START, Event.SUCCESS)
