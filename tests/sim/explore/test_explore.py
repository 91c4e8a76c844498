"""From a planned push to a tuned shot, on the puck: the whole way, in small."""

from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import DataError, NonFiniteError, PortError, ShapeError, UnknownNameError
from sim.explore.hidden import HiddenWorld, _draw
from sim.explore.information import a_optimal, fisher_information, log_det, trace
from sim.explore.plan import PlanCfg, SearchCfg, cross_entropy, plan_motion
from sim.explore.policy import TuneCfg, success_of, tune
from sim.explore.probes import PROBES, find_probe
from sim.explore.trial import Trial, fit_trials, load_trial
from sim.identify.least_squares import LeastSquaresCfg
from sim.randomize import Exactly, Uniform

QUICK = LeastSquaresCfg(starts=2, candidates=8, iterations=5, step=0.1)
PUSH = np.array([[0.0, 0.0, 0.6, 0.1]])


@pytest.fixture(scope="module")
def slide():
    return find_probe("slide")


@pytest.fixture(scope="module")
def rehearsal(slide):
    return slide.rehearsal(rows=16)


@pytest.fixture(scope="module")
def trial(slide, rehearsal):
    start, actions = slide.start(), slide.motion.actions(PUSH)
    track = rehearsal.roll(start, actions, np.array([[0.11]]))[0]
    noise = np.random.default_rng(0).normal(size=track.shape) * rehearsal.std
    return Trial(
        probe="slide",
        q_rad=start.q_rad,
        gripper_m=start.gripper_m,
        poses=start.poses,
        joints=start.joints,
        actions=actions[0],
        measured=track + noise,
        std=rehearsal.std,
    )


def test_objectives_agree_on_one_parameter_and_disagree_on_two():
    one, two = np.array([[[3.0]], [[5.0]]]), np.array([np.diag([9.0, 0.0]), np.diag([3.0, 3.0])])
    for objective in (trace, log_det, a_optimal):
        assert objective(one)[1] > objective(one)[0]
    assert trace(two)[0] > trace(two)[1]  # all in one parameter
    assert log_det(two)[1] > log_det(two)[0]
    assert a_optimal(two)[1] > a_optimal(two)[0]
    assert a_optimal(np.zeros((2, 2))) == pytest.approx(-2)


def test_a_push_that_touches_nothing_tells_nothing(slide, rehearsal):
    points = np.array([[0.0, 0.0, 0.6, 0.1], [0.0, 0.0, 0.2, 0.005]])
    actions = slide.motion.actions(points)
    found, last = fisher_information(rehearsal, slide.start(), actions, np.array([[0.15]]))
    assert found.shape == (2, 1, 1, 1) and last.shape == (2, 1, 2, 2)
    assert found[0, 0, 0, 0] > 100
    assert found[1, 0, 0, 0] == pytest.approx(0, abs=1e-6)


def test_the_search_finds_the_top_within_the_box():
    top = np.array([0.7, -0.2])
    seen = []

    def score(x):
        seen.append(x)
        return -((x - top) ** 2).sum(1)

    cfg = SearchCfg(candidates=30, iterations=8, elites=6)
    low, high = np.array([0.0, -1.0]), np.array([1.0, 1.0])
    x, best, history = cross_entropy(score, low, high, cfg, np.random.default_rng(0))
    np.testing.assert_allclose(x, top, atol=0.02)
    assert best == history[-1] and list(history) == sorted(history)
    tried = np.concatenate(seen)
    assert ((tried >= low) & (tried <= high)).all()


def test_a_plan_is_safe_and_tells_more_than_the_weakest_push(slide, rehearsal):
    cfg = PlanCfg(draws=1, search=SearchCfg(candidates=4, iterations=2, elites=2))
    prior = Uniform(parameters=slide.parameters)
    found = plan_motion(rehearsal, slide.motion, slide.start(), prior, cfg, is_safe=slide.is_safe)
    assert (found.x >= slide.motion.low).all() and (found.x <= slide.motion.high).all()
    assert found.score > -0.01
    assert found.rollouts == 2 * (2 * 4 + 1)


