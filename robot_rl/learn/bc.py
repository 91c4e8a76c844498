"""Behavior cloning: demonstrations → windows → a base policy, the best of its checkpoints.

learning:  episode store → windows → **bc** → frozen base policy → residual learning on top of it

The configuration is in `bc_cfg.py`. Read downwards: `fit`, and the choice of the checkpoint. How
one kind of network takes one step is in `pupil_ensemble.py` and `pupil_module.py`.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from robot_rl.learn.bc_cfg import BCCfg, PolicyKind
from robot_rl.learn.dataset import ChunkWindows
from robot_rl.learn.pupil import Pupil
from robot_rl.learn.pupil_ensemble import EnsemblePupil
from robot_rl.learn.pupil_module import ModulePupil
from robot_rl.policy.base import BasePolicy
from robot_rl.replay.trajectory import Trajectory

__all__ = ["BCCfg", "fit"]

logger = logging.getLogger(__name__)

_PUPILS: dict[PolicyKind, Callable[..., Pupil]] = {
    "mlp": EnsemblePupil,
    "act": ModulePupil,
    "flow": ModulePupil,
}


def fit(
    cfg: BCCfg,
    demos: Sequence[Trajectory],
    *,
    seed: int,
    score: Callable[[BasePolicy], float] | None = None,
    init: BasePolicy | None = None,
    weights: Sequence[float] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> BasePolicy:
    """Clone `demos` and return the best checkpoint; the same arguments give the same policy.

    Args:
        cfg: What to train and how.
        demos: Episodes whose executed actions are imitated.
        seed: Of the initial weights, the resampling and the batches.
        score: Success of a policy, higher is better, measured on *selection* seeds: never on those
            that the result is later evaluated on. Without it the error on `cfg.held_out` decides,
            or else the last checkpoint is taken.
        init: Policy of the same kind and sizes to start from, with its normaliser, to refresh a
            base on demonstrations and own successes.
        weights: How often each episode is drawn, relative to the others; all equal by default.
        progress: Called with (gradient steps done, training loss) about a hundred times.

    Raises:
        DataError: There are no steps, or the episodes or weights do not fit each other.
        NonFiniteError: The data hold NaN, or training diverged.
        ConfigError: `init` is of another kind or size.
    """
    windows = ChunkWindows.cut(demos, cfg.chunk, weights=weights)
    train, check = _split(windows, cfg, seed, holds_out=score is None)
    pupil = _PUPILS[cfg.kind](cfg, train, seed=seed, init=init)
    marks = {round(cfg.steps * (k + 1) / cfg.checks) for k in range(cfg.checks)}
    best = -np.inf
    every = max(1, cfg.steps // 100)
    for step in range(cfg.steps):
        loss = pupil.update(cfg.lr * 0.5 * (1 + np.cos(np.pi * step / cfg.steps)))
        done = step + 1
        if progress is not None and (done % every == 0 or done == cfg.steps):
            progress(done, loss)
        if done in marks:
            value = _value(pupil, score, check)
            logger.info("bc: step %d, loss %.4f, value %.4f", done, loss, value)
            if value >= best:  # of equals the later: it has seen more
                best = value
                pupil.keep()
    return pupil.best()


def _value(
    pupil: Pupil, score: Callable[[BasePolicy], float] | None, check: ChunkWindows | None
) -> float:
    """What a checkpoint is worth: its score, else minus its held-out error, else all the same."""
    if score is not None:
        return score(pupil.policy)
    return 0.0 if check is None else -pupil.error(check)


def _split(
    windows: ChunkWindows, cfg: BCCfg, seed: int, *, holds_out: bool
) -> tuple[ChunkWindows, ChunkWindows | None]:
    """Training and held-out windows, by whole episodes; None where nothing need be held out."""
    if not holds_out or cfg.held_out == 0:
        return windows, None
    episodes = np.unique(windows.episode[windows.weight > 0])
    count = int(np.ceil(cfg.held_out * len(episodes)))
    if count >= len(episodes):
        return windows, None
    held = np.random.default_rng((seed, 1)).choice(episodes, count, replace=False)
    is_held = np.isin(windows.episode, held)
    return windows.rows(~is_held), windows.rows(is_held)
