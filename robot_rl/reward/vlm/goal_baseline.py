"""CLIP and SigLIP as judges: how near an image is to the goal, along the way from a baseline.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Whatever does not distinguish the goal from the baseline is projected away, in part.
Ref: VLM-RM, arXiv 2310.12921, equation 3.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robot_rl.config import config_hash
from robot_rl.errors import ConfigError, NonFiniteError, ShapeError
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.vlm.judge import save_judge
from robot_rl.reward.vlm.views import chosen_camera, goal_image, initial_image
from robot_rl.types import F64, U8

__all__ = [
    "GoalBaselineCfg",
    "GoalBaselineJudge",
    "goal_baseline_progress",
    "goal_baseline_reward",
]


def goal_baseline_reward(x: F64, goal: F64, baseline: F64, alpha: float) -> F64:
    """R = 1 − ½‖P(x − g)‖² with P = α·ddᵀ/‖d‖² + (1 − α)·I and d = g − b.

    Args:
        x: (n, d) embeddings of images; any length, they are brought to unit length.
        goal: (d,) embedding of the goal.
        baseline: (d,) embedding of the state before anything was done.
        alpha: 0 compares with the goal alone (cosine), 1 looks along the way only.

    Raises:
        ShapeError: The sizes differ.
        ConfigError: alpha is outside [0, 1], or goal and baseline are the same.
    """
    if x.ndim != 2 or goal.shape != x.shape[1:] or baseline.shape != goal.shape:
        raise ShapeError("goal and baseline", (*goal.shape, *baseline.shape), x.shape[1:] * 2)
    if not 0.0 <= alpha <= 1.0:
        raise ConfigError(f"alpha is {alpha}, but must be within 0 and 1.")
    x, goal, baseline = _unit(x), _unit(goal), _unit(baseline)
    way = goal - baseline
    length2 = float(way @ way)
    if length2 < 1e-10:
        raise ConfigError(
            "goal and baseline have the same embedding. Describe them differently, or give images."
        )
    off = x - goal
    along = np.outer(off @ way / length2, way)
    projected = alpha * along + (1.0 - alpha) * off
    return 1.0 - 0.5 * (projected**2).sum(axis=1)


def goal_baseline_progress(x: F64, goal: F64, baseline: F64, alpha: float) -> F64:
    """The reward (n,) on a scale where the baseline is 0 and the goal is 1, clipped."""
    reward = goal_baseline_reward(x, goal, baseline, alpha)
    (floor,) = goal_baseline_reward(baseline[None], goal, baseline, alpha)
    return np.clip((reward - floor) / (1.0 - floor), 0.0, 1.0)


def _unit(v: F64) -> F64:
    """Vectors of length 1 along the last axis."""
    norm = np.linalg.norm(v, axis=-1, keepdims=True)
    if not np.isfinite(norm).all() or (norm == 0).any():
        raise NonFiniteError("embedding", norm.ravel()[:3], "Look at the image and the model.")
    return v / norm


@dataclass(frozen=True, kw_only=True)
class GoalBaselineCfg:
    """What is looked at, and what it is compared with."""

    camera: str = ""
    """Camera that is looked at; "" for the first one."""
    alpha: float = 0.5
    """How much of what does not lie on the way to the goal is projected away."""
    goal_text: str = "a robot has done this: {task}"
    """Describes the goal where no goal image is given; {task} is the instruction."""
    baseline_text: str = "a robot"
    """Describes the state before anything was done, where no goal image is given."""

    def __post_init__(self) -> None:
        """Refuse an alpha that is no share."""
        if not 0.0 <= self.alpha <= 1.0:
            raise ConfigError(f"alpha is {self.alpha}, but must be within 0 and 1.")


class EmbeddingEngine(Protocol):
    """Embeds images and texts in one space."""

    @property
    def cfg(self) -> Any:
        """The frozen settings it was made from."""
        ...

    @property
    def model_id(self) -> str:
        """The model's name, kept with every label."""
        ...

    def images(self, images: Sequence[U8]) -> F64:
        """Embeddings (n, d)."""
        ...

    def texts(self, texts: Sequence[str]) -> F64:
        """Embeddings (n, d)."""
        ...


class GoalBaselineJudge:
    """A `ProgressModel` without training: goal and start as images if given, else as texts."""

    kind = "goal_baseline"

    def __init__(self, engine: EmbeddingEngine, cfg: GoalBaselineCfg, version: int = 0) -> None:
        self.engine = engine
        self.cfg = cfg
        self.version = version

    @property
    def capabilities(self) -> Capabilities:
        """Causal, one camera; a goal image helps and is not needed."""
        return Capabilities(causal=True, multi_view=False)

    @property
    def model_id(self) -> str:
        """Kind, model, and a digest of the settings."""
        return f"{self.kind}:{self.engine.model_id}:{config_hash(self.cfg)[:8]}"

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; embeddings that cannot be compared make it invalid."""
        return [self._judge(query) for query in queries]

    def _judge(self, query: ProgressQuery) -> ProgressEstimate:
        start_s = time.monotonic()
        unknown = np.full(len(query), np.nan, np.float32)
        progress, said = None, "no frames"
        if query.frames:
            try:
                progress = self._progress(query).astype(np.float32)
            except (NonFiniteError, ConfigError) as error:
                said = str(error)
        about = {
            "model_id": self.model_id,
            "version": self.version,
            "latency_s": time.monotonic() - start_s,
        }
        if progress is None:
            return ProgressEstimate.invalid(len(query), **about, raw_text=said)
        return ProgressEstimate(
            progress=progress,
            success=unknown,
            sigma=np.zeros_like(progress),
            valid=np.ones(len(query), bool),
            **about,
        )

    def _progress(self, query: ProgressQuery) -> F64:
        camera = chosen_camera(self.cfg.camera, query.frames)
        goal = goal_image(query, camera)
        if goal is None:
            rows = self.engine.images(list(query.frames[camera]))
            ends = self.engine.texts(
                [self.cfg.goal_text.replace("{task}", query.task), self.cfg.baseline_text]
            )
        else:
            images = [*query.frames[camera], goal, initial_image(query, camera)]
            found = self.engine.images(images)
            rows, ends = found[:-2], found[-2:]
        return goal_baseline_progress(rows, ends[0], ends[1], self.cfg.alpha)

    def save(self, folder: Path) -> Path:
        """Write which judge this is; weights stay where the engine found them."""
        return save_judge(self, folder)