def test_a_motion_that_throws_the_object_off_is_not_chosen(slide, rehearsal):
    cfg = PlanCfg(draws=1, search=SearchCfg(candidates=4, iterations=1, elites=2))
    prior = Uniform(parameters=slide.parameters)
    found = plan_motion(
        rehearsal,
        slide.motion,
        slide.start(),
        prior,
        cfg,
        is_safe=lambda last: np.zeros(last.shape[:-1], bool),
    )
    assert found.score < -1e5


def test_one_push_tells_the_friction(rehearsal, trial):
    posterior = fit_trials(rehearsal, [trial], QUICK)
    assert posterior.values[0] == pytest.approx(0.11, rel=0.06)
    assert posterior.details["trials"] == [trial.hash]


def test_knobs_tuned_in_a_belief_win_there_and_lose_elsewhere(slide):
    slippery, rough = (
        Exactly(parameters=slide.parameters, values=np.array([mu])) for mu in (0.08, 0.2)
    )
    cfg = TuneCfg(episodes=3, search=SearchCfg(candidates=6, iterations=2, elites=2))
    tuned = tune(slide, slippery, cfg)
    seeds = range(500_000, 500_010)
    assert success_of(slide, slippery, tuned.x, seeds).mean() > 0.7
    assert success_of(slide, rough, tuned.x, seeds).mean() < 0.3


def test_a_hidden_world_serves_until_it_is_revealed(slide, tmp_path):
    actions = slide.motion.actions(PUSH)[0]
    with HiddenWorld("slide", 3) as world:
        one = world.probe(actions, tmp_path / "a.npz", seed=1)
        same = world.probe(actions, tmp_path / "b.npz", seed=1)
        other = world.probe(actions, tmp_path / "c.npz", seed=2)
        truth = world.reveal()
        with pytest.raises(PortError, match="hidden slide 3 refuses: it was revealed"):
            world.probe(actions, tmp_path / "d.npz", seed=1)
    assert one.hash == same.hash != other.hash
    assert len(one.actions) == len(actions)
    assert 0.06 <= truth["puck.friction"] <= 0.24
    assert b"friction" not in (tmp_path / "a.npz").read_bytes()


def test_trials_come_back_as_they_were_saved_and_edits_are_refused(trial, tmp_path):
    path = tmp_path / "trial.npz"
    trial.save(path)
    back = load_trial(path)
    assert back.hash == trial.hash
    np.testing.assert_array_equal(back.measured, trial.measured)
    np.testing.assert_array_equal(back.poses["puck"], trial.poses["puck"])
    with np.load(path) as file:
        arrays = dict(file)
    arrays["measured"][0] += 1
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="was edited"):
        load_trial(path)


def test_trials_that_make_no_sense_are_refused(rehearsal, trial, tmp_path):
    with pytest.raises(ShapeError, match="measurements of a trial"):
        replace(trial, measured=trial.measured[:-1])
    with pytest.raises(NonFiniteError, match="measurements of a trial"):
        replace(trial, measured=trial.measured * np.nan)
    with pytest.raises(DataError, match="there is no trial to fit"):
        fit_trials(rehearsal, [])
    other = replace(trial, measured=trial.measured[:, :1], std=trial.std[:1])
    with pytest.raises(DataError, match="measures 1 numbers, but the twins give 2"):
        fit_trials(rehearsal, [other])
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no trial that can be read"):
        load_trial(tmp_path / "x.npz")


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_knows_its_unknowns_and_rests_on_its_task(name):
    probe = find_probe(name)
    assert len(probe.parameters) == len(probe.unknown)
    assert len(probe.motion.names) == len(probe.motion.low) == len(probe.motion.high)
    start = probe.start()
    assert start.drive_gain == start.friction_gain == 1 and not start.load_n.any()


def test_an_unknown_probe_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown probe .rodd.\. Available: drawer, heavy"):
        find_probe("rodd")


def test_a_mismatched_world_is_wrong_in_what_no_fit_can_mend():
    right, wrong = (_draw("rod", 1, is_mismatched=flag).probe.twin for flag in (False, True))
    masses = [twin.build().compile().body("rod").mass[0] for twin in (right, wrong)]
    assert masses[0] == pytest.approx(0.4)
    assert 0.32 <= masses[1] <= 0.48 and masses[1] != masses[0]
    assert wrong.task.name == "rod"
