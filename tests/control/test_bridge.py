from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.bridge import Bridge
from robot_rl.control.bridge_cfg import BridgeCfg
from robot_rl.control.bridge_inputs import Stamp
from robot_rl.control.franka import franka_arm, franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.errors import ConfigError

SPEC = franka_like_spec()
ARM = SPEC.arms[0]
NAMES = (*ARM.joint_names, "arm_gripper")
PERIOD_S = 0.01
CFG = BridgeCfg(
    rate_hz=100.0,
    command_timeout_s=0.25,
    observation_age_s=0.5,
    state_timeout_s=0.25,
    deadman_timeout_s=0.1,
    tracking_error_rad=0.3,
    tracking_window_s=0.3,
    still_rad_s=0.05,
    home_speed_share=0.25,
    takeover_speed_share=0.25,
    takeover_s=1.0,
    takeover_gap_rad=0.3,
    teleop_speed_m_s=0.25,
    teleop_turn_rad_s=1.0,
)
BRAKE_TICKS = int(
    np.ceil((ARM.joint_velocity_limit_rad_s / ARM.joint_acceleration_limit_rad_s2).max() * 100)
)


class World:
    """A bridge, an arm that follows it at once, and a clock: what the node is to the bridge."""

    def __init__(self, spec=SPEC, cfg=CFG, start=None):
        self.spec = spec
        self.bridge = Bridge(spec, cfg)
        self.now_s, self.jump_s = 5.0, 1000.0  # the clock of stamps is elsewhere
        home = np.concatenate([arm.home_rad for arm in spec.arms])
        self.q = home if start is None else start
        self.width = np.full(spec.num_grippers, 0.08)
        self.follows = True
        self.path, self.sources, self.modes = [self.q], [], []
        self.feel()
        assert self.bridge.activate(self.now_s) is None

    @property
    def stamp(self):
        clock_s = self.now_s + self.jump_s
        return Stamp(clock_s, clock_s, self.now_s)

    def feel(self):
        self.bridge.inputs.take_state(self.q, np.zeros_like(self.q), self.width, self.stamp)

    def tick(self, ticks=1, each=lambda: None):
        for _ in range(ticks):
            self.now_s += PERIOD_S
            if self.follows:
                self.feel()
            each()
            done = self.bridge.tick(self.now_s, self.now_s + self.jump_s)
            if done is not None:
                self.path.append(done.q_rad)
                self.sources.append(done.source)
                if self.follows:
                    self.q, self.width = done.q_rad, done.gripper_m
            self.modes.append(self.bridge.mode)
        return done

    def policy(self, q, width=0.08):
        return self.bridge.inputs.take_policy(NAMES, [*q, width], self.stamp)

    def held(self, is_held=True):
        self.bridge.inputs.take_deadman(is_held, self.now_s)

    def twist(self, *linear, arm="arm"):
        self.bridge.inputs.take_twist(arm, np.array([*linear, 0, 0, 0]), self.stamp)

    def check(self):
        """Every command within every limit, in position, speed, acceleration and workspace."""
        path = np.array(self.path)
        speed = np.diff(path, axis=0, prepend=path[:1]) / PERIOD_S
        change = np.diff(speed, axis=0, prepend=speed[:1]) / PERIOD_S
        assert np.isfinite(path).all()
        assert (path >= ARM.joint_lower_rad - 1e-8).all()
        assert (path <= ARM.joint_upper_rad + 1e-8).all()
        assert (np.abs(speed) <= ARM.joint_velocity_limit_rad_s + 1e-8).all()
        assert (np.abs(change) <= ARM.joint_acceleration_limit_rad_s2 + 1e-6).all()
        tool = forward(ARM, path)[:, :3, 3]
        assert (tool >= ARM.workspace_lower_m - 1.001e-3).all()
        assert (tool <= ARM.workspace_upper_m + 1.001e-3).all()


