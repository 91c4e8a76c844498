"""The one interface of everything that judges progress: a question, an answer, a model.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

A model answers three different questions, and an answer keeps them apart: how far the task is
done (`progress`, which may shape), whether it is done (`success`, which a detector decides on),
and in which direction the last step went (`hop`). What a model could not judge (an answer that
cannot be parsed, a time-out, a frame unlike all it was trained on) is marked invalid and holds
NaN: a failure must never become a number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, DataError, NonFiniteError, ShapeError
from robot_rl.types import F32, F64, U8

__all__ = ["Bool", "Capabilities", "ProgressEstimate", "ProgressModel", "ProgressQuery"]

Bool = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProgressQuery:
    """T frames of one episode in the order of time, and what they are to be judged by.

    Attributes:
        stamps_s: float64 (T,), rising.
        task: The instruction, as a person would say it.
        frames: Per camera uint8 (T, h, w, 3) RGB; may be empty if there is `proprio`.
        proprio: float32 (T, D) or None: the episode's state vector, which is what the robot feels
            and, in state form, the task's tracked features.
        initial: Per camera uint8 (h, w, 3), how the episode began; default: the first frames.
        initial_proprio: float32 (D,), as it began; default: the first row.
        goal: Per camera uint8 (h, w, 3), how it looks when done; may be empty.
        goal_proprio: float32 (D,), the state when done, or None.
    """

    stamps_s: F64
    task: str
    frames: Mapping[str, U8] = field(default_factory=dict)
    proprio: F32 | None = None
    initial: Mapping[str, U8] = field(default_factory=dict)
    initial_proprio: F32 | None = None
    goal: Mapping[str, U8] = field(default_factory=dict)
    goal_proprio: F32 | None = None

    def __post_init__(self) -> None:
        """Refuse frames that are no frames, or of another number than the stamps."""
        t = len(self.stamps_s)
        if t == 0 or not (self.frames or self.proprio is not None):
            raise DataError("query: there is nothing to judge. Give frames, proprio or both.")
        if not np.isfinite(self.stamps_s).all() or (np.diff(self.stamps_s) < 0).any():
            raise DataError("query: stamps_s must be finite and rise. Sort the frames by time.")
        for name, rows in self.frames.items():
            _check_image(f"query: frames[{name}]", rows, (t, *rows.shape[1:3], 3))
        for what in ("initial", "goal"):
            for name, image in getattr(self, what).items():
                _check_image(f"query: {what}[{name}]", image, (*image.shape[:2], 3))
        if self.proprio is not None:
            width = self.proprio.shape[-1]
            _check_vector("query: proprio", self.proprio, (t, width))
            for what in ("initial_proprio", "goal_proprio"):
                if (row := getattr(self, what)) is not None:
                    _check_vector(f"query: {what}", row, (width,))

    def __len__(self) -> int:
        """Number of frames T."""
        return len(self.stamps_s)


def _check_image(name: str, image: np.ndarray, allowed: tuple[int, ...]) -> None:
    if image.dtype != np.uint8:
        raise DataError(f"{name} is of {image.dtype}, but must be uint8 RGB in 0..255.")
    if image.shape != allowed:
        raise ShapeError(name, image.shape, allowed)


def _check_vector(name: str, rows: np.ndarray, allowed: tuple[int, ...]) -> None:
    if rows.shape != allowed:
        raise ShapeError(name, rows.shape, allowed)
    if not np.isfinite(rows).all():
        raise NonFiniteError(name, "NaN or inf", "Discard the episode.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProgressEstimate:
    """What a model thinks of the T frames of a query; invalid frames hold NaN.

    Attributes:
        progress: float32 (T,) in [0, 1].
        success: float32 (T,), probability that the task is done; NaN if the model has no opinion.
        sigma: float32 (T,), standard deviation of `progress`; 0 if the model cannot tell.
        valid: bool (T,), whether the frame was judged at all.
        hop: float32 (T,) in [-1, 1], signed progress since the frame before, or None.
        model_id: Which model: its kind and a digest of its weights or prompt.
        version: Rises with every retraining; potentials of two versions are never compared.
        latency_s: How long the answer took.
        raw_text: What a language model said; "" for others.
    """

    progress: F32
    success: F32
    sigma: F32
    valid: Bool
    model_id: str
    version: int
    hop: F32 | None = None
    latency_s: float = 0.0
    raw_text: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and numbers where there is no judgement."""
        shape, valid = self.valid.shape, self.valid
        hop = np.where(valid, 0.0, np.nan) if self.hop is None else self.hop
        ranges = {"progress": (self.progress, 0, 1), "success": (self.success, 0, 1)}
        ranges |= {"sigma": (self.sigma, 0, np.inf), "hop": (hop, -1, 1)}
        for name, (values, low, high) in ranges.items():
            if values.shape != shape:
                raise ShapeError(f"estimate: {name}", values.shape, shape)
            if not np.isnan(values[~valid]).all():
                raise DataError(f"estimate: {name} of an invalid frame must be NaN.")
            judged = values[valid]
            if name == "success":
                judged = judged[~np.isnan(judged)]
            if not ((judged >= low) & (judged <= high)).all():
                raise DataError(
                    f"estimate: {name} of a valid frame is {judged}, but must be within "
                    f"{low} and {high}. Mark what cannot be judged as invalid."
                )

    @classmethod
    def invalid(
        cls, count: int, *, model_id: str, version: int, latency_s: float = 0.0, raw_text: str = ""
    ) -> "ProgressEstimate":
        """No judgement of `count` frames: a failed parse, a time-out, a refused question."""
        unknown = np.full(count, np.nan, np.float32)
        return cls(
            progress=unknown,
            success=unknown,
            sigma=unknown,
            valid=np.zeros(count, bool),
            model_id=model_id,
            version=version,
            latency_s=latency_s,
            raw_text=raw_text,
        )

    def __len__(self) -> int:
        """Number of frames T."""
        return len(self.valid)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a model can be asked."""

    causal: bool
    """Judges a frame by itself and earlier ones only, so it may be asked while a robot moves."""
    needs_goal: bool = False
    """Must be shown the goal; without, it answers invalid."""
    multi_view: bool = True
    """Makes use of more than one camera."""
    pairwise: bool = False
    """Judges hops between two frames; `hop` is given."""
    episode_level: bool = False
    """Judges an episode as a whole: one answer, at its last frame."""
    max_frames: int | None = None
    """Most frames of a query; None for any number."""

    def __post_init__(self) -> None:
        """Refuse a model that can see nothing."""
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames is {self.max_frames}, but must be at least 1 or None.")


@runtime_checkable
class ProgressModel(Protocol):
    """Anything that judges progress; those that learn also have `fit`, each with its own data."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked."""
        ...

    @property
    def model_id(self) -> str:
        """Which model this is; equal ids and versions give equal answers."""
        ...

    @property
    def version(self) -> int:
        """How often it was trained; see `ProgressEstimate.version`."""
        ...

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; what cannot be judged comes back invalid, in its place."""
        ...

    def save(self, folder: Path) -> Path:
        """Write the model, so that a `load` of its class gives it back."""
        ...
