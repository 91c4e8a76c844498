import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import safetensors.torch
import torch

from robot_rl.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from robot_rl.reward.episodes import query_of
from robot_rl.reward.vlm.chat import ChatRequest
from robot_rl.reward.vlm.finetune import FinetuneCfg, finetune, lesson_loss
from robot_rl.reward.vlm.grm import GrmCfg, parse_hop
from robot_rl.reward.vlm.hops import HopLessonsCfg, hop_lessons
from robot_rl.reward.vlm.lessons import ChatLesson
from robot_rl.reward.vlm.local import LocalCfg, LocalEngine
from robot_rl.reward.vlm.lora import LoraCfg, add_lora, load_adapter, save_adapter
from robot_rl.reward.vlm.roboreward import RoboRewardCfg, RoboRewardJudge
from robot_rl.reward.vlm.scores import ScoreLessonsCfg, score_lessons

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA = LoraCfg(rank=16, targets=TARGETS)
ASK = ChatRequest(parts=("how far?", np.full((32, 32, 3), 99, np.uint8)), choices=("1", "2", "3"))


@pytest.fixture(scope="module")
def attempts():
    """Three episodes that brighten; made by the test of lessons."""
    sys.path.insert(0, str(Path(__file__).parent))
    from test_lessons import attempt  # pyright: ignore

    sys.path.pop(0)
    return {name: attempt(level=level) for name, level in zip("abc", (150, 200, 250), strict=True)}


@pytest.fixture(scope="module")
def lessons_of(attempts):
    rng = np.random.default_rng(0)
    return {
        "hops": hop_lessons(attempts, HopLessonsCfg(per_episode=16), GrmCfg(), rng),
        "scores": score_lessons(
            {**attempts, "d": replace(attempts["a"], success=False)},
            ScoreLessonsCfg(cuts_per_score=4),
            RoboRewardCfg(max_frames=4),
            rng,
        ),
    }


def engine_at(folder, **adapters):
    return LocalEngine(
        LocalCfg(folder=folder, min_pixels=1024, max_pixels=1024, adapters=adapters)
    )


@pytest.fixture(scope="module", params=[("qwen3", "hops"), ("qwen2_5", "scores")])
def taught(request, tiny_models, lessons_of, tmp_path_factory):
    """A tiny model, what it was taught, how that went, and what it said before and after."""
    kind, what = request.param
    folder = getattr(tiny_models, kind)(tmp_path_factory.mktemp("taught") / kind)
    engine, lessons = engine_at(folder), lessons_of[what]
    (before,) = engine.answer([ASK])
    cfg = FinetuneCfg(steps=50, batch=4, lr=1e-2, held_out_share=0.3, checks=3, lora=LORA)
    report = finetune(engine, lessons, cfg, folder / "adapter")
    (after,) = engine.answer([ASK])
    return what, folder, lessons, report, before, after


def test_the_loss_falls_on_lessons_and_on_episodes_held_out(taught):
    _, _, lessons, report, _, _ = taught
    assert np.mean(report.loss[-5:]) < 0.5 * np.mean(report.loss[:3])
    assert report.best == min(loss for _, loss in report.checks)
    assert report.best < report.loss[0]
    assert report.lessons + report.held_out == len(lessons)
    assert report.held_out > 0


def test_training_leaves_the_model_itself_alone(taught):
    before, after = taught[-2:]
    assert after.choice_logp.tolist() == before.choice_logp.tolist()


def test_the_loaded_adapter_answers_in_the_form_that_was_taught(taught, attempts):
    what, folder, lessons, *_ = taught
    engine = engine_at(folder, mine=folder / "adapter")
    if what == "hops":
        asked = [replace(lesson.request, adapter="mine") for lesson in lessons[:20]]
        read = [parse_hop(reply) for reply in engine.answer(asked)]
        assert np.isfinite(read).mean() >= 0.9
    else:
        cfg = RoboRewardCfg(adapter="mine", min_mass=0.05, max_frames=4)
        query = query_of(attempts["b"], "brighten", frames=np.array([0, 10, 20]))
        taught_by_it, untaught = (
            RoboRewardJudge(engine, each).score([query])[0]
            for each in (cfg, replace(cfg, adapter=""))
        )
        assert taught_by_it.valid.all()
        assert not untaught.valid.any()
    (plain,) = engine.answer([ASK])
    assert plain.choice_logp == pytest.approx(taught[-2].choice_logp, abs=1e-6)
    (adapted,) = engine.answer([replace(ASK, adapter="mine")])
    assert np.abs(adapted.choice_logp - plain.choice_logp).max() > 0.1


