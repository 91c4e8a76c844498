"""Trains one network of the embedded progress model on demonstrations and failures.

learning:  transition → episode store → **progress model (training)** → replay → residual agent

What keeps a model of twenty demonstrations from believing anything that moves is what it is shown
beside them: windows that run backwards (ReWiND, arXiv 2505.10911), goals and instructions that do
not belong (counterfactual relabelling), the early parts of successes as not yet done (temporal
clipping, RoboReward, arXiv 2601.00675), episodes that begin on the way (progress is counted from
there), states that look like a later one in some of their numbers only (progress and success must
agree in all that matters), and failures, every frame of which must rank below the end of a success
(preferences, as in RoboMETER).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_rl.errors import NonFiniteError
from robot_rl.policy.encoders import random_shift
from robot_rl.policy.module_arrays import built_with_seed
from robot_rl.reward.corpus import Corpus
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.network import BINS, Glimpse, ProgressNet, expected, two_hot
from robot_rl.types import F32, I64

__all__ = ["Scaling", "train_member"]

_NEARLY_S = 0.35  # before the doubtful time: what is nearly done, and surely is not
_LEAST_LEFT = 0.01  # share of an episode that is left where a window begins
_LOTS = 4  # tries at drawing a later frame
_GAPS = (0.5, 1.0, 2.0)  # factors on the gap: keyframes are not evenly spaced


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Z-scores of the state vector, (D,) each; beyond five deviations all is alike."""

    mean: F32
    std: F32

    @classmethod
    def fit(cls, vectors: F32) -> "Scaling":
        """Fit on (N, D)."""
        mean = vectors.mean(0, dtype=np.float64)
        std = np.maximum(vectors.std(0, dtype=np.float64), 0.01)
        return cls(mean=mean.astype(np.float32), std=std.astype(np.float32))

    def __call__(self, vectors: F32) -> Tensor:
        """Z-scores (N, D)."""
        return torch.from_numpy(np.clip((vectors - self.mean) / self.std, -5, 5))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Draw:
    """B windows to learn from; NaN stands for a label that nobody can give.

    Attributes:
        rows: int64 (B, K).
        start, goal: int64 (B,).
        task: int64 (B,), index of the instruction.
        progress, success: float32 (B,).
        is_failure, is_end: bool (B,), what the preference compares.
        like: int64 (H, K), later windows, for the first H windows to look like in part.
        is_like: bool (H, D), in which numbers of the state vector they do.
    """

    rows: I64
    start: I64
    goal: I64
    task: I64
    progress: F32
    success: F32
    is_failure: np.ndarray
    is_end: np.ndarray
    like: I64
    is_like: np.ndarray


