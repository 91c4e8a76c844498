"""Teaches a local model lessons, by a low-rank adapter; the model itself stays as it is.

learning:  episode store → lessons → **fine-tuned model** → progress model → replay

Cross-entropy on the answer's tokens alone. Ref: Robo-Dopamine and RoboReward train the same way,
all weights of the language part; an adapter is what one GPU and a few hundred episodes pay for.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.vlm.lessons import ChatLesson, split
from robot_rl.reward.vlm.local import LoadedModel, LocalEngine
from robot_rl.reward.vlm.lora import LoraCfg, add_lora, drop_lora, save_adapter
from robot_rl.reward.vlm.qwen_inputs import Encoded

__all__ = ["FinetuneCfg", "FinetuneReport", "finetune", "lesson_loss"]

ADAPTER = "trained"


@dataclass(frozen=True, kw_only=True)
class FinetuneCfg:
    """How long and how fast."""

    steps: int = 500
    """Updates."""
    batch: int = 8
    """Lessons in one forward pass."""
    accumulate: int = 1
    """Forward passes in one update."""
    lr: float = 2e-4
    """Learning rate at its highest; it warms up and falls along a cosine."""
    warmup_share: float = 0.03
    """Share of the updates in which the rate rises."""
    grad_norm: float = 1.0
    """Longest gradient of an update."""
    held_out_share: float = 0.1
    """Share of the episodes that training is checked with; the best check is kept."""
    checks: int = 5
    """How often it is checked."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: for models that hardly fit."""
    lora: LoraCfg = field(default_factory=LoraCfg)
    """The adapter."""
    seed: int = 0
    """Draws the adapter's first weights, the split and the batches."""

    def __post_init__(self) -> None:
        """Refuse a training that trains nothing."""
        for name in ("steps", "batch", "accumulate", "checks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr is {self.lr}, but must be positive.")
        if not self.grad_norm > 0:
            raise ConfigError(f"grad_norm is {self.grad_norm}, but must be positive.")
        for name in ("warmup_share", "held_out_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be within 0 and 1.")


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """How it went.

    Attributes:
        loss: Mean loss of each update [nats a token].
        checks: Step and loss on held-out episodes (on the training lessons if none are held out).
        best: The lowest of those; its weights were saved.
        lessons: Lessons trained on.
        held_out: Lessons checked with.
    """

    loss: list[float]
    checks: list[tuple[int, float]]
    best: float
    lessons: int
    held_out: int


def finetune(
    engine: LocalEngine,
    lessons: Sequence[ChatLesson],
    cfg: FinetuneCfg,
    folder: Path,
    on_step: Callable[[int, float], None] | None = None,
) -> FinetuneReport:
    """Train an adapter on lessons and write it to `folder`; see `LocalCfg.adapters` for its use.

    Raises:
        DataError: There are too few lessons, or the loss is not finite any more.
    """
    rng = np.random.default_rng(cfg.seed)
    train, held = split(lessons, cfg.held_out_share, rng)
    loaded = engine.load()
    with engine.exclusive(""), torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        trained = add_lora(loaded.model, ADAPTER, cfg.lora)
        loaded.adapters.force(ADAPTER)
        if cfg.checkpointing:
            loaded.model.activation_checkpointing_enable({"use_reentrant": False})
        try:
            report = _train(loaded, trained, train, held or train, cfg, rng, on_step)
            save_adapter(loaded.model, ADAPTER, cfg.lora, folder)
        finally:
            if cfg.checkpointing:
                loaded.model.activation_checkpointing_disable()
            loaded.model.eval()
            drop_lora(loaded.model, ADAPTER)
            loaded.adapters.force("")
    return replace(report, held_out=len(held))