def test_a_policy_is_followed_and_held_once_silent():
    world = World()
    goal = ARM.home_rad + 0.2
    world.tick(100, lambda: world.policy(goal, 0.02))
    np.testing.assert_allclose(world.q, goal, atol=1e-9)
    np.testing.assert_allclose(world.width, 0.02, atol=1e-9)
    assert world.sources[0] == "blend" and world.sources[-1] == "policy"
    far = ARM.home_rad - 0.2
    world.policy(far)
    world.tick(25)
    assert world.bridge.mode == "policy"
    world.tick(1 + BRAKE_TICKS)
    assert world.bridge.mode == "hold"
    assert world.bridge.hold_reason.startswith("policy_target: silent for 0.")
    assert (world.path[-1] == world.path[-2]).all()
    world.check()


def test_a_frozen_or_old_observation_holds_the_arm():
    world = World()
    frozen = world.stamp

    def send(q):
        return world.bridge.inputs.take_policy(
            NAMES, [*q, 0.08], frozen._replace(now_s=world.now_s, clock_s=world.stamp.clock_s)
        )

    world.tick(26, lambda: send(ARM.home_rad + 0.3))
    world.tick(BRAKE_TICKS + 1, lambda: send(ARM.home_rad + 0.3))
    assert world.bridge.mode == "hold" and (world.path[-1] == world.path[-2]).all()
    world.tick(50)
    old = world.stamp._replace(stamp_s=world.stamp.clock_s - 0.6)
    reason = world.bridge.inputs.take_policy(NAMES, [*ARM.home_rad, 0.08], old)
    assert reason == "policy_target: 0.60 s old on arrival; are the clocks synchronised?"


def test_lost_or_frozen_joint_states_hold_the_arm():
    world = World()
    world.tick(10, lambda: world.policy(ARM.home_rad + 0.5))
    world.follows = False
    world.tick(26 + BRAKE_TICKS, lambda: world.policy(ARM.home_rad + 0.5))
    assert world.bridge.mode == "hold"
    assert world.bridge.hold_reason.startswith("joint_states: silent")
    assert (world.path[-1] == world.path[-2]).all()
    world.check()


@pytest.mark.parametrize("jump_s", [-3600.0, -0.2, 0.2, 3600.0])
def test_a_jump_of_the_clock_stops_the_arm_until_everything_is_heard_anew(jump_s):
    world = World()
    world.tick(10, lambda: world.policy(ARM.home_rad + 0.5))
    old = world.stamp
    world.jump_s += jump_s
    world.tick()
    assert world.bridge.mode == "hold"
    assert world.bridge.inputs.counts["clock jumps"] == 1
    stale = old._replace(clock_s=world.stamp.clock_s, now_s=world.now_s)
    assert world.bridge.inputs.take_policy(NAMES, [*ARM.home_rad, 0.08], stale) is not None
    world.tick(20, lambda: world.policy(ARM.home_rad))
    assert world.bridge.mode == "policy", "new messages move it again"
    world.check()


def test_the_estop_stops_any_motion_and_stays_until_it_is_cleared():
    world = World()
    world.tick(20, lambda: world.policy(ARM.home_rad + 0.5))
    world.bridge.estop()
    assert world.bridge.mode == "estopped"
    assert world.bridge.clear_estop() == "the arm still brakes; call again when it stands"
    world.tick(100, lambda: (world.policy(ARM.home_rad), world.held(), world.twist(0.1, 0, 0)))
    assert set(world.modes[-100:]) == {"estopped"} and set(world.sources[-100:]) == {"hold"}
    assert (world.path[-1] == world.path[-100 + BRAKE_TICKS]).all()
    assert world.bridge.home() == "the bridge is estopped"
    assert world.bridge.clear_estop() is None
    world.tick(1)
    assert world.bridge.mode == "hold", "nothing sent before the e-stop was cleared counts"
    world.held(False)
    world.tick(5, lambda: world.policy(ARM.home_rad))
    assert world.bridge.mode == "policy"
    world.check()


def test_the_operator_takes_over_by_the_switch_and_gives_back():
    world = World()
    world.tick(30, lambda: world.policy(ARM.home_rad + 0.3))
    before = forward(ARM, world.q)[:3, 3]
    world.tick(60, lambda: (world.policy(ARM.home_rad), world.held(), world.twist(0, 0.1, 0)))
    assert world.bridge.mode == "teleop" and world.sources[-1] == "human"
    moved = forward(ARM, world.q)[:3, 3] - before
    assert moved[1] > 0.03
    world.tick(11, lambda: world.policy(ARM.home_rad))
    assert world.bridge.mode == "policy" and world.sources[-1] == "blend"
    world.check()