class _Sampler:
    """Draws windows from the episodes that a network may learn from."""

    def __init__(self, cfg: EmbeddedCfg, corpus: Corpus, episodes: I64, seed: int) -> None:
        self._cfg, self._corpus = cfg, corpus
        self._rng = np.random.default_rng(seed)
        rows = np.flatnonzero(np.isin(corpus.episode, episodes))
        is_demo = corpus.success[corpus.episode[rows]]
        self._demo, self._failed = rows[is_demo], rows[~is_demo]
        self._ends = self._demo[corpus.done[self._demo] == 1]
        self._on_the_way = rows[is_demo & (corpus.done[rows] == 0)]
        late = corpus.left_s[rows] < cfg.doubt_last_s + _NEARLY_S
        self._nearly = rows[is_demo & (corpus.done[rows] == 0) & late]
        self._ends_of = [
            corpus.last[episodes[(corpus.task[episodes] == task) & corpus.success[episodes]]]
            for task in range(len(corpus.tasks))
        ]
        self._windows = {
            (gap, rewound): corpus.windows(cfg.frames, gap * cfg.gap_s, rewound=rewound)
            for gap in _GAPS
            for rewound in (False, True)
        }

    def draw(self) -> _Draw:
        """One batch."""
        cfg, corpus, rng = self._cfg, self._corpus, self._rng
        half = round(cfg.batch * cfg.half_done) if corpus.vector.shape[1] else 0
        shares = [
            (self._on_the_way, half),  # first, see `_Draw.like`
            (self._failed, round(cfg.batch * cfg.failure_share)),
            (self._ends, round(cfg.batch * cfg.final_share)),
            (self._nearly, round(cfg.batch * cfg.nearly_done)),
        ]
        parts = [rng.choice(rows, count) for rows, count in shares if len(rows) and count]
        rest = max(cfg.batch - sum(len(part) for part in parts), 1)
        at = np.concatenate([*parts, rng.choice(self._demo, rest)])
        episode = corpus.episode[at]
        is_demo = corpus.success[episode]
        is_whole = np.arange(len(at)) >= half
        start = self._begun(at, episode)
        left, gone = 1 - corpus.share[start], corpus.share[at] - corpus.share[start]
        progress = np.where(is_demo, gone / np.maximum(left, _LEAST_LEFT), np.nan)
        progress = np.where(start == at, 0.0, progress)  # whatever it is, nothing was done yet
        success = np.where(corpus.done[at] < 0, np.nan, corpus.done[at])
        task, goal, is_wrong = self._asked(at, episode, is_demo)
        progress, success = np.where(is_wrong, 0.0, progress), np.where(is_wrong, 0.0, success)
        return _Draw(
            rows=np.maximum(self._cut(at), start[:, None]),
            start=start,
            goal=goal,
            task=task,
            progress=progress.astype(np.float32),
            success=success.astype(np.float32),
            is_failure=~is_demo & ~is_wrong & is_whole,
            is_end=(corpus.done[at] == 1) & ~is_wrong,
            like=self._cut(self._later(at[:half])),
            is_like=rng.random((half, corpus.vector.shape[1])) < cfg.half_done_numbers,
        )

    def _begun(self, at: I64, episode: I64) -> I64:
        """The row at which each window's episode is taken to begin: not always the first.

        What matters is how far it is from the start, wherever that was; a robot that stands still
        at any start has done nothing.
        """
        cfg, corpus, rng = self._cfg, self._corpus, self._rng
        start, lot = corpus.first[episode], rng.random(len(at))
        way = rng.random(len(at)) * (at - start)
        later = np.where(lot < 0.5 * cfg.restart, at, start + way.astype(np.int64))
        is_open = corpus.done[later] == 0  # at what may be the goal, nothing is left to do
        return np.where((lot < cfg.restart) & is_open, later, start)

    def _later(self, at: I64) -> I64:
        """For each window one of a demonstration that is farther; every other time its end."""
        corpus, rng = self._corpus, self._rng
        lot = rng.choice(self._demo, (_LOTS, len(at)))
        is_farther = corpus.share[lot] > corpus.share[at]
        found = lot[is_farther.argmax(0), np.arange(len(at))]
        is_end = (rng.random(len(at)) < 0.5) | ~is_farther.any(0)
        return np.where(is_end, rng.choice(self._ends, len(at)), found)

    def _cut(self, at: I64) -> I64:
        """Windows (B, K) that end at these rows, some backwards, of different spacing."""
        rewound = self._rng.random(len(at)) < self._cfg.rewind
        gap = self._rng.choice(_GAPS, len(at))
        rows = np.empty((len(at), self._cfg.frames), np.int64)
        for key, windows in self._windows.items():
            chosen = (gap == key[0]) & (rewound == key[1])
            rows[chosen] = windows[at[chosen]]
        return rows

    def _asked(self, at: I64, episode: I64, is_demo: np.ndarray) -> tuple[I64, I64, np.ndarray]:
        """Instruction and goal of each window, and whether they do not belong to it."""
        cfg, corpus, rng = self._cfg, self._corpus, self._rng
        task = corpus.task[episode].copy()
        goal = np.empty_like(at)
        for k, ends in enumerate(self._ends_of):
            goal[task == k] = rng.choice(ends, int((task == k).sum()))
        lot = rng.random(len(at))
        own = is_demo & (lot >= cfg.other_goal + cfg.wrong_goal)
        goal = np.where(own, corpus.last[episode], goal)
        # No goal is reached where a demonstration begins; only late frames are told so, since an
        # early one does look like such a goal.
        wrong = (lot < cfg.wrong_goal) & (corpus.share[at] > 0.5)
        began = self._demo[corpus.share[self._demo] < 0.3]
        goal = np.where(wrong, rng.choice(began, len(at)), goal)
        if len(corpus.tasks) > 1:
            swapped = rng.random(len(at)) < cfg.wrong_task
            other = (task + rng.integers(1, len(corpus.tasks), len(at))) % len(corpus.tasks)
            task = np.where(swapped, other, task)
            wrong = wrong | swapped
        return task, goal, wrong


