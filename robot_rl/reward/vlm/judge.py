"""What all chat judges share: ask the engine, read the replies, say what cannot be read.

learning:  transition → episode store → **progress model** → replay → residual agent → weights
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from robot_rl.config import save_config
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.vlm.chat import ChatEngine, ChatReply, ChatRequest, ask_grouped
from robot_rl.types import F64

__all__ = ["JUDGE_FILE", "ChatJudge", "JudgeCounts", "Judgement", "save_judge"]

JUDGE_FILE = "judge.json"

_RAW_TEXT_CHARACTERS = 2000


@dataclass(kw_only=True)
class JudgeCounts:
    """What became of a judge's requests.

    Attributes:
        asked: Requests sent.
        failed: Replies that did not come: time-out, refusal, cut off.
        unreadable: Frames without judgement though every reply came.
    """

    asked: int = 0
    failed: int = 0
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What a judge read from its replies, (T,) each; NaN where a reply could not be read."""

    progress: F64
    success: F64 | None = None
    sigma: F64 | None = None
    hop: F64 | None = None


class ChatJudge(ABC):
    """A `ProgressModel` that asks a vision-language model; subclasses know prompt and parser."""

    kind: ClassVar[str]

    def __init__(self, engine: ChatEngine, cfg: Any, version: int = 0) -> None:
        self.engine = engine
        self.cfg = cfg
        self.version = version
        self.counts = JudgeCounts()

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can be asked."""

    @abstractmethod
    def _requests(self, query: ProgressQuery) -> list[ChatRequest]:
        """All requests about a query that has frames."""

    @abstractmethod
    def _read(self, query: ProgressQuery, replies: Sequence[ChatReply]) -> Judgement:
        """What the replies to those requests say."""

    @property
    def model_id(self) -> str:
        """Kind, model, and a digest of settings and prompt."""
        # Whatever camera the settings name, the probe has it; "" stands for the first one.
        names = {"", *(str(value) for value in vars(self.cfg).values())}
        blank = np.zeros((2, 1, 1, 3), np.uint8)
        probe = ProgressQuery(
            stamps_s=np.array([0.0, 1.0]),
            task="{task}",
            frames=dict.fromkeys(sorted(names), blank),
        )
        asked = [part for r in self._requests(probe) for part in r.parts if isinstance(part, str)]
        digest = hashlib.sha256(repr((self.cfg, asked)).encode()).hexdigest()[:8]
        return f"{self.kind}:{self.engine.model_id}:{digest}"

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; all requests of all queries reach the engine as one batch."""
        groups = [self._requests(query) if query.frames else [] for query in queries]
        start_s = time.monotonic()
        answers = ask_grouped(self.engine, groups)
        took_s = time.monotonic() - start_s
        return [self._judge(q, a, took_s) for q, a in zip(queries, answers, strict=True)]

    def _judge(
        self, query: ProgressQuery, replies: Sequence[ChatReply], took_s: float
    ) -> ProgressEstimate:
        raw_text = "\n".join(reply.failure or reply.text for reply in replies)
        about = {
            "model_id": self.model_id,
            "version": self.version,
            "latency_s": took_s,
            "raw_text": raw_text[:_RAW_TEXT_CHARACTERS],
        }
        failed = sum(bool(reply.failure) for reply in replies)
        self.counts.asked += len(replies)
        self.counts.failed += failed
        if not replies:
            return ProgressEstimate.invalid(len(query), **about)
        said = self._read(query, replies)
        parts = [said.progress] + [x for x in (said.sigma, said.hop) if x is not None]
        valid = np.asarray(np.isfinite(np.stack(parts)).all(axis=0), bool)
        if failed == 0:
            self.counts.unreadable += int((~valid).sum())

        def kept(values: F64 | None, default: float) -> np.ndarray:
            rows = np.full(len(query), default) if values is None else values
            return np.where(valid, rows, np.nan).astype(np.float32)

        return ProgressEstimate(
            progress=kept(said.progress, np.nan),
            success=kept(said.success, np.nan),
            sigma=kept(said.sigma, 0.0),
            hop=None if said.hop is None else kept(said.hop, 0.0),
            valid=valid,
            **about,
        )

    def save(self, folder: Path) -> Path:
        """Write which judge this is and what it asks; weights stay where the engine found them."""
        return save_judge(self, folder)


def save_judge(judge: Any, folder: Path) -> Path:
    """Write a judge's kind and settings, and those of its engine; see `saved.load_judge`."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "judge": judge.kind,
        "judge_cfg": judge.cfg,
        "engine": type(judge.engine.cfg).__name__,
        "engine_cfg": judge.engine.cfg,
        "version": judge.version,
    }
    save_config(folder / JUDGE_FILE, row)
    return folder
