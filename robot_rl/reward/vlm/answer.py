"""Reads numbers and words out of what a model wrote; what cannot be read is None, never a number.

A judge's answer is data from outside: it may be cut off, contradict itself, leave its scale, hold
NaN or be a megabyte long. Every reader here is total (it never raises) and strict (one clear
answer, or none).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.reward.vlm.chat import ChatReply
from robot_rl.types import F64

__all__ = [
    "bounded",
    "choice_shares",
    "json_field",
    "json_number",
    "plain_number",
    "tagged_number",
]

_TAIL_CHARACTERS = 16384
"""Answers come last; nothing before this many characters is searched."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))\s*(%?)\s*")


def plain_number(text: str, low: float, high: float) -> float | None:
    """The number that `text` is, a percent sign aside, if it lies within [low, high]."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    value = float(found[1])
    return value if low <= value <= high else None


def tagged_number(text: str, tag: str, low: float, high: float) -> float | None:
    """The number in `<tag>…</tag>`; None unless all such tags hold one and the same number."""
    inside = re.findall(rf"<{tag}>([^<]{{0,64}})</{tag}>", text[-_TAIL_CHARACTERS:])
    values = {plain_number(each, low, high) for each in inside}
    return values.pop() if len(values) == 1 else None


def json_field(text: str, key: str) -> Any:
    """The value of `key` in the last JSON object that has it; None if there is none.

    Models reason before they answer and wrap JSON in fences, so every "{" may start the answer.
    """
    text = text[-_TAIL_CHARACTERS:]
    decoder = json.JSONDecoder(parse_constant=_refuse)
    value, end = None, 0
    for start in (found.start() for found in re.finditer(r"\{", text)):
        if start < end:
            continue  # inside an object that was read already
        try:
            row, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, Mapping) and key in row:
            value = row[key]
    return value


def _refuse(constant: str) -> float:
    """JSON has no NaN and no Infinity, though Python's reader takes them."""
    raise ValueError(f"{constant} is no JSON")


def json_number(text: str, key: str, low: float, high: float) -> float | None:
    """The number under `key`, if it is one (not a string, not a bool) within [low, high]."""
    return bounded(json_field(text, key), low, high)


def bounded(value: Any, low: float, high: float) -> float | None:
    """`value` if it is a finite number within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high and math.isfinite(value) else None


def choice_shares(reply: ChatReply, count: int, min_mass: float) -> F64 | None:
    """Probability of each choice among the choices.

    Args:
        reply: With `choice_logp`.
        count: How many choices were asked for.
        min_mass: Probability that all choices must have together: below it the model wanted to say
            something else, and the ratio of two accidents is no judgement.

    Returns:
        (count,) that sums to 1, or None.
    """
    logp = reply.choice_logp
    if reply.failure or logp is None or logp.shape != (count,) or not np.isfinite(logp).all():
        return None
    if (logp > 1e-3).any() or np.exp(logp).sum() < min_mass:
        return None
    share = np.exp(logp - logp.max())
    return share / share.sum()