def train_member(
    cfg: EmbeddedCfg,
    corpus: Corpus,
    scaling: Scaling,
    episodes: I64,
    *,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> ProgressNet:
    """Train one network on these episodes of the corpus; the same arguments give the same one.

    Args:
        cfg: How.
        corpus: All episodes.
        scaling: Of the state vector.
        episodes: Which of them may be learned from; a success of every task among them.
        seed: Of the initial weights, the windows and their disturbances.
        progress: Called with (gradient steps done, loss) about twenty times.

    Raises:
        NonFiniteError: Training diverged.
    """
    sizes = (corpus.vector.shape[1], corpus.cameras, cfg.width)
    net = built_with_seed(lambda: ProgressNet(*sizes), seed)
    sampler = _Sampler(cfg, corpus, episodes, seed)
    generator = torch.Generator().manual_seed(seed)
    frames = Glimpse(
        vector=scaling(corpus.vector),
        images={name: torch.from_numpy(corpus.images[name]) for name in corpus.cameras},
    )
    texts = torch.from_numpy(corpus.texts())
    optimiser = torch.optim.AdamW(
        net.parameters(), cfg.lr, weight_decay=cfg.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, cfg.lr, total_steps=cfg.steps + 1)
    net.train()
    for step in range(cfg.steps):
        loss = _loss(cfg, net, sampler.draw(), frames, texts, generator)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NonFiniteError("reward model: loss", value, f"Lower lr ({cfg.lr}).")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None and (step + 1) % max(1, cfg.steps // 20) == 0:
            progress(step + 1, value)
    return net.eval()


def _loss(
    cfg: EmbeddedCfg,
    net: ProgressNet,
    draw: _Draw,
    frames: Glimpse,
    texts: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Cross-entropy of progress and of success where they are known, plus the preference."""
    asked = np.concatenate([draw.rows.ravel(), draw.start, draw.goal])
    rows, back = np.unique(asked, return_inverse=True)  # each frame is encoded once
    codes = net.embed(_disturbed(cfg, frames[torch.from_numpy(rows)], generator))
    codes = codes[torch.from_numpy(back)]
    count, window = draw.rows.shape
    start, goal = codes[count * window :].split(count)
    seen = codes[: count * window].view(count, window, -1)
    if half := len(draw.like):
        mixed = net.embed(_disturbed(cfg, _half_done(draw, frames), generator))
        seen = torch.cat([mixed.view(half, window, -1), seen[half:]])
    logits = net(seen, start, goal, texts[torch.from_numpy(draw.task)])
    progress, success = torch.from_numpy(draw.progress), torch.from_numpy(draw.success)
    known = ~progress.isnan()
    loss = functional.cross_entropy(logits[known, :BINS], two_hot(progress[known]))
    asked_success = ~success.isnan()
    loss = loss + functional.binary_cross_entropy_with_logits(
        logits[asked_success, BINS], success[asked_success]
    )
    if draw.is_failure.any() and draw.is_end.any():
        mean = expected(logits[:, :BINS])
        failed, ends = mean[torch.from_numpy(draw.is_failure)], mean[torch.from_numpy(draw.is_end)]
        gap = cfg.preference_scale * (failed[:, None] - ends[None])
        loss = loss + cfg.preference * functional.softplus(gap).mean()
    return loss


def _half_done(draw: _Draw, frames: Glimpse) -> Glimpse:
    """The frames (H * K) of the first windows, with some numbers of an end in the state vector."""
    half, window = draw.like.shape
    seen = frames[torch.from_numpy(draw.rows[:half].ravel())]
    end = frames.vector[torch.from_numpy(draw.like.ravel())]
    is_like = torch.from_numpy(draw.is_like.repeat(window, axis=0))
    return Glimpse(vector=torch.where(is_like, end, seen.vector), images=seen.images)


def _disturbed(cfg: EmbeddedCfg, seen: Glimpse, generator: torch.Generator) -> Glimpse:
    """The frames with noise on the state, shifted and of another brightness."""
    noise = torch.randn(seen.vector.shape, generator=generator)
    images = {}
    for name, shot in seen.images.items():
        light = 1 + cfg.brightness * (2 * torch.rand(len(shot), 1, 1, 1, generator=generator) - 1)
        shifted = random_shift(shot, cfg.image_shift_px, generator)
        images[name] = (shifted.float() * light).clamp_(0, 255)
    return Glimpse(vector=seen.vector + cfg.vector_noise * noise, images=images)
