"""How a judge's word becomes a reward: what a user chooses.

learning:  episode → **verdict, potentials → reward** → residual agent → weights
"""

from dataclasses import dataclass, field
from typing import Literal

from robot_rl.reward.alignment import AlignmentCfg
from robot_rl.reward.shaping import ShapingCfg

__all__ = ["RewardCfg"]


@dataclass(frozen=True, kw_only=True)
class RewardCfg:
    """How a judge's word becomes a reward."""

    auxiliary: Literal["potential", "none", "naive"] = "potential"
    """What is paid beside success: potentials, nothing, or the plain difference of progress."""
    shaping: ShapingCfg = field(default_factory=ShapingCfg)
    """How much progress pays."""
    alignment: AlignmentCfg = field(default_factory=AlignmentCfg)
    """How own episodes decide whether progress can be trusted."""
    late: bool = False
    """Judge episodes in a thread once they are over: for judges that take longer than a step. They
    then end by time-out, or by a person's word."""
    ask_every: int = 0
    """Of every so many episodes a person (in the twin: the task) is asked how it ended; 0: none.
    What was asked is the only thing that the judge is trained on again."""
