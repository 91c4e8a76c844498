"""Hands become actions without a jump, on any robot and in either kind of action."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.franka import franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.env.fake_port import fake_reach_task
from robot_rl.errors import ConfigError, ShapeError
from robot_rl.teleop.devices.device import Sample
from robot_rl.teleop.mapping import MappingCfg, Takeover, TeleopMapper
from robot_rl.types import Command

SPEC = franka_like_spec("fake", tracked=("goal",))
ARM = SPEC.arms[0]
TASK = replace(fake_reach_task(SPEC), use_rotation=True, use_gripper=True)
TASKS = {mode: replace(TASK, action_mode=mode) for mode in ("ee_delta", "joint_delta")}
shares = st.tuples(*[st.floats(-1, 1)] * 6).map(np.array)
steps = st.lists(st.one_of(shares, st.none()), min_size=1, max_size=20)


def home(gripper_m=0.03):
    return Command(q_rad=ARM.home_rad, gripper_m=np.array([gripper_m]), stamp_s=0.0)


def sample(**fields):
    return Sample(stamp_s=0.0, active=True, **fields)


def mapper_of(mode="ee_delta", **cfg):
    mapper = TeleopMapper(SPEC, TASKS[mode], MappingCfg(**cfg))
    mapper.reset(home())
    return mapper, ActionDecoder(SPEC, TASKS[mode])


@pytest.mark.parametrize("mode", TASKS)
@given(twist=shares)
@settings(max_examples=15, deadline=None)
def test_a_twist_moves_the_tool_the_same_way_in_either_kind_of_action(mode, twist):
    mapper, decoder = mapper_of(mode, speed=0.2)
    after = decoder.decode(mapper.action(sample(twist=twist), home()), home())
    moved = forward(ARM, after.q_rad)[:3, 3] - forward(ARM, ARM.home_rad)[:3, 3]
    np.testing.assert_allclose(moved, 0.2 * TASK.translation_step_m * twist[:3], atol=2e-4)


@pytest.mark.parametrize("mode", TASKS)
def test_holding_moves_nothing_and_keeps_the_gripper(mode):
    mapper, decoder = mapper_of(mode)
    after = decoder.decode(mapper.hold(), home())
    np.testing.assert_allclose(after.q_rad, ARM.home_rad, atol=1e-5)
    np.testing.assert_allclose(after.gripper_m, [0.03], atol=1e-6)


@pytest.mark.parametrize("mode", TASKS)
def test_a_leader_is_followed_at_a_bounded_speed_until_it_is_reached(mode):
    mapper, decoder = mapper_of(mode, follow_rad_s=0.4)
    command, goal = home(), ARM.home_rad + np.array([0.1, -0.05, 0, 0.03, 0, 0.08, 0])
    longest = 0.4 / TASK.control_hz if mode == "joint_delta" else 0.15  # of one full action
    for _ in range(60):
        action = mapper.action(sample(joints_rad=goal), command)
        after = decoder.decode(action, command)
        assert np.abs(after.q_rad - command.q_rad).max() <= longest + 1e-6
        command = after
    tool, wished = forward(ARM, command.q_rad), forward(ARM, goal)
    np.testing.assert_allclose(tool, wished, atol=2e-3)


def test_the_gripper_changes_over_and_stays():
    mapper, decoder = mapper_of()
    widest = ARM.gripper.max_width_m  # pyright: ignore

    def width(**fields):
        return float(decoder.decode(mapper.action(sample(**fields), home()), home()).gripper_m[0])

    start = width()
    assert start == pytest.approx(0.03, abs=1e-6)
    assert width(toggles_gripper=True) == widest
    first = width()
    assert width(toggles_gripper=True) == widest - first
    assert width(gripper=0.25) == pytest.approx(0.25 * widest) == width()


def test_a_script_acts_in_the_units_of_the_task_and_a_wrong_one_is_refused():
    mapper, decoder = mapper_of()
    wished = np.full(decoder.action_dim, 2.0, np.float32)
    assert (mapper.action(sample(action=wished), home()) == 1.0).all()
    with pytest.raises(ShapeError, match="device: action"):
        mapper.action(sample(action=np.zeros(3, np.float32)), home())
    with pytest.raises(ShapeError, match="device: joints"):
        mapper.action(sample(joints_rad=np.zeros(6)), home())
    with pytest.raises(ShapeError, match="device: arm"):
        mapper.action(sample(arm=1), home())


@given(steps)
def test_taking_over_never_jumps_and_names_who_drives(hands):
    """From one step to the next, no number moves further than the ramp and its ends allow."""
    width = np.array([False] * 6 + [True])
    takeover = Takeover(MappingCfg(blend_s=0.5), period_s=0.05, is_width=width)
    policy, hold = np.full(7, -1.0, np.float32), np.zeros(7, np.float32)
    share = 0.0
    for twist in hands:
        hand = None if twist is None else np.append(twist, 1.0).astype(np.float32)
        action, source = takeover.blend(policy, hand, hold)
        assert abs(takeover.share - share) <= 0.1 + 1e-9
        share = takeover.share
        end = hold if hand is None else hand
        mixed = (1 - share) * policy[:6] + share * end[:6]
        np.testing.assert_allclose(action[:6], mixed, atol=1e-6)
        assert action[6] in (policy[6], end[6]), "a gripper is never told a mixture"
        assert source == ("policy" if share == 0 else "human" if share == 1 else "blend")


def test_a_ramp_ends_after_its_time_in_either_direction():
    takeover = Takeover(MappingCfg(blend_s=0.2), period_s=0.05, is_width=np.zeros(1, bool))
    policy, hand = np.ones(1, np.float32), -np.ones(1, np.float32)
    there = [takeover.blend(policy, hand, hand)[1] for _ in range(5)]
    back = [takeover.blend(policy, None, 0 * hand)[1] for _ in range(5)]
    assert there == ["blend"] * 3 + ["human"] * 2 and back == ["blend"] * 3 + ["policy"] * 2


def test_speeds_that_would_jump_are_refused():
    with pytest.raises(ConfigError, match="speed is 0"):
        MappingCfg(speed=0.0)
    with pytest.raises(ConfigError, match="nothing may jump"):
        MappingCfg(blend_s=0.0)
