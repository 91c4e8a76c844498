"""A written function as a progress model like any other, and on disk.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Progress alone is what the function gives; as a potential it cannot change which policy is best
(`reward.shaping`), however wrong it is. Its progress also stands as the score of success, which a
detector calibrates and gates; by itself it is no probability.
"""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from robot_rl.config import from_plain, save_config
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.written.sandbox import Sandbox, SandboxCfg
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.syntax import CandidateError, Written, check_source
from robot_rl.types import F64

__all__ = ["WRITTEN_FILE", "Range", "WrittenModel"]

logger = logging.getLogger(__name__)

WRITTEN_FILE = "written.json"
FORMAT = 1
_MOST_ROWS = 50_000
"""States in one call: a limit on memory, which a function may use many times over."""
_EDGE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Range:
    """What counts as no progress and as done; progress = (value - low) / (high - low), clipped."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a range in which nothing rises."""
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ConfigError(f"range: low {self.low} must be below high {self.high}.")

    @classmethod
    def of(cls, values: F64, starts: F64, ends: F64) -> "Range":
        """The range of a function: 0 to 1 if it keeps to that, else as recorded.

        Args:
            values: (n,), at all recorded states.
            starts: Those at the first frame of each success.
            ends: Those at the last.

        Raises:
            CandidateError: Successes do not end above where they begin.
        """
        if values.min() >= -_EDGE and values.max() <= 1 + _EDGE:
            return cls()
        low, high = float(np.median(starts)), float(np.median(ends))
        if not low < high:
            raise CandidateError(
                f"successes begin at {low:.3g} and end at {high:.3g} (medians): progress must rise"
            )
        return cls(low=low, high=high)

    def __call__(self, values: F64) -> F64:
        """Progress in [0, 1]."""
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)


class WrittenModel:
    """Judges states by a function that a language model wrote, in a sandbox of its own.

    Args:
        written: The function, checked.
        schema: What its arguments are.
        scale: What counts as no progress and as done.
        version: Must rise whenever another function takes its place.
        sandbox: Where it runs; by default a new one.
    """

    kind = "written"

    def __init__(
        self,
        written: Written,
        schema: StateSchema,
        scale: Range,
        *,
        version: int = 1,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.written, self.schema, self.scale = written, schema, scale
        self._version = version
        self.sandbox = sandbox or Sandbox()
        told = json.dumps([written.source, schema.to_plain(), asdict(scale)], sort_keys=True)
        self._digest = hashlib.sha256(told.encode()).hexdigest()[:8]

    @property
    def capabilities(self) -> Capabilities:
        """Reads the state vector of each frame for itself."""
        return Capabilities(causal=True, multi_view=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The one instruction that it was written for."""
        return (self.schema.instruction,)

    @property
    def model_id(self) -> str:
        """Its kind, and a digest of function, fields and range."""
        return f"{self.kind}-{self._digest}"

    @property
    def version(self) -> int:
        """See `ProgressEstimate.version`."""
        return self._version

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; one without a state vector, or a function that fails, is invalid."""
        began_s, readable = time.monotonic(), [self._is_readable(query) for query in queries]
        rows = [q.proprio for q, fine in zip(queries, readable, strict=True) if fine]
        failure, values = "", np.empty(0)
        if rows:
            try:
                values = self.progress(np.concatenate([row for row in rows if row is not None]))
            except CandidateError as error:
                failure = f"the written function failed: {error}"
                logger.warning("%s: %s", self.model_id, failure)
        took_s = time.monotonic() - began_s
        estimates, at = [], 0
        for query, fine in zip(queries, readable, strict=True):
            if not fine or failure:
                why = failure or f"no state vector of {self.schema.size} numbers"
                estimates.append(self._invalid(len(query), took_s, why))
                continue
            estimates.append(self._estimate(values[at : at + len(query)], took_s))
            at += len(query)
        return estimates

    def progress(self, vectors: np.ndarray) -> F64:
        """Progress (n,) in [0, 1] of state vectors (n, size).

        Raises:
            CandidateError: The function fails on them.
            ShapeError: They are of another robot.
        """
        parts = []
        for first in range(0, len(vectors), _MOST_ROWS):
            columns = self.schema.columns(vectors[first : first + _MOST_ROWS])
            parts.append(self.scale(self.sandbox.run(self.written, columns).progress))
        return np.concatenate(parts)

    def save(self, folder: Path) -> Path:
        """Write function, fields and range; `load` checks them again."""
        folder.mkdir(parents=True, exist_ok=True)
        save_config(
            folder / WRITTEN_FILE,
            {
                "format": FORMAT,
                "kind": self.kind,
                "version": self._version,
                "source": self.written.source,
                "range": self.scale,
                "schema": self.schema,
                "sandbox": self.sandbox.cfg,
            },
        )
        return folder

    @classmethod
    def load(cls, folder: Path) -> "WrittenModel":
        """The model in a folder. Its function is checked as if it had just been written.

        Raises:
            CheckpointError: There is none, or it is damaged, or its function is not allowed.
        """
        path = folder / WRITTEN_FILE
        try:
            row = json.loads(path.read_text())
            if row["format"] != FORMAT:
                raise CheckpointError(
                    f"{path} has format {row['format']}, but this robot_rl reads {FORMAT}. "
                    "Search again."
                )
            schema = StateSchema.from_plain(row["schema"])
            return cls(
                check_source(row["source"], schema.names),
                schema,
                from_plain(Range, row["range"]),
                version=int(row["version"]),
                sandbox=Sandbox(from_plain(SandboxCfg, row["sandbox"])),
            )
        except CandidateError as error:
            raise CheckpointError(
                f"{path}: its function is refused: {error}. Do not use this file."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(
                f"{path} is no saved function: {error}. Give the folder that `robot-rl reward "
                "write` wrote."
            ) from error

    def close(self) -> None:
        """End the sandbox. Calling it twice is harmless; asking again starts another."""
        self.sandbox.close()

    def _is_readable(self, query: ProgressQuery) -> bool:
        return query.proprio is not None and query.proprio.shape[1] == self.schema.size

    def _estimate(self, values: F64, took_s: float) -> ProgressEstimate:
        progress = values.astype(np.float32)
        return ProgressEstimate(
            progress=progress,
            success=progress,
            sigma=np.zeros_like(progress),
            valid=np.ones(len(progress), bool),
            model_id=self.model_id,
            version=self._version,
            latency_s=took_s,
        )

    def _invalid(self, count: int, took_s: float, why: str) -> ProgressEstimate:
        about = {"model_id": self.model_id, "version": self._version, "latency_s": took_s}
        return ProgressEstimate.invalid(count, raw_text=why, **about)
