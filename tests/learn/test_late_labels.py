"""A slow judge: the loop goes on, and what it says counts once it has said it."""

import threading

import numpy as np
import pytest

from robot_rl.learn.late_labels import LateLabels, Reel
from robot_rl.learn.lived import LivedEpisode
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.judge import Judge
from robot_rl.reward.labeler import LabelerCfg
from robot_rl.reward.progress import Capabilities, ProgressEstimate

PATIENCE_S = 20.0


class Slow:
    """Judges by the one number of the state, once it may."""

    capabilities = Capabilities(causal=False)
    model_id, version = "slow", 1

    def __init__(self):
        self.may_speak = threading.Event()

    def score(self, queries):
        assert self.may_speak.wait(PATIENCE_S)
        return [self._judge(query.proprio[:, 0]) for query in queries]

    def _judge(self, value):
        return ProgressEstimate(
            progress=value,
            success=(value > 0.9).astype(np.float32),
            sigma=np.zeros_like(value),
            valid=np.ones(len(value), bool),
            model_id=self.model_id,
            version=self.version,
        )


def judge():
    detector = SuccessDetector(DetectorCfg(threshold=0.8, hold_s=0.5))
    return Judge(model=Slow(), detector=detector, task="Rise.")


def climb(top, steps=30):
    value = np.minimum(np.linspace(0, 2 * top, steps + 1), top).astype(np.float32)
    return LivedEpisode(obs={"state": value[:, None]}, t_s=0.1 * np.arange(steps + 1))


@pytest.fixture
def late():
    made = judge()
    labels = LateLabels(made, LabelerCfg(keyframe_every_s=0.5))
    yield labels, made.model
    made.model.may_speak.set()
    labels.close()


def test_nobody_waits_for_a_judge_that_thinks(late):
    labels, model = late
    labels.submit(0, climb(1.0))
    assert labels.take() == []
    model.may_speak.set()
    assert labels.wait_idle(PATIENCE_S)
    (verdict,) = labels.take()
    assert verdict.episode == 0 and verdict.success
    assert verdict.potentials.phi_valid.all() and len(verdict.potentials) == 31
    assert labels.take() == []


def test_verdicts_are_made_of_the_keyframes_at_the_end(late):
    labels, model = late
    model.may_speak.set()
    for number, top in enumerate([1.0, 0.5, 1.0]):
        labels.submit(number, climb(top))
    assert labels.wait_idle(PATIENCE_S)
    found = {verdict.episode: verdict.success for verdict in labels.take()}
    assert found == {0: True, 1: False, 2: True}


def test_a_reel_gives_back_what_was_observed_and_ends_nothing():
    reel, rng = Reel(judge()), np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 8, 8, 3), np.uint8)
    for k in range(4):
        assert reel.see({"state": np.array([k]), "front": images[k]}, 0.1 * k) is False
    episode = reel.episode()
    np.testing.assert_array_equal(episode.obs["front"], images)
    assert episode.obs["state"].dtype == np.float32 and len(reel) == 4
    reel.begin()
    assert len(reel) == 0
