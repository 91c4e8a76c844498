"""The embedded model learns to judge from a few demonstrations, and knows where it cannot."""

import numpy as np
import pytest

from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.policy.eyes import Eyes, EyesCfg
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import SuccessDetector, fit_detector
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.embedded_fit import fit_embedded
from robot_rl.reward.episodes import goal_of, query_of
from robot_rl.reward.metrics import spearman
from robot_rl.reward.progress import ProgressModel

TASK = "Reach for the point."


def lessons(make_reach, demos=10, failures=4, task=TASK, **how):
    rng = np.random.default_rng(0)
    parts = [Lesson(episode=make_reach(k, **how), task=task, success=True) for k in range(demos)]
    for k in range(failures):
        tried = make_reach(100 + k, until=rng.uniform(0.2, 0.7), **how)
        parts.append(Lesson(episode=tried, task=task, success=False))
    return parts


@pytest.fixture(scope="session")
def fitted(make_reach):
    return fit_embedded(lessons(make_reach), EmbeddedCfg(steps=150, members=3, folds=3), seed=1)


@pytest.fixture(scope="session")
def fitted_eyes(make_reach):
    cfg = EmbeddedCfg(steps=25, members=2, batch=16)
    return fit_embedded(lessons(make_reach, images=True), cfg, seed=1)


def test_it_is_a_progress_model(fitted):
    assert isinstance(fitted.model, ProgressModel) and fitted.model.capabilities.causal


def test_progress_rises_along_a_new_success(fitted, make_reach):
    episode = make_reach(500)
    estimate = fitted.model.score([query_of(episode, TASK)])[0]
    assert estimate.valid.mean() > 0.9
    judged = estimate.progress[estimate.valid]
    assert np.corrcoef(judged, np.arange(len(judged)))[0, 1] > 0.9
    share = np.linspace(0, 1, len(episode.t_s))[estimate.valid]
    assert np.abs(judged - share).mean() < 0.12


def test_new_successes_are_found_and_new_failures_are_not(fitted, make_reach):
    detector = SuccessDetector(fit_detector(fitted.held_out))
    good = [query_of(make_reach(600 + k), TASK) for k in range(10)]
    bad = [query_of(make_reach(700 + k, until=0.1 + 0.08 * k), TASK) for k in range(10)]
    held = [detector.held(q, e).any() for q, e in zip(good, fitted.model.score(good), strict=True)]
    fooled = [detector.held(q, e).any() for q, e in zip(bad, fitted.model.score(bad), strict=True)]
    assert sum(held) >= 9 and sum(fooled) == 0


def test_hovering_half_way_is_half_the_progress_however_long(fitted, make_reach):
    hovering = make_reach(800, until=0.5, hold=60)
    progress = fitted.model.score([query_of(hovering, TASK)])[0].progress
    assert np.nanmax(progress[-20:]) < 0.75
    assert abs(np.nanmean(progress[-20:]) - np.nanmean(progress[-60:-40])) < 0.1


def test_a_hand_that_never_moved_has_done_nothing_wherever_it_is(fitted, make_reach):
    waiting = [query_of(make_reach(820 + k, until=0.0, hold=40), TASK) for k in range(5)]
    estimates = fitted.model.score(waiting)
    assert np.mean([np.nanmean(e.progress) for e in estimates]) < 0.1


def test_what_it_has_never_seen_is_not_judged(fitted, make_reach):
    episode = make_reach(900)
    episode.obs["state"][20:] += 8.0
    estimate = fitted.model.score([query_of(episode, TASK)])[0]
    assert estimate.valid[:20].mean() > 0.9 and not estimate.valid[20:].any()


def test_an_instruction_it_was_never_taught_is_not_judged(fitted, make_reach):
    taught, other = "reach for the POINT", "Open the drawer."
    first, second = fitted.model.score([query_of(make_reach(1), t) for t in (taught, other)])
    assert first.valid.any() and not second.valid.any()


def test_judging_is_causal(fitted, make_reach):
    episode = make_reach(42)
    whole = fitted.model.score([query_of(episode, TASK)])[0]
    half = fitted.model.score([query_of(episode, TASK, frames=np.arange(15))])[0]
    np.testing.assert_allclose(whole.progress[:15], half.progress, atol=1e-5)


def test_held_out_episodes_are_judged_by_networks_that_left_them_out(fitted):
    assert len(fitted.held_out) == 14
    assert {item.success for item in fitted.held_out} == {True, False}


def test_the_same_seed_gives_the_same_model(make_reach):
    cfg = EmbeddedCfg(steps=10, members=1)
    ids = [fit_embedded(lessons(make_reach), cfg, seed=s).model.model_id for s in (3, 3, 4)]
    assert ids[0] == ids[1] != ids[2]


def test_a_model_survives_the_way_to_disk_and_back(fitted_eyes, make_reach, tmp_path):
    model = fitted_eyes.model
    back = EmbeddedModel.load(model.save(tmp_path / "model"))
    query = query_of(make_reach(5, images=True), TASK)
    before, after = model.score([query])[0], back.score([query])[0]
    np.testing.assert_array_equal(before.progress, after.progress)
    np.testing.assert_array_equal(before.success, after.success)
    assert (back.model_id, back.version) == (model.model_id, model.version)


