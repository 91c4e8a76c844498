"""Whether progress leads where success is: how far the auxiliary reward may be trusted.

learning:  progress model → **alignment with what succeeded** → shaped → residual agent → weights

Shaping by a potential cannot change which policy is best, but one that points elsewhere makes the
way there longer (BARFI, arXiv 2310.19007, learns such weights by a bi-level gradient; it needs one
through the whole learning). The primary reward decides here, too, but by counting: over the latest
own episodes progress must rise along those that succeeded, and must be higher where they ended
than anywhere in those that failed. What is right half of the time is worth nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F32

__all__ = ["Alignment", "AlignmentCfg", "alignment_of"]


@dataclass(frozen=True, kw_only=True)
class AlignmentCfg:
    """How much evidence turns the auxiliary reward off."""

    episodes: int = 40
    """Latest own episodes that count; 0 trusts progress whatever they say."""
    prior: float = 2.0
    """Episodes' worth of trust at the start, when there is nothing to go by."""
    full: float = 0.75
    """Share of comparisons that must be right for full weight; at a half there is none."""

    def __post_init__(self) -> None:
        """Refuse what would never trust, or never look."""
        if self.episodes < 0 or self.prior <= 0 or not 0.5 < self.full <= 1:
            raise ConfigError(
                f"alignment: episodes {self.episodes} must be >= 0, prior {self.prior} > 0 and "
                f"full {self.full} in (0.5, 1]."
            )


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """What the episodes say; each share is mixed with the prior's 1.

    Attributes:
        rises: Share of pairs of moments in successes of which the later has more progress.
        parts: Share of pairs of which the late moment of a success has more progress than some
            moment of a failure.
        trust: Factor on the auxiliary reward, in [0, 1].
    """

    rises: float
    parts: float
    trust: float


def alignment_of(episodes: Sequence[tuple[F32, bool]], cfg: AlignmentCfg) -> Alignment:
    """Compare progress with the primary reward.

    Args:
        episodes: Potential (T + 1,), NaN where unknown, and whether it succeeded, of each; the
            latest last.
        cfg: How.
    """
    latest = episodes[max(len(episodes) - cfg.episodes, 0) :]
    latest = [(phi[np.isfinite(phi)], success) for phi, success in latest]
    wins = [phi for phi, success in latest if success and len(phi) > 1]
    losses = [phi for phi, success in latest if not success and len(phi)]
    rises = parts = 1.0
    if wins:
        found = float(np.mean([_rising(phi) for phi in wins]))
        rises = (cfg.prior + len(wins) * found) / (cfg.prior + len(wins))
    if wins and losses:
        ends = np.concatenate([phi[-max(len(phi) // 4, 1) :] for phi in wins])
        count = min(len(wins), len(losses))
        found = _above(ends, np.concatenate(losses))
        parts = (cfg.prior + count * found) / (cfg.prior + count)
    trust = (min(rises, parts) - 0.5) / (cfg.full - 0.5)
    return Alignment(rises=rises, parts=parts, trust=float(np.clip(trust, 0.0, 1.0)))


def _rising(phi: F32) -> float:
    """Share of pairs of moments of which the later has more progress; equal ones count half."""
    later, earlier = np.tril_indices(len(phi), -1)
    return float(np.mean(np.sign(phi[later] - phi[earlier])) / 2 + 0.5)


def _above(high: F32, low: F32) -> float:
    """Share of pairs of which the first is higher; equal ones count half."""
    ranked = np.sort(low)
    below = np.searchsorted(ranked, high, "left") + np.searchsorted(ranked, high, "right")
    return float(below.mean() / (2 * len(ranked)))
