import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

import torch

from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.reward.episodes import query_of
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.vlm.local import LocalCfg, LocalEngine
from robot_rl.reward.vlm.robometer import (
    RobometerCfg,
    RobometerJudge,
    frame_states,
    frames_request,
    pair_request,
)
from robot_rl.reward.vlm.robometer_heads import (
    RobometerHeads,
    balanced_bce,
    load_heads,
    progress_loss,
    save_heads,
    two_bins,
)
from robot_rl.reward.vlm.robometer_training import HeadsCfg, fit_heads
from robot_rl.reward.vlm.saved import load_judge


@settings(deadline=None)
@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=9), st.integers(2, 30))
def test_a_target_is_shared_between_two_bins_so_that_the_mean_is_kept(values, bins):
    target = torch.tensor(values, dtype=torch.float64)
    share = two_bins(target, bins)
    assert (share >= 0).all()
    assert ((share > 0).sum(dim=-1) <= 2).all()
    assert share.sum(dim=-1).numpy() == pytest.approx(np.ones(len(values)))
    mean = share @ torch.linspace(0, 1, bins, dtype=share.dtype)
    assert mean.numpy() == pytest.approx(np.clip(values, 0, 1), abs=1e-6)


def test_the_balanced_loss_does_not_care_how_many_failures_there_are():
    logit = torch.tensor([2.0, -1.0])
    one = balanced_bce(logit, torch.tensor([1.0, 0.0]))
    many = balanced_bce(logit[[0, 1, 1, 1, 1]], torch.tensor([1.0, 0, 0, 0, 0]))
    assert float(one) == pytest.approx(float(many))


def test_heads_learn_what_their_losses_say():
    torch.manual_seed(0)
    heads, states = RobometerHeads(16), torch.randn(8, 16)
    target = torch.linspace(0, 1, 8)
    optimiser = torch.optim.Adam(heads.parameters(), lr=1e-2)
    for _ in range(150):
        logit = heads.success(states)[:, 0]
        loss = progress_loss(heads, states, target) + balanced_bce(logit, (target > 0.9).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    progress, sigma, success = heads.judge(states)
    assert progress.detach().numpy() == pytest.approx(target.numpy(), abs=0.1)
    assert (success > 0.5).tolist() == (target > 0.9).tolist()
    assert (sigma >= 0).all()


@pytest.fixture(scope="module")
def engine(vlm_folder):
    return LocalEngine(LocalCfg(folder=vlm_folder, min_pixels=1024, max_pixels=4096))


@pytest.fixture
def heads_folder(tmp_path):
    torch.manual_seed(1)
    save_heads(RobometerHeads(64), tmp_path / "heads")
    return tmp_path / "heads"


def test_a_frame_is_judged_by_itself_and_earlier_ones_only(engine, make_query):
    loaded = engine.load()
    frames = make_query(5).frames["front"]
    with torch.inference_mode():
        (all_of_them,) = frame_states(loaded, [frames_request("x", frames)])
        (first_three,) = frame_states(loaded, [frames_request("x", frames[:3])])
    assert all_of_them.shape == (5, 64)
    assert torch.allclose(all_of_them[:3], first_three, atol=1e-4)


def test_two_attempts_stand_in_one_text(engine, make_query):
    frames = make_query(5).frames["front"]
    with torch.inference_mode():
        (states,) = frame_states(engine.load(), [pair_request("x", frames[:2], frames[2:])])
        assert RobometerHeads(64).prefers_second(states).shape == ()
    assert len(states) == 5


def test_the_judge_runs_and_survives_saving(engine, heads_folder, make_query, tmp_path):
    judge = RobometerJudge(engine, RobometerCfg(heads=heads_folder, max_frames=4))
    assert isinstance(judge, ProgressModel)
    (found,) = judge.score([make_query(7)])
    assert found.valid.all()
    assert np.isfinite(found.success).all()
    assert (found.sigma > 0).all()
    again = load_judge(judge.save(tmp_path / "judge"))
    (same,) = again.score([make_query(7)])
    assert same.progress == pytest.approx(found.progress, abs=1e-5)
    assert same.model_id == found.model_id


def test_heads_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no heads of ours"):
        load_heads(tmp_path)


@pytest.fixture(scope="module")
def attempts():
    """Successes brighten, failures stay dark."""
    sys.path.insert(0, str(Path(__file__).parent))
    from test_lessons import attempt  # pyright: ignore

    sys.path.pop(0)
    good = {f"good{k}": attempt(level=level) for k, level in enumerate((210, 230, 250))}
    bad = {f"bad{k}": attempt(level=level, success=False) for k, level in enumerate((60, 90))}
    return {**good, **bad, "odd": attempt(success=None)}


def test_heads_trained_on_own_episodes_order_them(qwen3_folder, attempts, tmp_path):
    engine = LocalEngine(LocalCfg(folder=qwen3_folder, min_pixels=1024, max_pixels=1024))
    cfg = HeadsCfg(max_frames=5, texts_per_episode=3, pairs=24, steps=150)
    losses = fit_heads(engine, attempts, cfg, tmp_path / "heads")
    assert losses[-1] < 0.5 * losses[0]
    judge = RobometerJudge(engine, RobometerCfg(heads=tmp_path / "heads", max_frames=5))
    rows = np.array([0, 5, 10, 15, 20])
    good, bad = (
        judge.score([query_of(attempts[name], "brighten", frames=rows)])[0]
        for name in ("good1", "bad0")
    )
    assert np.corrcoef(good.progress, rows)[0, 1] > 0.9
    assert good.success[-1] > 0.5 > bad.success.max()


def test_texts_with_the_task_of_another_are_worth_nothing(qwen3_folder, attempts, tmp_path):
    engine = LocalEngine(LocalCfg(folder=qwen3_folder, min_pixels=1024, max_pixels=1024))
    dim = replace(attempts["good0"], attrs={"task": "dim"})
    cfg = HeadsCfg(max_frames=4, texts_per_episode=2, pairs=2, steps=200)
    fit_heads(engine, {"a": attempts["good0"], "b": dim}, cfg, tmp_path / "heads")
    judge = RobometerJudge(engine, RobometerCfg(heads=tmp_path / "heads", max_frames=4))
    rows = np.array([0, 10, 20])
    (found,) = judge.score([query_of(attempts["good0"], "brighten", frames=rows)])
    assert found.progress[-1] < 0.95  # the same film is also shown with a wrong task


def test_heads_need_a_success(qwen3_folder, attempts, tmp_path):
    engine = LocalEngine(LocalCfg(folder=qwen3_folder))
    with pytest.raises(DataError, match="no episode succeeded"):
        fit_heads(engine, {"bad": attempts["bad0"]}, HeadsCfg(), tmp_path)
    with pytest.raises(ConfigError, match="max_frames is 3, but must be >= 4"):
        HeadsCfg(max_frames=3)
