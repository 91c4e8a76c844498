"""What a check found: one line of the doctor's table, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Status"]

Status = Literal["ok", "slow", "absent", "broken"]
"""`slow` works, worse than it could; `absent` is optional; `broken` must be mended."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that works on this machine, or does not.

    Attributes:
        name: The thing.
        status: How it stands.
        detail: What was measured or seen.
        mend: What to do if it is not well: a command where there is one.
    """

    name: str
    status: Status
    detail: str
    mend: str = ""
