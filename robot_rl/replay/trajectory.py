"""One episode in memory: what collection makes, the store keeps, and learning reads.

learning:  **transition → episode** store → progress model → replay → residual agent → weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.errors import DataError, NonFiniteError
from robot_rl.types import F32, U8

__all__ = ["CONTROL_SOURCES", "Trajectory"]

CONTROL_SOURCES = ("policy", "base", "scripted", "human", "blend")
"""Who drove a step; `control_source` holds indices into this tuple."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """An episode of T steps; observations have T + 1 rows, the last one after the last action.

    Attributes:
        obs: "state" float32 (T + 1, d), and per camera uint8 (T + 1, h, w, 3).
        executed: float32 (T, a), the action that the robot really carried out; what critics learn.
        requested: float32 (T, a), the action that was asked for before safety.
        base: float32 (T, a) or None, the frozen base's action at each step.
        next_base: float32 (a,) or None, the base's action at the last observation (for time-outs).
        reward: float32 (T,).
        terminated: True if the episode ended by success or a safety stop, False if by the horizon.
        success: Whether it succeeded; None if nobody has said.
        control_source: uint8 (T,), indices into `CONTROL_SOURCES`.
        t_s: float64 (T + 1,), stamps of the observations in the clock of the port.
        attrs: JSON-able facts: task, seed, policy, operator, who labelled the outcome ...
    """

    obs: Mapping[str, F32 | U8]
    executed: F32
    requested: F32
    reward: F32
    terminated: bool
    success: bool | None
    control_source: U8
    t_s: np.ndarray
    base: F32 | None = None
    next_base: F32 | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an episode whose arrays disagree in length or hold NaN."""
        t = len(self.executed)
        lengths = {"reward": (len(self.reward), t), "requested": (len(self.requested), t)}
        lengths |= {"control_source": (len(self.control_source), t), "t_s": (len(self.t_s), t + 1)}
        lengths |= {f"obs[{k}]": (len(v), t + 1) for k, v in self.obs.items()}
        if self.base is not None:
            lengths["base"] = (len(self.base), t)
        for name, (received, allowed) in lengths.items():
            if received != allowed:
                raise DataError(
                    f"episode of {t} steps: {name} has {received} rows, but must have {allowed}."
                )
        for name in ("executed", "requested", "reward"):
            if not np.isfinite(getattr(self, name)).all():
                raise NonFiniteError(f"episode: {name}", "NaN or inf", "Discard the episode.")
        if not np.isfinite(self.obs["state"]).all():
            raise NonFiniteError("episode: obs[state]", "NaN or inf", "Discard the episode.")

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.executed)