def test_an_intervention_keeps_the_policy_out_while_the_switch_is_released():
    world = World()
    world.bridge.set_intervention(True)
    world.tick(50, lambda: world.policy(ARM.home_rad + 0.3))
    assert world.bridge.mode == "hold" and (world.path[-1] == ARM.home_rad).all()
    assert world.bridge.hold_reason == "the operator intervenes, but has released the switch"
    assert world.bridge.home() == "the operator intervenes"
    world.bridge.set_intervention(False)
    world.tick(5, lambda: world.policy(ARM.home_rad + 0.3))
    assert world.bridge.mode == "policy"


def test_a_stale_switch_or_a_silent_device_holds_the_arm():
    world = World()
    world.tick(20, lambda: (world.held(), world.twist(0, 0.2, 0)))
    world.tick(12 + BRAKE_TICKS, lambda: world.twist(0, 0.2, 0))
    assert world.bridge.mode == "hold" and (world.path[-1] == world.path[-2]).all()
    world.tick(20, lambda: (world.held(), world.twist(0, 0.2, 0)))
    world.tick(27 + BRAKE_TICKS, world.held)
    assert world.bridge.hold_reason.startswith("teleop/twist of arm: silent")
    assert (world.path[-1] == world.path[-2]).all()
    world.check()


def test_a_leader_arm_is_caught_up_with_slowly():
    world = World()
    goal = ARM.home_rad + np.array([0, 0, 0, 0, 0, 0, 1.0])

    def lead():
        world.held()
        world.bridge.inputs.take_leader(ARM.joint_names, goal, world.stamp)

    world.tick(40, lead)
    assert world.sources[-1] == "blend"
    speed = np.abs(np.diff(np.array(world.path), axis=0)).max() / PERIOD_S
    assert speed <= 0.25 * 2.61 + 1e-9
    world.tick(400, lead)
    np.testing.assert_allclose(world.q, goal, atol=1e-6)
    assert world.sources[-1] == "human"
    world.check()


def test_the_operator_moves_the_gripper_alone():
    world = World()

    def close():
        world.held()
        world.bridge.inputs.take_gripper(["arm_gripper"], [0.01], world.stamp)

    world.tick(100, close)
    np.testing.assert_allclose(world.width, 0.01)
    assert (world.path[-1] == ARM.home_rad).all()


def test_a_twist_slides_along_the_faces_of_the_workspace():
    world = World()
    world.tick(500, lambda: (world.held(), world.twist(0.05, 0.2, -0.2)))
    tool = forward(ARM, world.q)[:3, 3]
    assert tool[1] > 0.40 and tool[2] > -0.002
    world.check()


def test_home_is_slow_straight_and_ends_in_hold():
    world = World(start=ARM.home_rad + np.array([0.5, 0.3, -0.2, 0.1, 0.2, 0.1, -0.5]))
    assert world.bridge.home() is None
    world.tick()
    assert world.bridge.mode == "home"
    world.tick(600)
    assert world.bridge.mode == "hold" and world.bridge.hold_reason
    np.testing.assert_allclose(world.q, ARM.home_rad, atol=1e-4)
    path = np.array(world.path)
    share = np.abs(np.diff(path, axis=0)) / PERIOD_S / ARM.joint_velocity_limit_rad_s
    assert share.max() <= 0.25 + 1e-9
    world.check()


def test_a_way_home_that_leaves_the_workspace_is_a_fault_not_a_long_wait():
    box = franka_arm(workspace_upper_m=(0.75, 0.45, 0.5))  # the straight way rises to 0.54 m
    start = ARM.home_rad + np.array([0.72, -0.83, -0.76, -0.1, -0.47, 0.03, 0])
    world = World(franka_like_spec(arms=(box,)), start=start)
    assert world.bridge.home() is None
    world.tick(1500)
    assert world.bridge.mode == "fault:a limit blocks the way home"
    assert (world.path[-1] == world.path[-2]).all()


