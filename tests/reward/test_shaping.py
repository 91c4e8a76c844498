"""Shaping leaves the best policy of any small decision process alone; naive progress does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.replay.buffer import TransitionBuffer
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.potentials import FramePotentials, PotentialTable
from robot_rl.reward.progress import ProgressEstimate
from robot_rl.reward.shaping import NaiveShaper, PotentialShaper, ShapingCfg, naive_rewards


def potentials(phi, sigma=None, version=1, valid=None):
    phi = np.asarray(phi, np.float32)
    valid = np.ones(len(phi), bool) if valid is None else np.asarray(valid)
    sigma = np.zeros(len(phi)) if sigma is None else np.asarray(sigma)
    hide = np.where(valid, 0.0, np.nan).astype(np.float32)
    estimate = ProgressEstimate(
        progress=phi + hide,
        success=phi + hide,
        sigma=sigma.astype(np.float32) + hide,
        valid=valid,
        model_id="m",
        version=version,
    )
    return FramePotentials.of(estimate)


def table_of(phi, **how):
    table = PotentialTable(len(phi))
    table.write(0, potentials(phi, **how))
    return table


class Process:
    """A decision process whose actions lead to one state each; the last states may be final."""

    def __init__(self, leads_to, reward, is_final, gamma):
        self.leads_to, self.reward, self.is_final = leads_to, reward, is_final
        self.gamma = gamma

    def values(self, extra=0.0):
        """Action values (states, actions) under reward + extra, by iteration to the fixed point.

        Final states are never left; their value is 0.
        """
        q = np.zeros(self.reward.shape)
        ends = self.is_final[self.leads_to]
        for _ in range(600):
            best = np.where(self.is_final, 0.0, q.max(1))
            q = self.reward + extra + np.where(ends, 0.0, self.gamma * best[self.leads_to])
        return q

    def shaping(self, phi, cfg=None):
        """What our shaper gives each (state, action)."""
        states, actions = self.reward.shape
        rows = np.repeat(np.arange(states), actions)
        after = self.leads_to.ravel()
        discount = np.where(self.is_final[after], 0.0, self.gamma).astype(np.float32)
        shaper = PotentialShaper(cfg or ShapingCfg(weight=1.0, final_weight=1.0))
        gain, known = shaper.rewards(table_of(phi), rows, after, discount)
        assert known.all()
        return gain.reshape(states, actions)

    def follow(self, q, start=0, steps=60):
        """The states that the greedy policy visits."""
        way = [start]
        while len(way) < steps and not self.is_final[way[-1]]:
            way.append(int(self.leads_to[way[-1], q[way[-1]].argmax()]))
        return way


@st.composite
def processes(draw):
    states, actions = draw(st.integers(2, 6)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    is_final = np.zeros(states, bool)
    is_final[states - draw(st.integers(0, 1)) :] = True
    process = Process(
        rng.integers(0, states, (states, actions)),
        rng.choice([0.0, 0.0, 0.3, 1.0], (states, actions)),
        is_final,
        draw(st.sampled_from([0.8, 0.9, 0.95])),
    )
    return process, rng.random(states)


@settings(max_examples=60, deadline=None)
@given(processes(), st.sampled_from([0.1, 0.5, 2.0]))
def test_the_best_policy_of_a_small_process_is_unchanged(drawn, weight):
    process, phi = drawn
    cfg = ShapingCfg(weight=weight, final_weight=weight)
    plain, shaped = process.values(), process.values(process.shaping(phi, cfg))
    acting = ~process.is_final
    moved = plain - weight * phi[:, None].astype(np.float32)
    np.testing.assert_allclose(shaped[acting], moved[acting], atol=1e-4)


def corridor(gamma=0.95, length=30):
    """State 0 has a way of `length` steps to the goal, and beside it a dead end near the goal.

    Action 0 goes on, action 1 stays or, from the start, goes to the dead end. Progress rises to 1
    along the way; the dead end (a hand hovering over the hole) looks like 0.9.
    """
    dead = length + 1
    leads_to = np.array([[min(s + 1, length), s] for s in range(length + 1)] + [[dead, 0]])
    leads_to[0, 1] = dead
    reward = np.zeros(leads_to.shape)
    reward[length - 1, 0] = 1.0
    is_final = np.zeros(length + 2, bool)
    is_final[length] = True
    phi = np.array([*np.linspace(0, 1, length + 1), 0.9])
    return Process(leads_to, reward, is_final, gamma), phi


@pytest.mark.parametrize("kind", ["difference", "level"])
def test_naive_progress_is_exploited_by_hovering_and_ours_is_not(kind):
    process, phi = corridor()
    ends = np.stack([np.repeat(phi[:, None], 2, 1), phi[process.leads_to]])
    naive = np.array([[naive_rewards(ends[:, s, a], kind)[0] for a in (0, 1)] for s in range(32)])
    hovering = process.follow(process.values(naive))
    assert hovering[-1] == 31, "the naive learner hovers for ever"
    ours = process.follow(process.values(process.shaping(phi)))
    assert ours == process.follow(process.values()) == list(range(31))


def test_a_cycle_pays_under_the_naive_difference_and_never_under_ours():
    gamma, phi = 0.9, [0.2, 0.8]
    around = phi * 40 + phi[:1]
    discounts = gamma ** np.arange(80)
    assert discounts @ naive_rewards(around, "difference") > 0.3
    rows = np.arange(80) % 2
    every = np.full(80, gamma, np.float32)
    gain, _ = PotentialShaper(ShapingCfg(weight=1.0, final_weight=1.0)).rewards(
        table_of(phi), rows, 1 - rows, every
    )
    np.testing.assert_allclose(discounts @ gain, -phi[0], atol=1e-3)


def test_an_end_by_failure_is_not_paid_for():
    """Falling into a state that looks nearly done must not be worth more than working on."""
    leads_to = np.array([[1, 2], [1, 1], [2, 2]])  # work on to 1 and stay, or break off at 2
    process = Process(leads_to, np.zeros((3, 2)), np.array([False, False, True]), 0.9)
    phi = np.array([0.1, 0.2, 0.9])
    q = process.values(process.shaping(phi))
    np.testing.assert_allclose(q[0], [-0.1, -0.1], atol=1e-5)


# Replay --------------------------------------------------------------------------------------


def episode(steps, *, terminated):
    return Trajectory(
        obs={"state": np.zeros((steps + 1, 1), np.float32)},
        executed=np.zeros((steps, 1), np.float32),
        requested=np.zeros((steps, 1), np.float32),
        reward=np.zeros(steps, np.float32),
        terminated=terminated,
        success=terminated,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1.0),
    )


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 12),
    horizon=st.integers(1, 6),
    terminated=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_chunk_gains_what_its_steps_gain_one_by_one(steps, horizon, terminated, seed):
    rng, gamma = np.random.default_rng(seed), 0.9
    phi = rng.random(steps + 1).astype(np.float32)
    buffer = TransitionBuffer(20, state_dim=1, action_dim=1, n_step=1, discount=gamma)
    buffer.add(episode(steps, terminated=terminated), chunk=1)
    table = table_of(phi)
    shaper = PotentialShaper(ShapingCfg())
    ends = np.arange(1, steps + 1)
    single = np.full(steps, gamma, np.float32)
    single[-1] = 0.0 if terminated else gamma
    one_by_one, _ = shaper.rewards(table, ends - 1, ends, single)
    buffer.state[: steps + 1, 0] = np.arange(steps + 1)  # rows can be told by their state
    batch = buffer.sample_chunks(16, horizon, rng)
    rows = batch.state[:, 0].astype(np.int64)
    gain, _ = shaper.rewards(table, rows, batch.next_row, batch.discount)
    for row, total in zip(rows, gain, strict=True):
        part = one_by_one[row : row + horizon]
        np.testing.assert_allclose(total, gamma ** np.arange(len(part)) @ part, atol=1e-5)


def test_a_time_out_keeps_the_potential_and_a_termination_drops_it():
    shaper = PotentialShaper(ShapingCfg(weight=1.0, final_weight=1.0))
    discount = np.array([0.9, 0.0], np.float32)
    gain, known = shaper.rewards(
        table_of([0.5, 0.8]), np.array([0, 0]), np.array([1, 1]), discount
    )
    np.testing.assert_allclose(gain, [0.9 * 0.8 - 0.5, -0.5], atol=1e-6)
    assert known.all()


def test_two_versions_never_meet_in_one_pair():
    table = PotentialTable(4)
    table.write(0, potentials([0.1, 0.2], version=1))
    table.write(2, potentials([0.3, 0.4], version=2))
    rows, every = np.arange(3), np.full(3, 0.9, np.float32)
    gain, known = PotentialShaper(ShapingCfg()).rewards(table, rows, rows + 1, every)
    assert known.tolist() == [True, False, True]
    assert gain[1] == 0.0


def test_what_could_not_be_judged_gains_nothing():
    table = table_of([0.1, 0.2, 0.3], valid=[True, False, True])
    rows, every = np.arange(2), np.full(2, 0.9, np.float32)
    gain, known = PotentialShaper(ShapingCfg()).rewards(table, rows, rows + 1, every)
    assert not known.any() and gain.tolist() == [0.0, 0.0]


def test_an_unknown_end_does_not_matter_after_a_termination():
    table = table_of([0.4, 0.0], valid=[True, False])
    shaper = PotentialShaper(ShapingCfg(weight=1.0, final_weight=1.0))
    gain, known = shaper.rewards(table, np.array([0]), np.array([1]), np.zeros(1, np.float32))
    assert known.all()
    np.testing.assert_allclose(gain, [-0.4])


def test_doubtful_progress_is_worth_less():
    shaper = PotentialShaper(ShapingCfg(caution=2.0))
    phi, sigma = np.float32([0.5, 0.5, 0.1]), np.float32([0.0, 0.1, 0.2])
    np.testing.assert_allclose(shaper.potential(phi, sigma), [0.5, 0.3, 0.0], atol=1e-6)


def test_the_weight_fades_out():
    cfg = ShapingCfg(weight=1.0, final_weight=0.2, decay_steps=100)
    assert [cfg.weight_at(s) for s in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    table, every = table_of([0.0, 1.0]), np.ones(1, np.float32)
    early, late = (
        PotentialShaper(cfg).rewards(table, np.array([0]), np.array([1]), every, step=step)[0]
        for step in (0, 100)
    )
    np.testing.assert_allclose([early[0], late[0]], [1.0, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": -1.0}, "weight is -1.0, but must be >= 0"),
        ({"caution": float("nan")}, "caution is nan"),
        ({"final_weight": 0.0}, "Give decay_steps, or equal weights"),
    ],
)
def test_a_shaping_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        ShapingCfg(**changes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0]), st.booleans())
def test_whatever_can_be_judged_on_the_way_a_value_stays_within_the_bounds(seed, weight, succeeds):
    rng, gamma, steps = np.random.default_rng(seed), 0.98, 40
    valid = rng.random(steps + 1) < 0.6
    table = PotentialTable(steps + 1)
    table.write(0, potentials(rng.random(steps + 1), valid=valid).carried())
    shaper = PotentialShaper(ShapingCfg(weight=weight, final_weight=weight))
    rows = np.arange(steps)
    discount = np.full(steps, gamma, np.float32)
    discount[-1] = 0.0 if succeeds else gamma
    gain, _ = shaper.rewards(table, rows, rows + 1, discount)
    last = table.read(np.array([steps]))
    value = 0.0 if succeeds else -weight * float(np.nan_to_num(last.phi[0]))  # Q - w phi, Q = 0
    gain[-1] += float(succeeds)
    low, high = shaper.bounds
    for step in reversed(range(steps)):
        value = float(gain[step]) + gamma * value
        assert low - 1e-4 <= value <= high + 1e-4


def test_a_cycle_through_what_cannot_be_judged_does_not_pay():
    phi = np.tile([0.2, 0.9, 0.0], 10)  # climbs while judged, falls back while it is not
    valid = np.tile([True, True, False], 10)
    shaper = PotentialShaper(ShapingCfg(weight=1.0, final_weight=1.0))
    rows, every = np.arange(29), np.ones(29, np.float32)
    totals = {}
    for name in ("as it is", "carried"):
        table = PotentialTable(30)
        found = potentials(phi, valid=valid)
        table.write(0, found.carried() if name == "carried" else found)
        totals[name] = float(shaper.rewards(table, rows, rows + 1, every)[0].sum())
    assert totals["as it is"] > 5
    assert totals["carried"] <= 0.71


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_naive_shaper_pays_what_the_naive_rewards_of_the_episode_are(horizon):
    rng, gamma = np.random.default_rng(0), 0.9
    phi = rng.random(12).astype(np.float32)
    plain = naive_rewards(phi, "difference")
    rows = np.arange(11)
    after = np.minimum(rows + horizon, 11)
    shaper = NaiveShaper(ShapingCfg(weight=1.0, final_weight=1.0), gamma)
    gain, known = shaper.rewards(table_of(phi), rows, after, np.ones(11, np.float32))
    wanted = [
        sum(gamma**k * plain[r + k] for k in range(a - r))
        for r, a in zip(rows, after, strict=True)
    ]
    np.testing.assert_allclose(gain, wanted, atol=1e-5)
    assert known.all() and shaper.bounds == (-1.0, 2.0)


def test_distrust_fades_what_progress_pays():
    shaper, every = PotentialShaper(ShapingCfg()), np.ones(1, np.float32)
    table, now, after = table_of([0.0, 1.0]), np.array([0]), np.array([1])
    paid = [
        float(shaper.rewards(table, now, after, every, trust=trust)[0][0]) for trust in (1.0, 0.25)
    ]
    assert paid == pytest.approx([0.5, 0.125])
