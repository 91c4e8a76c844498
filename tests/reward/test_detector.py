"""Success is believed late rather than wrongly, and a person's word overrules it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.config import load_config, save_config
from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.reward.calibrator import Calibrator
from robot_rl.reward.detector import (
    BarCfg,
    DetectorCfg,
    Evidence,
    Gate,
    SuccessDetector,
    Verdict,
    fit_detector,
)
from robot_rl.reward.progress import ProgressEstimate, ProgressQuery


def judged(scores, proprio=None, period_s=0.1):
    scores = np.asarray(scores, np.float32)
    valid = np.isfinite(scores)
    blank = np.where(valid, 0.0, np.nan).astype(np.float32)
    count = len(scores)
    if proprio is None:
        proprio = np.zeros((count, 1), np.float32)
    query = ProgressQuery(stamps_s=np.arange(count) * period_s, task="t", proprio=proprio)
    estimate = ProgressEstimate(
        progress=blank, success=scores, sigma=blank, valid=valid, model_id="m", version=3
    )
    return query, estimate


def detector(**changes):
    return SuccessDetector(DetectorCfg(**({"threshold": 0.8, "hold_s": 0.2} | changes)))


def test_success_counts_once_it_has_held():
    held = detector().held(*judged([0.1, 0.9, 0.9, 0.9, 0.9]))
    assert held.tolist() == [False, False, False, True, True]


def test_a_flicker_is_no_success():
    assert not detector().held(*judged([0.9, 0.9, 0.1, 0.9, 0.9, 0.2])).any()


def test_a_frame_that_could_not_be_judged_breaks_the_hold():
    assert not detector().held(*judged([0.9, 0.9, np.nan, 0.9, 0.9])).any()


def test_success_is_not_believed_before_it_can_be():
    held = detector(min_s=0.3).held(*judged([0.9] * 6))
    assert held.tolist() == [False] * 5 + [True]


def test_a_gate_must_be_open():
    width = np.array([[0.08], [0.08], [0.05], [0.05], [0.05], [0.05]], np.float32)
    gate = Gate(index=0, low=0.04, high=0.06)
    held = detector(gates=(gate,)).held(*judged([0.9] * 6, width))
    assert held.tolist() == [False] * 4 + [True] * 2


def test_a_gate_may_be_taken_from_demonstrations():
    gate = Gate.around(2, [0.04, 0.06], margin=0.5)
    assert gate.low == pytest.approx(0.03, abs=1e-4) and gate.high == pytest.approx(0.07, abs=1e-4)


@pytest.mark.parametrize("human", [True, False])
def test_a_person_overrules_the_model(human):
    verdict = detector().decide(*judged([0.9] * 5), human=human)
    assert verdict == Verdict(success=human, first_frame=2, label_source="human")


def test_a_verdict_says_which_model_gave_it():
    assert detector().decide(*judged([0.9] * 5)).label_source == "reward_model:m@3"


def test_an_episode_that_lost_its_success_again_failed():
    verdict = detector().decide(*judged([0.9] * 5 + [0.1] * 2))
    assert not verdict.success and verdict.first_frame == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 0.5), st.floats(0.1, 0.9))
def test_a_stricter_detector_finds_no_more(scores, hold_s, threshold):
    query, estimate = judged(scores)
    loose = detector(threshold=threshold, hold_s=hold_s).held(query, estimate)
    strict = detector(threshold=threshold + 0.05, hold_s=hold_s + 0.1).held(query, estimate)
    assert not (strict & ~loose).any()


# Fitting -------------------------------------------------------------------------------------


def evidence(scores, success, done=None):
    query, estimate = judged(scores)
    if done is None:
        done = np.zeros(len(scores), np.int8)
        if success:
            done[-4:] = 1
    return Evidence(query=query, estimate=estimate, success=success, done=done)


def noisy(level, rng, count=12):
    return np.clip(level + 0.02 * rng.normal(size=count), 0, 1)


def test_the_threshold_parts_successes_from_failures_and_lies_nearer_to_the_former():
    rng = np.random.default_rng(0)
    good = [
        evidence(np.concatenate([noisy(0.1, rng, 8), noisy(0.9, rng, 4)]), True) for _ in range(9)
    ]
    bad = [evidence(noisy(0.4, rng), False) for _ in range(5)]
    cfg = fit_detector([*good, *bad], DetectorCfg(hold_s=0.2))
    fitted = SuccessDetector(cfg)
    assert all(fitted.decide(e.query, e.estimate).success for e in good)
    assert not any(fitted.held(e.query, e.estimate).any() for e in bad)
    assert cfg.threshold > np.mean([cfg.calibrator(0.4), cfg.calibrator(0.9)])


def test_a_failure_that_looks_like_success_costs_recall_and_not_truth():
    good = [evidence([0.1] * 8 + [level] * 4, True) for level in (0.85, 0.9, 0.97)]
    bad = [evidence([0.93] * 12, False)]
    fitted = SuccessDetector(fit_detector([*good, *bad], DetectorCfg(hold_s=0.2)))
    assert not fitted.held(bad[0].query, bad[0].estimate).any()
    assert fitted.decide(good[-1].query, good[-1].estimate).success


def test_what_is_like_the_failures_it_was_fitted_on_passes_no_more_often_than_promised():
    rng, passed, promised = np.random.default_rng(1), [], []
    for _ in range(200):
        levels = rng.uniform(0.1, 0.9, 10)
        *known, new = [evidence([level] * 6, False) for level in levels]
        cfg = fit_detector(
            [*known, evidence([0.1] * 6 + [0.95] * 4, True)], bar=BarCfg(nearness=0.0)
        )
        passed.append(SuccessDetector(cfg).held(new.query, new.estimate).any())
        promised.append(cfg.most_false)
    assert promised == [pytest.approx(1 / 11)] * 200  # nine failures, and a success's way
    assert np.mean(passed) <= 1 / 11 + 0.04


def test_what_successes_pass_by_on_their_way_is_no_success_to_who_stops_there():
    passing, far = [1e-4, 0.05, 0.3], [1e-6] * 6
    good = [evidence([*far, *passing, 0.6, *[0.95] * 4], True) for _ in range(8)]
    for item in good:
        item.done[9] = -1
    bad = [evidence([1e-6] * 12, False) for _ in range(4)]  # they say nothing of near misses
    fitted = SuccessDetector(fit_detector([*good, *bad], DetectorCfg(hold_s=0.2)))
    for level in passing:
        assert not fitted.held(*judged([*far, *[level] * 6])).any()
    assert all(fitted.decide(item.query, item.estimate).success for item in good)


def test_hold_time_and_gates_are_kept_by_fitting():
    cfg = DetectorCfg(hold_s=0.2, gates=(Gate(index=0, low=0, high=1),), min_s=0.5)
    fitted = fit_detector([evidence([0.1] * 8 + [0.9] * 4, True)], cfg)
    assert (fitted.hold_s, fitted.gates, fitted.min_s) == (cfg.hold_s, cfg.gates, cfg.min_s)


def test_without_a_success_there_is_no_anchor():
    with pytest.raises(DataError, match="no success to anchor"):
        fit_detector([evidence([0.1] * 5, False)])


def test_a_detector_survives_the_way_to_a_file_and_back(tmp_path):
    gates = (Gate(index=1, low=0, high=1),)
    cfg = DetectorCfg(threshold=0.9, gates=gates, calibrator=Calibrator(scale=0.5, shift=-1))
    save_config(tmp_path / "detector.json", cfg)
    assert load_config(tmp_path / "detector.json", DetectorCfg) == cfg


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match=r"threshold is 1\.0"):
        DetectorCfg(threshold=1.0)
    with pytest.raises(ConfigError, match=r"nearness is 1\.5, but must be within"):
        BarCfg(nearness=1.5)
    with pytest.raises(ConfigError, match="low 2 must not exceed high 1"):
        Gate(index=0, low=2, high=1)
    gate = Gate(index=5, low=0, high=1)
    with pytest.raises(DataError, match="reads number 5 of a state vector of 1"):
        detector(gates=(gate,)).held(*judged([0.9]))
    with pytest.raises(ShapeError, match="detector: estimate"):
        detector().held(judged([0.9])[0], judged([0.9, 0.9])[1])
