"""Trains RoboMETER-style heads on one's own episodes, on hidden states of a frozen model.

learning:  episode store → **heads** → progress model → replay → residual agent → weights

The model reads every text once; what is then trained is small and takes seconds. Texts are thinned
episodes with their own task, with a wrong one (progress 0), and rewound (progress falls again);
pairs are a success beside a failure, or beside itself rewound. Failures teach success and
preference only: how far they came, nobody knows.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.episodes import RecordedEpisode, cameras_of
from robot_rl.reward.vlm.chat import ChatRequest
from robot_rl.reward.vlm.local import LocalEngine
from robot_rl.reward.vlm.robometer import frame_states, frames_request, pair_request
from robot_rl.reward.vlm.robometer_heads import (
    RobometerHeads,
    balanced_bce,
    progress_loss,
    save_heads,
)
from robot_rl.reward.vlm.views import chosen_camera
from robot_rl.types import F64, I64, U8

__all__ = ["HeadsCfg", "fit_heads"]

_DONE, _NOT_DONE = 0.95, 0.8
"""Shares of a success from which on it is done, and until which it is not; between, who knows."""


@dataclass(frozen=True, kw_only=True)
class HeadsCfg:
    """What the heads are trained on, and how long."""

    camera: str = ""
    """Camera that is looked at; "" for the first one."""
    max_frames: int = 8
    """Frames of one text, the start included; as the judge will use."""
    texts_per_episode: int = 8
    """Texts of each kind that are made of an episode, each with other frames."""
    pairs: int = 64
    """Pairs of attempts."""
    steps: int = 300
    """Updates, each on all texts and pairs."""
    lr: float = 1e-3
    """Learning rate."""
    seed: int = 0
    """Draws frames, pairs and first weights."""

    def __post_init__(self) -> None:
        """Refuse a training that trains nothing."""
        for name in ("texts_per_episode", "pairs", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")
        if self.max_frames < 4:
            raise ConfigError(f"max_frames is {self.max_frames}, but must be >= 4 to rewind.")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr is {self.lr}, but must be positive.")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Text:
    """A text to read, and what is true at the end of each frame; NaN where nobody knows."""

    request: ChatRequest
    progress: F64
    success: F64


def fit_heads(
    engine: LocalEngine,
    episodes: Mapping[str, RecordedEpisode],
    cfg: HeadsCfg,
    folder: Path,
    *,
    adapter: str = "",
) -> list[float]:
    """Train heads on judged episodes and write them to `folder`.

    Returns:
        The loss of each update.

    Raises:
        DataError: No episode succeeded.
    """
    judged = [each for each in episodes.values() if each.success is not None]
    if not any(each.success for each in judged):
        raise DataError("no episode succeeded, so nobody knows how far any had come. Record some.")
    rng = np.random.default_rng(cfg.seed)
    texts = [text for episode in judged for text in _texts(episode, judged, cfg, rng)]
    pairs = [_pair(judged, cfg, rng) for _ in range(cfg.pairs)]
    loaded = engine.load()
    with engine.exclusive(adapter), torch.no_grad():
        read = [frame_states(loaded, [text.request])[0].float() for text in texts]
        last = [frame_states(loaded, [request])[0][-1:].float() for request, _ in pairs]
    states, ends = torch.cat(read), torch.stack(last)
    progress = torch.tensor(np.concatenate([text.progress for text in texts]), dtype=torch.float32)
    success = torch.tensor(np.concatenate([text.success for text in texts]), dtype=torch.float32)
    second = torch.tensor([float(is_better) for _, is_better in pairs])
    device = states.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        heads = RobometerHeads(states.shape[-1]).to(device)
    losses = _train(
        heads, (states, progress.to(device), success.to(device), ends, second.to(device)), cfg
    )
    save_heads(heads, folder)
    return losses


def _train(heads: RobometerHeads, data: tuple[torch.Tensor, ...], cfg: HeadsCfg) -> list[float]:
    states, progress, success, ends, second = data
    optimiser = torch.optim.AdamW(heads.parameters(), lr=cfg.lr, weight_decay=0.01)
    known, judged = progress.isfinite(), success.isfinite()
    losses = []
    for _ in range(cfg.steps):
        logit = heads.success(states[judged])[:, 0]
        loss = progress_loss(heads, states[known], progress[known])
        loss = loss + balanced_bce(logit, success[judged])
        loss = loss + functional.binary_cross_entropy_with_logits(
            heads.prefers_second(ends), second
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def _texts(
    episode: RecordedEpisode,
    episodes: list[RecordedEpisode],
    cfg: HeadsCfg,
    rng: np.random.Generator,
) -> Iterator[_Text]:
    """Texts of an episode: as it was, rewound, and judged by another's task."""
    last = len(episode.t_s) - 1
    others = sorted({_task(each) for each in episodes} - {_task(episode)})
    for _ in range(cfg.texts_per_episode):
        for rows in (_rows(last, cfg, rng), _rewound(_rows(last, cfg, rng), rng)):
            share = rows / last
            unsure = (share > _NOT_DONE) & (share < _DONE)
            done = np.where(unsure, np.nan, share >= _DONE)
            if not episode.success:
                share, done = np.full(len(rows), np.nan), np.zeros(len(rows))
            request = frames_request(_task(episode), _frames(episode, rows, cfg))
            yield _Text(request=request, progress=share, success=done)
        if others:
            rows, nothing = _rows(last, cfg, rng), np.zeros(cfg.max_frames)
            request = frames_request(str(rng.choice(others)), _frames(episode, rows, cfg))
            yield _Text(request=request, progress=nothing, success=nothing)


def _pair(
    episodes: list[RecordedEpisode], cfg: HeadsCfg, rng: np.random.Generator
) -> tuple[ChatRequest, bool]:
    """Two attempts at one task, and whether the second is better."""
    good = [each for each in episodes if each.success]
    better = good[rng.integers(len(good))]
    failed = [x for x in episodes if x.success is False and _task(x) == _task(better)]
    rows = _rows(len(better.t_s) - 1, cfg, rng)
    worse, worse_rows = better, _rewound(rows, rng)
    if failed and rng.random() < 0.5:
        worse = failed[rng.integers(len(failed))]
        worse_rows = _rows(len(worse.t_s) - 1, cfg, rng)
    films = [_frames(worse, worse_rows, cfg), _frames(better, rows, cfg)]
    is_second_better = bool(rng.random() < 0.5)
    if not is_second_better:
        films.reverse()
    return pair_request(_task(better), films[0], films[1]), is_second_better


def _rows(last: int, cfg: HeadsCfg, rng: np.random.Generator) -> I64:
    """Rising frames (max_frames,): the start, others at random, and the end."""
    between = np.sort(rng.integers(0, last + 1, cfg.max_frames - 2))
    return np.concatenate([[0], between, [last]])


def _rewound(rows: I64, rng: np.random.Generator) -> I64:
    """As many frames, of which the last run backwards."""
    turn = int(rng.integers(len(rows) // 2, len(rows) - 1))
    back = rows[turn - 1 :: -1]
    return np.concatenate([rows[: turn + 1], back])[: len(rows)]


def _frames(episode: RecordedEpisode, rows: I64, cfg: HeadsCfg) -> U8:
    name = chosen_camera(cfg.camera, dict.fromkeys(cameras_of(episode)))
    return np.asarray(episode.obs[name], np.uint8)[rows]


def _task(episode: RecordedEpisode) -> str:
    return str(episode.attrs.get("task", ""))
