"""One answer of the language model and all that became of it; what the archive of a search holds.

learning:  language model → **candidate** → figures, trial → language model (again)
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_rl.config import from_plain, to_plain
from robot_rl.reward.written.model import Range
from robot_rl.reward.written.scoring import Figures

__all__ = ["Candidate", "Trial"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a short training with the function as a potential came to.

    Attributes:
        success: Rate of success at its end.
        words: For people and the language model.
    """

    success: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer.

    Attributes:
        round, index: Which one, from 0.
        answer: What the language model wrote, whole.
        source: The function as it is run; "" if there is none that may be.
        failure: Why it was refused; "" if it was not.
        scale: What counts as no progress and as done; None if it was refused.
        figures: What it is worth; None if it was refused.
        trial: What training with it came to; None if it was not tried.
    """

    round: int
    index: int
    answer: str
    source: str = ""
    failure: str = ""
    scale: Range | None = None
    figures: Figures | None = None
    trial: Trial | None = None

    @property
    def name(self) -> str:
        """Short and the same for the same function."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:8]

    @property
    def rank(self) -> tuple[float, float]:
        """What candidates are chosen by, the highest first: training, then figures."""
        if self.figures is None:
            return (-1.0, -1.0)
        return (self.trial.success if self.trial else -1.0, self.figures.worth)

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return to_plain(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> "Candidate":
        """What `to_plain` gave.

        Raises:
            ConfigError: A field is missing, unknown or of another type.
        """
        return from_plain(cls, data, "candidate")
