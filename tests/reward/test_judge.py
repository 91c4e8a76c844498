"""A judge that watches says what it says afterwards, and is the same from disk."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.retraining import train_judge

TASK = "Reach for the point."


@pytest.fixture(scope="module")
def judge(make_reach):
    lessons = [Lesson(episode=make_reach(k), task=TASK, success=True) for k in range(8)]
    lessons += [
        Lesson(episode=make_reach(50 + k, until=0.6), task=TASK, success=False) for k in range(3)
    ]
    return train_judge(lessons, TASK, model=EmbeddedCfg(steps=150, members=2))


def watched(judge, episode):
    watch = Watch(judge)
    held = [
        watch.see({name: rows[k] for name, rows in episode.obs.items()}, float(episode.t_s[k]))
        for k in range(len(episode.t_s))
    ]
    return watch, held


@pytest.mark.parametrize("until", [1.0, 0.6])
def test_watching_says_what_judging_the_whole_episode_says(judge, make_reach, until):
    episode = make_reach(90, until=until)
    watch, held = watched(judge, episode)
    potentials, verdict = judge.judge(episode)
    seen = watch.potentials()
    np.testing.assert_array_equal(seen.phi_valid, potentials.phi_valid)
    np.testing.assert_allclose(seen.phi, potentials.phi, atol=1e-5)
    np.testing.assert_allclose(seen.success_p, potentials.success_p, atol=1e-5)
    assert (held.index(True) if any(held) else None) == verdict.first_frame
    assert held[-1] == verdict.success == (until == 1.0)


def test_only_as_many_frames_are_asked_about_as_a_judgement_looks_at(judge, make_reach):
    watch, _ = watched(judge, make_reach(91))
    assert len(watch._recent) <= round(judge.context_s / 0.05) + 2


def test_a_new_episode_starts_from_nothing(judge, make_reach):
    first, _ = watched(judge, make_reach(92))
    first.begin()
    assert len(first) == 0
    with pytest.raises(DataError, match="no frame has been seen"):
        first.potentials()


def test_a_saved_judge_says_the_same(judge, make_reach, tmp_path):
    again = Judge.load(judge.save(tmp_path / "judge"), TASK)
    episode = make_reach(93)
    np.testing.assert_array_equal(again.judge(episode)[0].phi, judge.judge(episode)[0].phi)
    assert again.detector.cfg == judge.detector.cfg
    assert again.label_source == judge.label_source


def test_a_model_that_needs_the_whole_episode_cannot_watch(judge):
    class Afterwards:
        model_id, version = "late", 1
        capabilities = type(judge.model.capabilities)(causal=False)

    with pytest.raises(ConfigError, match="late judges episodes that are over"):
        Watch(Judge(model=Afterwards(), detector=judge.detector, task=TASK))