def test_resync_takes_the_measured_position_holding_and_still_only():
    world = World()
    world.tick(5, lambda: world.policy(ARM.home_rad + 0.1))
    assert "must hold and stand still" in world.bridge.resync(world.now_s)
    world.tick(60)
    world.follows = False
    elsewhere = ARM.home_rad + 0.4
    world.now_s += PERIOD_S
    world.bridge.inputs.take_state(elsewhere, np.full(7, 0.2), world.width, world.stamp)
    assert world.bridge.resync(world.now_s) == "the arm moves"
    world.now_s += PERIOD_S
    world.bridge.inputs.take_state(elsewhere, None, world.width, world.stamp)
    assert world.bridge.resync(world.now_s) is None
    done = world.bridge.tick(world.now_s, world.now_s + world.jump_s)
    np.testing.assert_array_equal(done.q_rad, elsewhere)


def test_an_arm_that_does_not_follow_is_a_fault_until_it_is_cleared():
    world = World()
    world.follows = False

    def stuck():
        world.feel()  # at home, whatever is commanded
        world.policy(ARM.home_rad + np.array([0.6, 0, 0, 0, 0, 0, 0]))

    world.tick(120, stuck)
    assert world.bridge.mode == "fault:arm_joint1 is 0.30 rad from its command"
    assert (world.path[-1] == world.path[-2]).all()
    assert world.bridge.resync(world.now_s) is None
    assert world.bridge.clear_estop() is None
    world.tick(2)
    assert world.bridge.mode == "hold"


def test_nothing_is_commanded_before_activation_or_after_deactivation():
    bridge = Bridge(SPEC, CFG)
    assert bridge.activate(0.0) == "joint_states: nothing received"
    assert bridge.tick(0.0, 0.0) is None
    world = World()
    world.tick(30, lambda: world.policy(ARM.home_rad + 0.5))
    world.bridge.deactivate()
    world.tick(BRAKE_TICKS + 1, lambda: world.policy(ARM.home_rad + 0.5))
    assert world.bridge.mode == "inactive" and not world.bridge.is_active
    assert world.path[-1].tolist() == world.path[-2].tolist(), "the last command holds"
    world.check()
    assert world.bridge.activate(world.now_s) is None


def test_wrong_names_lengths_and_numbers_are_refused_and_counted():
    world = World()
    take = world.bridge.inputs.take_policy
    assert take(NAMES[:-1], [0.0] * 7, world.stamp) == "policy_target: names missing: arm_gripper"
    assert "unknown names elbow" in take((*NAMES[:-1], "elbow"), [0.0] * 8, world.stamp)
    assert "8 names, but 7 values" in take(NAMES, [0.0] * 7, world.stamp)
    assert "a name stands twice" in take((*NAMES, NAMES[0]), [0.0] * 9, world.stamp)
    assert "NaN or infinite" in take(NAMES, [np.nan] * 8, world.stamp)
    lead = world.bridge.inputs.take_leader
    assert "go together" in lead(NAMES[:3], [0.0] * 3, world.stamp)
    assert "unknown arm 'tail'" in world.bridge.inputs.take_twist("tail", np.zeros(6), world.stamp)
    assert "NaN" in world.bridge.inputs.take_twist("arm", np.full(6, np.inf), world.stamp)
    assert world.bridge.inputs.counts["refused policy_target"] == 5
    world.tick(30)
    assert (world.path[-1] == ARM.home_rad).all()


def test_one_arm_of_two_is_moved_alone():
    spec = franka_like_spec(arms=(franka_arm("left"), franka_arm("right")))
    world = World(spec)
    world.tick(60, lambda: (world.held(), world.twist(0, 0.1, 0, arm="right")))
    assert (world.q[:7] == ARM.home_rad).all()
    assert np.abs(world.q[7:] - ARM.home_rad).max() > 0.05