def test_the_held_out_loss_of_the_loaded_adapter_is_that_of_training(taught):
    _, folder, lessons, report, *_ = taught
    engine = engine_at(folder, mine=folder / "adapter")
    sources = {lesson.source for lesson in lessons}
    losses = []
    with engine.exclusive("mine"), torch.no_grad():
        for source in sorted(sources):
            part = [lesson for lesson in lessons if lesson.source == source]
            losses.append(float(lesson_loss(engine.load(), part)))
    assert any(loss == pytest.approx(report.best, rel=0.02) for loss in losses)


def test_the_adapter_is_laid_out_as_servers_expect(taught):
    folder = taught[1] / "adapter"
    names = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    first = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"
    assert first in names
    assert all(name.startswith("base_model.model.model.language_model.") for name in names)
    assert all(tensor.any() for tensor in names.values())
    row = json.loads((folder / "adapter_config.json").read_text())
    assert (row["peft_type"], row["r"], row["lora_alpha"]) == ("LORA", 16, 32.0)


@pytest.fixture
def engine(qwen3_folder):
    return engine_at(qwen3_folder)


def test_the_loss_is_the_likelihood_of_the_answer(engine):
    loaded = engine.load()
    words = ("ANSWER: 3", "ANSWER: 12 abc")
    short, long = (ChatLesson(request=replace(ASK, choices=()), answer=text) for text in words)
    (weighed,) = engine.answer([replace(ASK, choices=(words[0] + "<|im_end|>",))])
    count = len(loaded.encoder.tokenizer(words[0])["input_ids"]) + 1
    with torch.no_grad():
        alone, together = lesson_loss(loaded, [short]), lesson_loss(loaded, [short, long])
        other = lesson_loss(loaded, [long])
    assert float(alone) == pytest.approx(-weighed.choice_logp[0] / count, rel=1e-4)
    assert float(together) == pytest.approx((float(alone) + float(other)) / 2, rel=1e-4)


def test_answers_that_are_all_right_are_weighed_together(engine):
    answers = [f"ANSWER: {score}" for score in (1, 2, 3, 4)]
    request = replace(ASK, choices=())
    with torch.no_grad():
        each = [
            float(lesson_loss(engine.load(), [ChatLesson(request=request, answer=answer)]))
            for answer in answers
        ]
        lesson = ChatLesson(request=request, answer=answers[0], also_right=tuple(answers[1:]))
        any_of_them = float(lesson_loss(engine.load(), [lesson]))
    assert any_of_them < min(each)


def test_answers_that_differ_in_many_places_cannot_be_taught_together(engine):
    lesson = ChatLesson(request=ASK, answer="ANSWER: 1", also_right=("no idea",))
    with pytest.raises(DataError, match="differ in more than one token"):
        lesson_loss(engine.load(), [lesson])


def test_activations_computed_twice_give_the_same_training(engine, lessons_of, tmp_path):
    cfg = FinetuneCfg(steps=2, batch=2, lr=1e-2, held_out_share=0.0, checks=1, lora=LORA)
    plain = finetune(engine, lessons_of["scores"], cfg, tmp_path / "a")
    saving = finetune(
        engine, lessons_of["scores"], replace(cfg, checkpointing=True), tmp_path / "b"
    )
    assert saving.loss == pytest.approx(plain.loss, rel=1e-4)


def test_an_adapter_that_learned_nothing_is_not_saved(engine, tmp_path):
    model = engine.load().model
    add_lora(model, "idle", LORA)
    with pytest.raises(CheckpointError, match="adapter 'idle' changes nothing"):
        save_adapter(model, "idle", LORA, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_adapter_of_another_model_is_refused(tiny_models, engine, lessons_of, tmp_path):
    cfg = FinetuneCfg(steps=1, batch=1, held_out_share=0.0, checks=1, lora=LoraCfg(rank=2))
    finetune(engine, lessons_of["scores"], cfg, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    tensors.pop(next(iter(tensors)))
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(CheckpointError, match="was trained for another model"):
        load_adapter(engine.load().model, "broken", tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="is no adapter of ours"):
        load_adapter(engine.load().model, "none", tmp_path)


def test_an_adapter_that_is_not_loaded_is_named(engine):
    with pytest.raises(UnknownNameError, match=r"unknown adapter 'lost'\. Available: \(none"):
        engine.answer([replace(ASK, adapter="lost")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FinetuneCfg(lr=0.0), r"lr is 0.0, but must be positive"),
        (lambda: FinetuneCfg(steps=0), r"steps is 0, but must be >= 1"),
        (lambda: LoraCfg(rank=0), r"rank is 0, but must be >= 1"),
        (lambda: LoraCfg(targets=()), r"targets are empty"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_layers_that_are_not_there_are_named(engine):
    with pytest.raises(ConfigError, match="no linear layer of the model is called nothing"):
        add_lora(engine.load().model, "x", LoraCfg(targets=("nothing",)))
    with pytest.raises(ConfigError, match=r"adapter is called 'a.b'"):
        add_lora(engine.load().model, "a.b", LORA)