def _train(
    loaded: LoadedModel,
    trained: list[torch.nn.Parameter],
    train: Sequence[ChatLesson],
    check: Sequence[ChatLesson],
    cfg: FinetuneCfg,
    rng: np.random.Generator,
    on_step: Callable[[int, float], None] | None,
) -> FinetuneReport:
    """Train, and leave the weights of the best check in force."""
    optimiser = torch.optim.AdamW(trained, lr=cfg.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, cfg))
    losses: list[float] = []
    checks: list[tuple[int, float]] = []
    best, kept = math.inf, [p.detach().clone() for p in trained]
    due = {round(cfg.steps * (k + 1) / cfg.checks) for k in range(cfg.checks)}
    for step in range(1, cfg.steps + 1):
        loaded.model.train()
        total = 0.0
        for _ in range(cfg.accumulate):
            rows = rng.integers(len(train), size=min(cfg.batch, len(train)))
            loss = lesson_loss(loaded, [train[row] for row in rows]) / cfg.accumulate
            if not torch.isfinite(loss):
                raise DataError(f"the loss is {float(loss)} at step {step}. Lower lr.")
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, cfg.grad_norm)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(total)
        if on_step is not None:
            on_step(step, total)
        if step in due:
            checks.append((step, _check(loaded, check, cfg.batch)))
            if checks[-1][1] < best:
                best, kept = checks[-1][1], [p.detach().clone() for p in trained]
    with torch.no_grad():
        for parameter, value in zip(trained, kept, strict=True):
            parameter.copy_(value)
    return FinetuneReport(
        loss=losses, checks=checks, best=best, lessons=len(train), held_out=len(check)
    )


def _rate(step: int, cfg: FinetuneCfg) -> float:
    """Share of the highest learning rate: a linear rise, then a cosine."""
    rise = max(1, round(cfg.warmup_share * cfg.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, cfg.steps - rise)))


def _check(loaded: LoadedModel, lessons: Sequence[ChatLesson], batch: int) -> float:
    """Mean loss on lessons, without learning from them."""
    loaded.model.eval()
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(lessons), batch):
            part = lessons[first : first + batch]
            total += float(lesson_loss(loaded, part)) * len(part)
    return total / len(lessons)


def lesson_loss(loaded: LoadedModel, lessons: Sequence[ChatLesson]) -> torch.Tensor:
    """Mean over lessons of the mean negative log-likelihood of the tokens of a right answer.

    Where several answers are right, what counts is the probability of any of them.
    """
    answers = [_answer_tokens(loaded, lesson) for lesson in lessons]
    batch = [
        _with_answer(loaded, lesson, rows[0])
        for lesson, rows in zip(lessons, answers, strict=True)
    ]
    longest = max(len(rows[0]) for rows in answers)
    inputs = loaded.inputs(batch)
    logits = loaded.model(**inputs, logits_to_keep=longest + 1, use_cache=False).logits[:, :-1]
    logp = logits.float().log_softmax(dim=-1)
    losses = []
    for row, rows in zip(logp, answers, strict=True):
        tail = row[
            longest - len(rows[0]) :
        ]  # prompts are padded on the left: answers end together
        tokens = torch.tensor(rows, device=row.device).T  # (length, answers)
        each = tail.gather(1, tokens)
        # A token that all answers share must count once, not once for each answer.
        repeated = (tokens[:, :, None] == tokens[:, None, :]).tril(-1).any(dim=2)
        losses.append(-each.masked_fill(repeated, -math.inf).logsumexp(dim=1).mean())
    return torch.stack(losses).mean()


def _answer_tokens(loaded: LoadedModel, lesson: ChatLesson) -> list[list[int]]:
    """Tokens of each right answer, the end of the turn included.

    Raises:
        DataError: Right answers differ in more than one token, so they cannot be taught together.
    """
    tokenizer = loaded.encoder.tokenizer
    end = tokenizer.eos_token_id
    rows = [
        [*tokenizer(text, add_special_tokens=False)["input_ids"], end]
        for text in (lesson.answer, *lesson.also_right)
    ]
    is_short = len({len(row) for row in rows}) == 1
    if not is_short or any(sum(a != b for a, b in zip(rows[0], r, strict=True)) > 1 for r in rows):
        raise DataError(
            f"answers {[lesson.answer, *lesson.also_right]} differ in more than one token."
        )
    return rows


def _with_answer(loaded: LoadedModel, lesson: ChatLesson, answer: Sequence[int]) -> Encoded:
    done = loaded.encoder.encode(lesson.request)
    done.ids = [*done.ids, *answer]
    done.types = [*done.types, *[0] * len(answer)]
    return done
