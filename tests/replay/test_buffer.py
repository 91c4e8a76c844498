import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import DataError
from robot_rl.replay.buffer import Batch, TransitionBuffer
from robot_rl.replay.mixing import MixedReplay
from robot_rl.replay.trajectory import Trajectory


def episode(steps, *, terminated, reward=None, first=0.0):
    """State, executed action and base action of row t are all `first + t`."""
    rows = np.arange(first, first + steps + 1, dtype=np.float32)[:, None]
    rewards = np.zeros(steps, np.float32)
    if terminated:
        rewards[-1] = 1.0
    return Trajectory(
        obs={"state": rows},
        executed=rows[:-1],
        requested=rows[:-1],
        base=rows[:-1] * 10,
        next_base=rows[-1] * 10,
        reward=rewards if reward is None else np.asarray(reward, np.float32),
        terminated=terminated,
        success=terminated,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1.0),
    )


def filled(*episodes, n_step=3, discount=0.9, chunk=4):
    buffer = TransitionBuffer(1000, state_dim=1, action_dim=1, n_step=n_step, discount=discount)
    for one in episodes:
        buffer.add(one, chunk=chunk)
    return buffer


def test_a_time_out_bootstraps_from_the_last_observation_and_its_base_action():
    buffer = filled(episode(2, terminated=False))
    batch = buffer.sample(50, np.random.default_rng(0))
    assert (batch.discount > 0).all()
    assert (batch.next_state == 2).all()
    assert (batch.next_base == 20).all()


def test_a_termination_ends_the_bootstrap():
    buffer = filled(episode(2, terminated=True))
    batch = buffer.sample(50, np.random.default_rng(0))
    assert (batch.discount == 0).all()


def test_the_phase_runs_through_the_chunk_and_starts_anew_with_each_episode():
    buffer = filled(episode(5, terminated=False), episode(3, terminated=True))
    assert buffer.phase[:10, 0].tolist() == [0, 0.25, 0.5, 0.75, 0, 0.25, 0, 0.25, 0.5, 0.75]


@settings(max_examples=60, deadline=None)
@given(
    rewards=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=12),
    n_step=st.integers(1, 6),
    terminated=st.booleans(),
)
def test_n_step_transitions_are_the_sums_they_stand_for(rewards, n_step, terminated):
    steps, gamma = len(rewards), 0.9
    buffer = filled(
        episode(steps, terminated=terminated, reward=rewards), n_step=n_step, discount=gamma
    )
    batch = buffer.sample(100, np.random.default_rng(1))
    for k in range(100):
        t = int(batch.state[k, 0])
        taken = min(n_step, steps - t)
        expected = sum(gamma**i * rewards[t + i] for i in range(taken))
        ends = terminated and t + taken == steps
        assert batch.reward[k] == pytest.approx(expected, abs=1e-5)
        assert batch.discount[k] == pytest.approx(0 if ends else gamma**taken, abs=1e-6)
        assert batch.next_state[k, 0] == t + taken
        assert batch.base[k, 0] == 10 * t


def test_transitions_never_cross_episodes():
    buffer = filled(
        episode(3, terminated=False), episode(4, terminated=False, first=100.0), n_step=5
    )
    batch = buffer.sample(200, np.random.default_rng(2))
    assert ((batch.state < 50) == (batch.next_state < 50)).all()
    chunks = buffer.sample_chunks(200, 6, np.random.default_rng(2))
    assert ((chunks.state[:, None] < 50) == (chunks.executed < 50)).all()


def test_a_chunk_past_the_end_repeats_the_last_action():
    buffer = filled(episode(3, terminated=True))
    assert buffer.chunks(np.array([1]), 4)[0, :, 0].tolist() == [1, 2, 2, 2]


