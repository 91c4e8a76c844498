"""Executed commands become actions of the right size, whatever rhythm they come in."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.control.franka import franka_like_spec
from robot_rl.env.fake_port import fake_reach_task
from robot_rl.teleop.executed import ExecutedLog, GoalHold
from robot_rl.types import RobotState


@given(st.floats(15.0, 200.0), st.floats(0.0, 0.05), st.floats(2.0, 50.0))
def test_a_steady_motion_gives_equal_actions_at_any_rate_of_commands(bridge_hz, phase_s, step_hz):
    log, speed = ExecutedLog(), np.array([0.3, -0.1])
    for k in range(round(2 * bridge_hz)):
        stamp_s = phase_s + k / bridge_hz
        log.add(stamp_s, speed * stamp_s, np.array([0.04]), "human")
    times = np.arange(phase_s + 0.1, log.newest_s, 1 / step_hz)
    commands = [log.at(t) for t in times]
    steps = np.diff([c.command.q_rad for c in commands if c is not None], axis=0)
    np.testing.assert_allclose(steps, np.tile(speed / step_hz, (len(steps), 1)), atol=1e-9)


def test_nothing_is_known_of_what_comes_later_and_the_first_stands_for_what_was_before():
    log = ExecutedLog()
    assert log.at(0.0) is None
    log.add(1.0, np.zeros(1), np.zeros(0), "hold")
    log.add(2.0, np.ones(1), np.zeros(0), "human")
    log.add(2.0, np.full(1, 9.0), np.zeros(0), "human")  # the stamp stands still
    assert log.at(2.1) is None
    found = [log.at(t) for t in (0.5, 1.0, 1.5, 2.0)]
    assert [float(f.command.q_rad[0]) for f in found if f] == [0.0, 0.0, 0.5, 1.0]
    assert [f.source for f in found if f] == ["hold", "hold", "human", "human"]


def test_old_commands_are_forgotten():
    log = ExecutedLog()
    for k in range(3000):
        log.add(k / 100, np.zeros(1), np.zeros(0), "hold")
    assert len(log._entries) <= 1002


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_goal_counts_once_it_has_held_without_a_break(flags):
    spec = franka_like_spec("fake", tracked=("goal",))
    now = {"holds": False}
    task = replace(fake_reach_task(spec), achieved=lambda state: now["holds"], hold_s=0.2)
    goal, q = GoalHold(task), np.zeros(7)
    for k, flag in enumerate(flags):
        now["holds"] = flag
        state = RobotState(stamp_s=0.05 * k, q_rad=q, dq_rad_s=q, gripper_m=np.zeros(1))
        held = k >= 4 and all(flags[k - 4 : k + 1])
        assert goal.judge(state) == held
    goal.reset()
    assert not goal.judge(RobotState(stamp_s=99, q_rad=q, dq_rad_s=q, gripper_m=np.zeros(1)))
