"""Instructions as vectors, without a language model: hashed pieces of words.

Words and runs of three letters each count at a place that their hash names (Weinberger et al.
2009). Nearly equal instructions get nearly equal vectors, which is all that a model of a handful
of tasks needs; what an instruction *means* is for the models that read.
"""

import re
import zlib
from collections.abc import Iterator

import numpy as np

from robot_rl.types import F32

__all__ = ["TEXT_DIM", "text_vector"]

TEXT_DIM = 64


def text_vector(instruction: str) -> F32:
    """(TEXT_DIM,) of length 1, or 0 for an empty instruction; case and punctuation are ignored."""
    vector = np.zeros(TEXT_DIM, np.float32)
    for piece in _pieces(instruction):
        # Not `hash`: that differs from one process to the next.
        code = zlib.crc32(piece.encode())
        vector[code % TEXT_DIM] += 1.0 if code >> 16 & 1 else -1.0
    length = np.linalg.norm(vector)
    return (vector / length).astype(np.float32) if length else vector


def _pieces(instruction: str) -> Iterator[str]:
    for word in re.findall(r"\w+", instruction.casefold()):
        yield word
        framed = f"<{word}>"
        yield from (framed[i : i + 3] for i in range(len(framed) - 2))