def test_a_buffer_restored_from_its_arrays_samples_the_same():
    buffer = filled(episode(5, terminated=False), episode(7, terminated=True))
    buffer.sample_chunks(1, 4, np.random.default_rng(0))
    other = filled()
    other.load_arrays(buffer.arrays())
    for draw in (
        lambda b: b.sample(32, np.random.default_rng(3)),
        lambda b: b.sample_chunks(32, 4, np.random.default_rng(3)),
    ):
        ours, theirs = draw(buffer), draw(other)
        for name in ours.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_full_buffer_says_so_and_an_empty_one_too():
    small = TransitionBuffer(4, state_dim=1, action_dim=1, n_step=1, discount=0.9)
    with pytest.raises(DataError, match="nothing to sample"):
        small.sample(1, np.random.default_rng(0))
    with pytest.raises(DataError, match="exceed the capacity of 4"):
        small.add(episode(4, terminated=True), chunk=1)


def test_a_batch_says_which_rows_it_is_of_also_among_demonstrations_and_own_episodes():
    demos, own = filled(episode(4, terminated=True)), filled(episode(6, terminated=False))
    both = MixedReplay(demos, own)
    for chunk in (None, 3):
        batch = both.sample(64, 0.5, np.random.default_rng(0), chunk=chunk)
        states = both.states(0, both.rows)
        np.testing.assert_array_equal(states[batch.row], batch.state)
        np.testing.assert_array_equal(states[batch.next_row], batch.next_state)
        assert (batch.row < 5).sum() == 32  # four steps and the last observation


@pytest.mark.parametrize("chunk", [None, 3])
def test_what_worked_is_drawn_beside_demonstrations_in_proportion_to_its_length(chunk):
    own = filled(episode(60, terminated=False), episode(15, terminated=True))
    both = MixedReplay(filled(episode(5, terminated=True)), own)
    both.worked = np.arange(61, 76)  # the second episode
    rng = np.random.default_rng(0)
    rows = np.concatenate([both.sample(100, 0.5, rng, chunk=chunk).row for _ in range(50)])
    demos, worked = (rows < 6).mean(), (rows >= 6 + 61).mean()
    assert demos == pytest.approx(0.5 * 5 / 20, abs=0.02)
    assert worked == pytest.approx(0.5 * 15 / 20 + 0.5 * 15 / 75, abs=0.02)
    batch = both.sample(64, 0.5, rng, chunk=chunk)
    np.testing.assert_array_equal(both.states(0, both.rows)[batch.row], batch.state)


@pytest.mark.parametrize("before", [True, False])
def test_another_verdict_makes_an_episode_as_if_it_had_always_held(before):
    other = [episode(3, terminated=False), episode(5, terminated=True)]
    for after in (True, False):
        mended = filled(other[0], episode(4, terminated=before), other[1])
        mended.sample_chunks(1, 6, np.random.default_rng(0))  # another horizon is known by now
        mended.correct(slice(4, 9), success=after, terminated=after)
        wanted = filled(other[0], episode(4, terminated=after), other[1])
        for length in (None, 6):
            found = [
                buffer.sample(99, rng) if length is None else buffer.sample_chunks(99, 6, rng)
                for buffer in (mended, wanted)
                for rng in [np.random.default_rng(1)]
            ]
            for name in Batch.__dataclass_fields__:
                np.testing.assert_array_equal(*(getattr(part, name) for part in found))


def test_what_was_still_to_come_follows_the_verdict():
    buffer = filled(episode(4, terminated=True, reward=[0, 0, 0, 1]))
    rng = np.random.default_rng(0)
    batch = buffer.sample(50, rng)
    np.testing.assert_allclose(batch.to_go, 0.9 ** (3 - batch.row), rtol=1e-6)
    again = filled(episode(4, terminated=True))
    again.load_arrays(buffer.arrays())
    np.testing.assert_array_equal(again.sample(50, np.random.default_rng(0)).to_go, batch.to_go)
    buffer.correct(slice(0, 5), success=False, terminated=False)
    assert not buffer.sample(50, rng).to_go.any()


def test_an_empty_buffer_is_restored_empty():
    buffer = filled()
    buffer.load_arrays(filled().arrays())
    assert buffer.rows == buffer.num_transitions == 0
