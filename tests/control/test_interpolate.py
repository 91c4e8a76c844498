import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.control.interpolate import step_towards, target_of_step

V, A, DT = np.array([2.0, 0.5]), np.array([10.0, 3.0]), 0.01
SLACK = 1e-9
positions = st.lists(st.floats(-3, 3), min_size=2, max_size=2).map(np.array)


def run(q, dq, target, steps):
    qs, dqs = [q], [dq]
    for _ in range(steps):
        q, dq = step_towards(q, dq, target, velocity_limit=V, acceleration_limit=A, dt=DT)
        qs.append(q)
        dqs.append(dq)
    return np.array(qs), np.array(dqs)


@given(start=positions, target=positions)
@settings(max_examples=50, deadline=None)
def test_from_rest_it_arrives_exactly_and_never_overshoots(start, target):
    qs, dqs = run(start, np.zeros(2), target, 1400)
    travelled = (qs - start) * np.sign(target - start)
    assert (np.diff(travelled, axis=0) >= -SLACK).all()
    assert (travelled <= np.abs(target - start) + SLACK).all()
    np.testing.assert_allclose(qs[-1], target, atol=1e-9)
    np.testing.assert_allclose(dqs[-1], 0.0, atol=1e-6)


@given(start=positions, targets=st.lists(positions, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_limits_hold_and_the_path_stays_between_all_targets(start, targets):
    q, dq, path, speeds = start, np.zeros(2), [start], [np.zeros(2)]
    for target in targets:
        qs, dqs = run(q, dq, target, 13)
        q, dq = qs[-1], dqs[-1]
        path.extend(qs[1:])
        speeds.extend(dqs[1:])
    path, speeds = np.array(path), np.array(speeds)
    assert (np.abs(speeds) <= V + SLACK).all()
    assert (np.abs(np.diff(speeds, axis=0)) <= A * DT + SLACK).all()
    np.testing.assert_allclose(np.diff(path, axis=0), speeds[1:] * DT, atol=1e-12)
    seen = np.array([start, *targets])
    assert (path >= seen.min(0) - SLACK).all() and (path <= seen.max(0) + SLACK).all()


def test_many_arms_step_as_one_does():
    rng = np.random.default_rng(0)
    q, target = rng.uniform(-1, 1, (2, 5, 3, 2))
    dq = rng.uniform(-0.5, 0.5, (5, 3, 2))
    many = step_towards(q, dq, target, velocity_limit=V, acceleration_limit=A, dt=DT)
    one = step_towards(
        q[4, 1], dq[4, 1], target[4, 1], velocity_limit=V, acceleration_limit=A, dt=DT
    )
    np.testing.assert_array_equal(many[0][4, 1], one[0])
    np.testing.assert_array_equal(many[1][4, 1], one[1])


def test_it_takes_no_longer_than_the_time_optimal_ramp():
    distance = 0.3
    optimal_s = 2 * np.sqrt(distance / A[0])
    qs, _ = run(np.zeros(2), np.zeros(2), np.array([distance, 0.0]), int(optimal_s / DT) + 3)
    np.testing.assert_allclose(qs[-1, 0], distance, atol=1e-9)


@given(start=positions, data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_step_is_taken_at_the_speed_that_its_target_was_made_for(start, data):
    share = st.lists(st.floats(-1, 1), min_size=2, max_size=2).map(np.array)
    now = V * data.draw(share)
    wished = np.clip(now + A * DT * data.draw(share), -V, V)
    target = target_of_step(start, wished, acceleration_limit=A, dt=DT)
    _, dq = step_towards(start, now, target, velocity_limit=V, acceleration_limit=A, dt=DT)
    np.testing.assert_allclose(dq, wished, atol=1e-6)