def test_with_images_a_covered_lens_is_not_judged(fitted_eyes, make_reach):
    episode = make_reach(6, images=True)
    episode.obs["front"][10:] = 0
    estimate = fitted_eyes.model.score([query_of(episode, TASK)])[0]
    assert estimate.valid[:10].any() and not estimate.valid[10:].any()


@pytest.fixture(scope="session")
def fitted_through_eyes(make_reach):
    eyes = Eyes(EyesCfg(state_dim=6, cameras=(("front", 32, 32),), features=8), seed=0)
    cfg = EmbeddedCfg(steps=40, members=2, folds=2)
    return fit_embedded(lessons(make_reach, images=True), cfg, eyes=eyes, seed=1)


def test_through_frozen_eyes_progress_rises_and_a_covered_lens_is_not_judged(
    fitted_through_eyes, make_reach
):
    model, episode = fitted_through_eyes.model, make_reach(6, images=True)
    judged = model.score([query_of(episode, TASK)])[0].progress
    assert spearman(judged, np.arange(len(judged))) > 0.7
    episode.obs["front"][10:] = 0
    covered = model.score([query_of(episode, TASK)])[0]
    assert covered.valid[:10].any() and not covered.valid[10:].any()


def test_a_model_keeps_its_eyes_on_the_way_to_disk_and_back(
    fitted_through_eyes, make_reach, tmp_path
):
    model = fitted_through_eyes.model
    back = EmbeddedModel.load(model.save(tmp_path / "model"))
    query = query_of(make_reach(5, images=True), TASK, goal=model.goal(TASK))
    before, after = model.score([query])[0], back.score([query])[0]
    np.testing.assert_array_equal(before.progress, after.progress)
    assert (back.model_id, back.cameras) == (model.model_id, ("front",))


def test_images_of_any_size_are_read(fitted_eyes, make_reach):
    episode = make_reach(7, images=True)
    query = query_of(episode, TASK)
    large = np.repeat(np.repeat(query.frames["front"], 3, 1), 3, 2)
    bigger = query_of(make_reach(7, images=True), TASK, goal=goal_of(make_reach(8, images=True)))
    object.__setattr__(bigger, "frames", {"front": large})
    object.__setattr__(bigger, "initial", {})
    small, big = fitted_eyes.model.score([query, bigger])
    assert big.valid.mean() > 0.8
    assert np.nanmean(np.abs(small.progress - big.progress)) < 0.3


def test_two_tasks_are_told_apart_by_their_instruction(make_reach):
    rng = np.random.default_rng(1)
    away = "Move away from the point."
    parts = lessons(make_reach, demos=8, failures=0)
    for k in range(8):
        there = make_reach(200 + k)
        there.obs["state"][:] = there.obs["state"][::-1]
        there.obs["state"][:, 2:4] *= -1
        there.obs["state"][:] += 0.002 * rng.normal(size=there.obs["state"].shape)
        parts.append(Lesson(episode=there, task=away, success=True))
    model = fit_embedded(parts, EmbeddedCfg(steps=120, members=1), seed=0).model
    at_the_point = make_reach(300)
    right, wrong = model.score([query_of(at_the_point, t) for t in (TASK, away)])
    assert right.progress[-1] > wrong.progress[-1] + 0.2
    assert right.success[-1] > wrong.success[-1] + 0.4


def test_a_model_that_lacks_its_camera_says_so(fitted_eyes, make_reach):
    with pytest.raises(DataError, match=r"looks at cameras \['front'\]"):
        fitted_eyes.model.score([query_of(make_reach(1), TASK)])


def test_what_cannot_be_learned_from_is_refused(make_reach):
    failed = [Lesson(episode=make_reach(1, until=0.5), task=TASK, success=False)]
    with pytest.raises(DataError, match="1 episodes without a success"):
        fit_embedded(failed)
    with pytest.raises(DataError, match="two are needed at least"):
        fit_embedded(lessons(make_reach, demos=1))
    mixed = lessons(make_reach, demos=2) + lessons(make_reach, demos=2, images=True)
    with pytest.raises(DataError, match="differ in length of state and cameras"):
        fit_embedded(mixed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"members": 0}, "members is 0"),
        ({"rewind": 1.5}, "rewind is 1.5, but must be within"),
        ({"done_last_s": 2.0}, "not exceed doubt_last_s"),
        ({"other_goal": 0.8, "wrong_goal": 0.3}, "together exceed 1"),
        ({"folds": 1}, "folds 1 must be at least 2"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        EmbeddedCfg(**changes)


def test_a_damaged_model_is_refused(fitted, tmp_path):
    folder = fitted.model.save(tmp_path / "model")
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        EmbeddedModel.load(folder)
    with pytest.raises(CheckpointError, match="no reward model at"):
        EmbeddedModel.load(tmp_path / "nothing")
    head = (folder / "model.json").read_text()
    (folder / "model.json").write_text(head.replace('"format": 1', '"format": 9'))
    with pytest.raises(CheckpointError, match="has format 9"):
        EmbeddedModel.load(folder)
