"""What a judge asks and what comes back, whoever carries it: the seam between prompts and engines.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

A judge (`grm`, `roboreward`, `lrm`, `gvl`, `logprob`) turns a query into requests and replies into
numbers; an engine (`local`, `server`) turns a request into a reply. A reply that did not come, or
came late or cut off, says so in `failure`: it is never an exception that loses the rest of the
batch, and never a number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from robot_rl.errors import ConfigError, ShapeError
from robot_rl.types import F64, U8

__all__ = ["ChatEngine", "ChatReply", "ChatRequest", "Part", "Video", "ask_grouped", "check_image"]


def check_image(name: str, image: np.ndarray) -> U8:
    """Return `image` if it is uint8 (H, W, 3), the only form that engines take.

    Raises:
        ShapeError: It has another shape.
        ConfigError: It is of another dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ShapeError(name, image.shape, (*image.shape[:2], 3)[:3])
    if image.dtype != np.uint8:
        raise ConfigError(f"{name} is {image.dtype}, but must be uint8 RGB. Scale it to 0..255.")
    return image


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """Frames that the model sees as one film, not as separate images.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB, T >= 1.
        fps: True rate of these frames [1/s]; the model reads times from it.
    """

    frames: U8
    fps: float

    def __post_init__(self) -> None:
        """Refuse an empty film, or one without a rate."""
        if self.frames.ndim != 4 or len(self.frames) == 0:
            raise ShapeError("video", self.frames.shape, (1, *self.frames.shape[1:]))
        check_image("video frame", self.frames[0])
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps is {self.fps}, but must be positive. Give the true rate.")


Part: TypeAlias = "str | U8 | Video"
"""A piece of a user turn: text, one image uint8 (H, W, 3), or a film."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChatRequest:
    """One user turn.

    Attributes:
        parts: Text and images in the order in which the model sees them.
        max_new_tokens: Longest answer.
        answer_start: Words that the answer is made to begin with; they do not stand in the reply.
        choices: If given, nothing is generated: the log-probability of each is asked, as what
            follows `answer_start`.
        raw: No chat template: the answer continues the text itself.
        adapter: Which fine-tuned head of the model answers; "" for the model as it is.
        temperature: 0 for the likeliest answer, which judges want; above, answers differ.
    """

    parts: tuple[Part, ...]
    max_new_tokens: int = 64
    answer_start: str = ""
    choices: tuple[str, ...] = ()
    raw: bool = False
    adapter: str = ""
    temperature: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no engine can answer."""
        if not self.parts:
            raise ConfigError("a request has no parts, but must have text or images.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}, but must be >= 1.")
        if not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}, but must be within 0 and 2.")
        if any(not choice for choice in self.choices):
            raise ConfigError(f"choices are {self.choices}, but none may be empty.")
        for part in self.parts:
            if isinstance(part, np.ndarray):
                check_image("image", part)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChatReply:
    """The answer to one request, or why there is none.

    Attributes:
        text: What the model wrote; "" if choices were asked for.
        choice_logp: float64 (n,) natural log-probability of each choice, if they were asked for.
        failure: "" if the reply can be read, else why not.
        latency_s: From sending to receiving, waiting in a queue included.
    """

    text: str = ""
    choice_logp: F64 | None = None
    failure: str = ""
    latency_s: float = 0.0


class ChatEngine(Protocol):
    """Carries requests to a vision-language model."""

    @property
    def cfg(self) -> Any:
        """The frozen settings it was made from; enough to make it again."""
        ...

    @property
    def model_id(self) -> str:
        """The model's name, kept with every label."""
        ...

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One reply for each request, in order."""
        ...


def ask_grouped(
    engine: ChatEngine, groups: Sequence[Sequence[ChatRequest]]
) -> list[list[ChatReply]]:
    """Answer many queries' requests as one batch, and hand them back query by query."""
    replies = iter(engine.answer([request for group in groups for request in group]))
    return [[next(replies) for _ in group] for group in groups]
