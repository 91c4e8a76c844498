"""RoboMETER-style: heads on a vision-language model that read progress where each frame ends.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

The task and up to a few frames are one text; attention is causal, so what the model knows at the
end of a frame comes from it and earlier ones only, and one forward pass judges all frames. Where
RoboMETER adds a learned token after each frame we read at the token that ends an image, so that
any Qwen-VL checkpoint stays as it is. Heads: progress over bins, success, and which of two
attempts is better. Ref: RoboMETER (recipe: C51 over 10 bins, balanced BCE, pairwise BCE).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from robot_rl.config import config_hash
from robot_rl.errors import ConfigError
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.vlm.chat import ChatRequest
from robot_rl.reward.vlm.judge import save_judge
from robot_rl.reward.vlm.local import LoadedModel, LocalEngine
from robot_rl.reward.vlm.robometer_heads import RobometerHeads, load_heads
from robot_rl.reward.vlm.views import chosen_camera, initial_image
from robot_rl.types import F64, I64, U8

__all__ = ["RobometerCfg", "RobometerJudge", "frame_states", "frames_request", "pair_request"]


def frames_request(task: str, frames: U8) -> ChatRequest:
    """The task and frames (T, H, W, 3), oldest first, as one text to be read, not answered."""
    return ChatRequest(
        parts=(f"Task: {task}\nAn attempt, frame by frame:", *frames), max_new_tokens=1
    )


def pair_request(task: str, first: U8, second: U8) -> ChatRequest:
    """Two attempts at a task, each (T, H, W, 3), as one text."""
    return ChatRequest(
        parts=(f"Task: {task}\nAttempt A:", *first, "Attempt B:", *second), max_new_tokens=1
    )


def frame_states(loaded: LoadedModel, requests: Sequence[ChatRequest]) -> list[torch.Tensor]:
    """Hidden states (T, d) at the end of each frame, for each request."""
    batch = [loaded.encoder.encode(request) for request in requests]
    inputs = loaded.inputs(batch)
    hidden = loaded.model.model(**inputs).last_hidden_state
    ends = inputs["input_ids"] == loaded.encoder.image_end_id
    return [states[where] for states, where in zip(hidden, ends, strict=True)]


@dataclass(frozen=True, kw_only=True)
class RobometerCfg:
    """Which heads, and what they are shown."""

    heads: Path
    """Folder of the trained heads: `heads.json` and `heads.safetensors`."""
    camera: str = ""
    """Camera that is looked at; "" for the first one."""
    max_frames: int = 8
    """Most frames of one text, the start included; longer episodes are split, each part spanning
    the whole of it, never its last frames only."""
    adapter: str = ""
    """Adapter of the model that the heads were trained with; "" for the model as it is."""

    def __post_init__(self) -> None:
        """Refuse a text without room for a frame beside the start."""
        if self.max_frames < 2:
            raise ConfigError(f"max_frames is {self.max_frames}, but must be at least 2.")


class RobometerJudge:
    """A `ProgressModel` whose numbers are read from hidden states, not from words."""

    kind = "robometer"

    def __init__(self, engine: LocalEngine, cfg: RobometerCfg, version: int = 0) -> None:
        self.engine = engine
        self.cfg = cfg
        self.version = version
        self._heads: RobometerHeads | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Causal, one camera, no goal."""
        return Capabilities(causal=True, multi_view=False)

    @property
    def model_id(self) -> str:
        """Kind, model, and a digest of the settings."""
        return f"{self.kind}:{self.engine.model_id}:{config_hash(self.cfg)[:8]}"

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; one without frames is invalid."""
        start_s = time.monotonic()
        loaded = self.engine.load()
        found = []
        for query in queries:
            rows = self._read(loaded, query) if query.frames else np.full((len(query), 3), np.nan)
            valid = np.asarray(np.isfinite(rows).all(axis=1), bool)
            rows = np.where(valid[:, None], rows, np.nan).astype(np.float32)
            found.append(
                ProgressEstimate(
                    progress=rows[:, 0],
                    sigma=rows[:, 1],
                    success=rows[:, 2],
                    valid=valid,
                    model_id=self.model_id,
                    version=self.version,
                    latency_s=time.monotonic() - start_s,
                )
            )
        return found

    def _parts(self, count: int) -> list[I64]:
        parts = -(-count // (self.cfg.max_frames - 1))
        return [np.arange(first, count, parts) for first in range(parts)]

    def _read(self, loaded: LoadedModel, query: ProgressQuery) -> F64:
        """Progress, its spread and success of each frame, (T, 3)."""
        camera = chosen_camera(self.cfg.camera, query.frames)
        start = initial_image(query, camera)[None]
        parts, rows = self._parts(len(query)), np.full((len(query), 3), np.nan)
        heads = self._heads_on(loaded)
        with self.engine.exclusive(self.cfg.adapter), torch.inference_mode():
            for part in parts:
                frames = np.concatenate([start, query.frames[camera][part]])
                (states,) = frame_states(loaded, [frames_request(query.task, frames)])
                progress, sigma, success = heads.judge(states[1:])
                rows[part] = torch.stack([progress, sigma, success], dim=1).cpu().numpy()
        return rows

    def _heads_on(self, loaded: LoadedModel) -> RobometerHeads:
        if self._heads is None:
            self._heads = load_heads(self.cfg.heads).to(loaded.model.device).eval()
        return self._heads

    def save(self, folder: Path) -> Path:
        """Write which judge this is; model and heads stay where they are."""
        return save_judge(self, folder)
