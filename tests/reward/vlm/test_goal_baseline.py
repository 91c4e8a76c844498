import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_rl.errors import CheckpointError, ConfigError, NonFiniteError
from robot_rl.reward.progress import ProgressModel, ProgressQuery
from robot_rl.reward.vlm.goal_baseline import (
    GoalBaselineCfg,
    GoalBaselineJudge,
    goal_baseline_progress,
    goal_baseline_reward,
)
from robot_rl.reward.vlm.image_text import ImageTextCfg, ImageTextEncoder
from robot_rl.reward.vlm.saved import load_judge

RNG = np.random.default_rng(0)
VECTORS = arrays(np.float64, (5, 4), elements=st.floats(-1, 1).map(lambda v: v + 0.01))


@settings(deadline=None)
@given(VECTORS)
def test_without_projection_the_reward_is_the_cosine(rows):
    x, goal = rows[:3], rows[3]
    baseline = -goal
    cosine = x @ goal / np.linalg.norm(x, axis=1) / np.linalg.norm(goal)
    assert goal_baseline_reward(x, goal, baseline, 0.0) == pytest.approx(cosine, abs=1e-9)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 100))
def test_the_goal_is_one_and_the_baseline_zero(alpha, seed):
    goal, baseline = np.random.default_rng(seed).normal(size=(2, 6))
    ends = np.stack([baseline, goal])
    assert goal_baseline_progress(ends, goal, baseline, alpha) == pytest.approx([0.0, 1.0])


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 100), st.floats(0.1, 10))
def test_progress_is_in_range_and_length_of_vectors_does_not_matter(alpha, seed, scale):
    rows = np.random.default_rng(seed).normal(size=(6, 8))
    found = goal_baseline_progress(rows[:4], rows[4], rows[5], alpha)
    assert ((found >= 0) & (found <= 1)).all()
    assert goal_baseline_progress(scale * rows[:4], rows[4], rows[5], alpha) == pytest.approx(
        found
    )


def test_full_projection_sees_only_the_way_to_the_goal():
    goal, baseline = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    aside = np.array([[0.6, 0.6, 0.529150262]])
    at_half = goal_baseline_progress(aside, goal, baseline, 1.0)
    assert at_half == pytest.approx([0.75])  # 1 − (½)² of the way


def test_a_goal_like_its_baseline_says_nothing():
    with pytest.raises(ConfigError, match="have the same embedding"):
        goal_baseline_reward(np.eye(2), np.ones(2), 2 * np.ones(2), 0.5)
    with pytest.raises(NonFiniteError, match="embedding is not finite"):
        goal_baseline_reward(np.full((1, 2), np.nan), np.ones(2), np.array([1.0, 0]), 0.5)


@pytest.fixture(scope="module")
def encoder(image_text_folder):
    return ImageTextEncoder(ImageTextCfg(folder=image_text_folder, batch=3))


def official(folder):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    return (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
        AutoImageProcessor.from_pretrained(folder),
    )


def test_similarities_are_those_of_the_whole_model(encoder, image_text_folder):
    import torch

    images = list(RNG.integers(0, 256, (4, 40, 50, 3), dtype=np.uint8))
    texts = ["a cube in a bowl", "a robot"]
    model, words, pixels = official(image_text_folder)
    inputs = words(
        texts, padding="max_length", max_length=32, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        whole = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"] if image_text_folder.name == "clip" else None,
            **pixels(images=images, return_tensors="pt"),
        )
    seen, said = encoder.images(images), encoder.texts(texts)
    cosine = (seen / np.linalg.norm(seen, axis=1, keepdims=True)) @ (
        said / np.linalg.norm(said, axis=1, keepdims=True)
    ).T
    theirs = (whole.image_embeds @ whole.text_embeds.T).numpy()
    assert cosine == pytest.approx(theirs, abs=1e-5)


def test_long_texts_are_cut(encoder):
    assert np.isfinite(encoder.texts(["very " * 500])).all()


def test_the_judge_runs_on_a_real_encoder_with_text_and_with_images(encoder, make_query, tmp_path):
    judge = GoalBaselineJudge(encoder, GoalBaselineCfg())
    assert isinstance(judge, ProgressModel)
    told, shown = judge.score([make_query(3), make_query(3, goal=True)])
    for found in (told, shown):
        assert found.valid.all()
        assert np.isnan(found.success).all()
    assert shown.progress[0] == pytest.approx(0.0, abs=1e-6)  # the first frame is the baseline
    again = load_judge(judge.save(tmp_path / "judge"))
    (same,) = again.score([make_query(3)])
    assert same.progress == pytest.approx(told.progress, abs=1e-6)
    assert same.model_id == told.model_id


def test_a_goal_that_looks_like_the_start_makes_the_query_invalid(encoder):
    frame = np.full((40, 40, 3), 90, np.uint8)
    query = ProgressQuery(
        stamps_s=np.arange(2.0),
        task="nothing",
        frames={"front": np.stack([frame] * 2)},
        goal={"front": frame},
    )
    (found,) = GoalBaselineJudge(encoder, GoalBaselineCfg()).score([query])
    assert not found.valid.any()
    assert "same embedding" in found.raw_text


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        ImageTextEncoder(ImageTextCfg(folder=tmp_path)).texts(["x"])
