"""Questions and answers about progress: what is refused, and that a failure is no number."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError, DataError, NonFiniteError, ShapeError
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery


def estimate(progress=(0.1, 0.5), valid=(True, True), **changes):
    fields = {
        "progress": np.array(progress, np.float32),
        "success": np.where(valid, 0.5, np.nan).astype(np.float32),
        "sigma": np.where(valid, 0.1, np.nan).astype(np.float32),
        "valid": np.array(valid),
        "model_id": "m",
        "version": 1,
    }
    return ProgressEstimate(**(fields | changes))


def test_an_answer_that_failed_holds_no_number():
    answer = ProgressEstimate.invalid(3, model_id="m", version=2, raw_text="I cannot say")
    assert len(answer) == 3 and not answer.valid.any()
    for values in (answer.progress, answer.success, answer.sigma):
        assert np.isnan(values).all()


def test_a_number_in_an_invalid_frame_is_refused():
    with pytest.raises(DataError, match="progress of an invalid frame must be NaN"):
        estimate(progress=(0.1, 0.0), valid=(True, False))


@pytest.mark.parametrize("wrong", [-0.1, 1.2, np.nan])
def test_progress_of_a_valid_frame_must_be_a_share(wrong):
    with pytest.raises(DataError, match="must be within 0 and 1"):
        estimate(progress=(0.1, wrong))


def test_a_model_may_have_no_opinion_on_success():
    silent = np.full(2, np.nan, np.float32)
    assert np.isnan(estimate(success=silent).success).all()


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match=r"sigma has shape \(3,\)"):
        estimate(sigma=np.zeros(3, np.float32))


def test_a_hop_beyond_the_whole_task_is_refused():
    with pytest.raises(DataError, match="hop of a valid frame"):
        estimate(hop=np.array([0.0, 1.5], np.float32))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"proprio": None}, DataError, "nothing to judge"),
        ({"stamps_s": np.array([1.0, 0.0])}, DataError, "must be finite and rise"),
        ({"proprio": np.zeros((3, 2), np.float32)}, ShapeError, "proprio has shape"),
        ({"proprio": np.full((2, 2), np.nan, np.float32)}, NonFiniteError, "not finite"),
        ({"goal_proprio": np.zeros(3, np.float32)}, ShapeError, "goal_proprio has shape"),
        ({"frames": {"front": np.zeros((2, 4, 4, 3))}}, DataError, "must be uint8"),
        ({"frames": {"front": np.zeros((1, 4, 4, 3), np.uint8)}}, ShapeError, "frames"),
        ({"goal": {"front": np.zeros((4, 4), np.uint8)}}, ShapeError, "goal"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(changes, error, words):
    fields = {"stamps_s": np.arange(2.0), "task": "t", "proprio": np.zeros((2, 2), np.float32)}
    with pytest.raises(error, match=words):
        ProgressQuery(**(fields | changes))


def test_a_model_that_takes_no_frame_is_refused():
    with pytest.raises(ConfigError, match="max_frames is 0"):
        Capabilities(causal=True, max_frames=0)
