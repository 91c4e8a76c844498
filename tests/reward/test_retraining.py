"""A judge that was fooled learns from it; one that judges itself does not."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import query_of
from robot_rl.reward.retraining import FailureBuffer, RetrainCfg, Retrainer, is_trusted

TASK = "Reach for the point."


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
    trainer = Retrainer(demos, RetrainCfg(every=3), model=cfg)
    fooling = [make_reach(50 + k, until=0.97) for k in range(4)]
    query = query_of(make_reach(60, until=0.97), TASK)
    before = trainer.fitted.model.score([query])[0].success
    trainer.add(fooling[0], TASK, success=True, label_source="reward_model:m@1")
    for episode in fooling[1:]:
        trainer.add(episode, TASK, success=False, label_source="human")
    assert trainer.is_due()
    model = trainer.retrain().model
    after = model.score([query])[0].success
    assert model.version == 2 and not trainer.is_due()
    assert np.nanmax(after) < np.nanmax(before)


def test_a_schedule_that_never_trains_is_refused():
    with pytest.raises(ConfigError, match="every 0"):
        RetrainCfg(every=0)