NUMBERS = st.floats(-10, 10) | st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 0.0])
JOINTS = st.lists(NUMBERS, min_size=8, max_size=8) | st.lists(NUMBERS, max_size=9)
NAMED = st.just(NAMES) | st.lists(st.sampled_from([*NAMES, "elbow"]), max_size=9)
TIME = st.floats(-2, 2) | st.sampled_from([0.0, 0.0, 0.0, np.nan, -3600.0])
EVENTS = st.one_of(
    st.tuples(st.just("policy"), NAMED, JOINTS, TIME),
    st.tuples(st.just("near"), st.floats(-1, 1), st.integers(0, 2**16)),
    st.tuples(st.just("leader"), NAMED, JOINTS, TIME),
    st.tuples(st.just("gripper"), NAMED, JOINTS, TIME),
    st.tuples(st.just("twist"), st.lists(NUMBERS, min_size=6, max_size=6), TIME),
    st.tuples(st.just("held"), st.booleans()),
    st.tuples(st.just("intervene"), st.booleans()),
    st.tuples(st.just("jump"), TIME),
    st.tuples(st.just("follows"), st.booleans()),
    st.tuples(st.sampled_from(["estop", "clear_estop", "home", "resync", "deactivate"])),
    st.tuples(st.just("activate")),
)


def happen(world, event):
    """Let one event of any kind reach the bridge."""
    inputs, kind = world.bridge.inputs, event[0]
    if kind == "near":
        rng = np.random.default_rng(event[2])
        world.policy(ARM.home_rad + event[1] * rng.uniform(-1, 1, 7))
    elif kind in ("policy", "leader", "gripper"):
        take = getattr(inputs, f"take_{kind}")
        take(event[1], event[2], world.stamp._replace(stamp_s=world.stamp.clock_s + event[3]))
    elif kind == "twist":
        stamp = world.stamp._replace(stamp_s=world.stamp.clock_s + event[2])
        inputs.take_twist("arm", np.array(event[1]), stamp)
    elif kind == "held":
        world.held(event[1])
    elif kind == "intervene":
        world.bridge.set_intervention(event[1])
    elif kind == "jump":
        world.jump_s = 1000.0 + (event[1] if np.isfinite(event[1]) else 0.0)
    elif kind == "follows":
        world.follows = event[1]
    elif kind in ("resync", "activate"):
        if (world.q == world.path[-1]).all():  # else the command would rightly go where the arm is
            getattr(world.bridge, kind)(world.now_s)
    else:
        getattr(world.bridge, kind)()


@given(events=st.lists(EVENTS, min_size=5, max_size=40), pause=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_no_command_leaves_the_limits_and_silence_stops_the_arm(events, pause):
    world = World()
    for event in events:
        happen(world, event)
        world.tick(pause)
    world.tick(26 + BRAKE_TICKS)  # one watchdog period in silence, and braking
    home = world.bridge.mode == "home"
    assert home or (world.path[-1] == world.path[-2]).all()
    world.check()


def test_a_hundred_thousand_fuzzed_commands_never_leave_the_limits():
    world, rng = World(), np.random.default_rng(0)
    for i in range(500):
        near = ARM.home_rad + rng.normal(0, 0.5, 7)
        for _ in range(200):  # far more commands than ticks, most of them broken
            values = rng.choice([np.nan, np.inf, 1e9, 3.0, -3.0], 8)
            world.bridge.inputs.take_policy(NAMES[: rng.integers(9)], values, world.stamp)
        world.now_s += 1e-6
        world.policy(near if i % 3 else rng.normal(0, 3, 7), rng.normal())
        world.tick(2)
    assert sum(world.bridge.inputs.counts.values()) > 100_000
    world.check()


def test_watchdogs_shares_and_rates_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"home_speed_share is 1\.5, but must be above 0"):
        replace(CFG, home_speed_share=1.5)
    with pytest.raises(ConfigError, match="bridge: still_rad_s is nan, but must be positive"):
        replace(CFG, still_rad_s=np.nan)
    with pytest.raises(ConfigError, match=r"rate_hz is 5\.0, but must be in 10 to 1000"):
        replace(CFG, rate_hz=5.0)
    with pytest.raises(ConfigError, match=r"state_timeout_s is 0.01, but must span two ticks"):
        replace(CFG, state_timeout_s=0.01)


def test_it_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, robot_rl.control.bridge, robot_rl.control.robot_file\n"
    code += "assert not {'torch', 'mujoco', 'rclpy', 'cv2'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
