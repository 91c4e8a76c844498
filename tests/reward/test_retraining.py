"""A judge that was fooled learns from it; one that judges itself does not."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import query_of
from robot_rl.reward.retraining import (
    FailureBuffer,
    RetrainCfg,
    Retrainer,
    is_trusted,
    train_judge,
)

TASK = "Reach for the point."


def lesson_of(episode, *, success):
    return Lesson(episode=episode, task=TASK, success=success)


@pytest.mark.parametrize(
    ("source", "trusted"),
    [("human", True), ("env", True), ("ann", True), ("none", False), ("reward_model:m@3", False)],
)
def test_a_model_never_learns_from_its_own_verdicts(source, trusted):
    assert is_trusted(source) is trusted


def test_the_newest_and_the_hardest_failures_are_kept(make_reach):
    buffer, episode = FailureBuffer(4), make_reach(0, until=0.5)
    for k, score in enumerate([0.1, 0.9, 0.2, 0.8, 0.3, 0.4]):
        buffer.add(Lesson(episode=episode, task=str(k), success=False), score)
    assert sorted(lesson.task for lesson in buffer.lessons()) == ["1", "3", "4", "5"]
    assert len(buffer) == 4


def test_a_failure_that_fooled_the_model_fools_the_next_version_less(make_reach):
    demos = [Lesson(episode=make_reach(k), task=TASK, success=True) for k in range(6)]
    cfg = EmbeddedCfg(steps=60, members=2, batch=32)
    trainer = Retrainer(demos, train_judge(demos, TASK, model=cfg), RetrainCfg(every=3))
    fooling = [make_reach(50 + k, until=0.97) for k in range(4)]
    query = query_of(make_reach(60, until=0.97), TASK)
    before = trainer.judge.model.score([query])[0].success
    trainer.add(lesson_of(fooling[0], success=True), "reward_model:m@1")
    for episode in fooling[1:]:
        trainer.add(lesson_of(episode, success=False), "human")
        trainer.count()
    assert trainer.is_due()
    model = trainer.retrain().model
    after = model.score([query])[0].success
    assert model.version == 2 and not trainer.is_due()
    assert np.nanmax(after) < np.nanmax(before)


def test_nothing_is_trained_again_where_nothing_new_was_said(make_reach):
    demos = [lesson_of(make_reach(k), success=True) for k in range(4)]
    cfg = EmbeddedCfg(steps=2, members=1, batch=16)
    trainer = Retrainer(demos, train_judge(demos, TASK, model=cfg), RetrainCfg(every=1))
    assert trainer.add(demos[0], "reward_model:m@1") is None
    trainer.count()
    assert not trainer.is_due()


def test_a_restored_retrainer_trains_the_same_next_version(make_reach):
    demos = [lesson_of(make_reach(k), success=True) for k in range(4)]
    judge = train_judge(demos, TASK, model=EmbeddedCfg(steps=4, members=1, batch=16))
    cfg = RetrainCfg(every=2, failures=2, successes=1)
    trainer, learned = Retrainer(demos, judge, cfg), []
    for k, success in enumerate([True, False, False, True, False]):
        lesson = lesson_of(make_reach(30 + k, until=1.0 if success else 0.6), success=success)
        learned.append((lesson, trainer.add(lesson, "human")))
        trainer.count()
    again = Retrainer(demos, judge, cfg)
    again.restore(learned, judge, since=trainer.since, news=trainer.news)
    assert again.is_due() == trainer.is_due()
    assert again.retrain().model.model_id == trainer.retrain().model.model_id


def test_a_schedule_that_never_trains_is_refused():
    with pytest.raises(ConfigError, match="every 0"):
        RetrainCfg(every=0)
