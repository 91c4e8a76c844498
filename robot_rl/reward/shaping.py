"""From potentials to a reward that cannot be exploited, when a transition is sampled.

learning:  transition → episode store → progress model → **replay → shaped** → residual agent

A transition over k steps from s to s' gains w (γ^k Φ(s') - Φ(s)). Summed along any way this is
-w Φ(start) alone, so that no detour, no hovering and no cycle pays, and the best policy stays the
best (Ng, Harada, Russell 1999, theorem 1). That holds only if the details do:

    termination   Φ(s') counts 0, whether by success or by a safety stop; else the end itself
                  would be paid for, or shunned.
    time-out      Φ(s') counts in full, because the value at s' is bootstrapped.
    n-step, chunk γ^k with the k that was really travelled.
    unknown Φ     The pair gains nothing. A pair judged by two versions is unknown. Frames between
                  judged ones should carry on the last Φ (`FramePotentials.carried`): else a cycle
                  through what cannot be judged would pay.

The discount of a sampled `Batch` is γ^k, and 0 after a termination: exactly the factor of Φ(s').
A value Q in [0, 1] of the sparse reward is Q - w Φ of the shaped one, with Φ in [0, 1], so that a
critic's bounds become (-w, 1): see `bounds`.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from robot_rl.errors import ConfigError
from robot_rl.reward.potentials import PotentialTable
from robot_rl.reward.progress import Bool
from robot_rl.types import F32, I64

__all__ = ["NaiveShaper", "PotentialShaper", "Shaper", "ShapingCfg", "naive_rewards"]


@dataclass(frozen=True, kw_only=True)
class ShapingCfg:
    """How strongly progress shapes the reward."""

    weight: float = 0.5
    """Reward of going from no progress to done, beside the 1 of success."""
    final_weight: float = 0.5
    """Weight once the decay is over: shaping speeds the start, and slows the end."""
    decay_steps: int = 0
    """Environment steps over which the weight goes from `weight` to `final_weight`; 0: at once."""
    caution: float = 1.0
    """Standard deviations that are taken off progress: what is doubtful is not rewarded."""

    def __post_init__(self) -> None:
        """Refuse what would punish progress or reward doubt."""
        for name in ("weight", "final_weight", "caution", "decay_steps"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"shaping: {name} is {getattr(self, name)}, but must be >= 0.")
        if self.decay_steps == 0 and self.final_weight != self.weight:
            raise ConfigError(
                f"shaping: weight {self.weight} shall become {self.final_weight} in 0 steps. "
                "Give decay_steps, or equal weights."
            )

    def weight_at(self, step: int) -> float:
        """The weight after `step` environment steps."""
        if self.decay_steps == 0:
            return self.weight
        done = min(max(step, 0) / self.decay_steps, 1.0)
        return self.weight + done * (self.final_weight - self.weight)


class Shaper(Protocol):
    """Something that says what sampled transitions gain beside the sparse reward."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value, where the sparse reward's lie in [0, 1]."""
        ...

    def rewards(
        self,
        table: PotentialTable,
        rows: I64,
        next_rows: I64,
        discount: F32,
        *,
        step: int = 0,
        trust: float = 1.0,
    ) -> tuple[F32, Bool]:
        """See `PotentialShaper.rewards`."""
        ...

    def owed(self, table: PotentialTable, rows: I64, *, step: int = 0, trust: float = 1.0) -> F32:
        """See `PotentialShaper.owed`."""
        ...


class PotentialShaper:
    """Shapes sampled transitions by the potentials of their two ends."""

    def __init__(self, cfg: ShapingCfg) -> None:
        self.cfg = cfg

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value, where the sparse reward's lie in [0, 1]."""
        return -max(self.cfg.weight, self.cfg.final_weight), 1.0

    def potential(self, phi: F32, sigma: F32) -> F32:
        """The lower confidence bound of progress, within [0, 1]; NaN where progress is unknown."""
        return np.clip(phi - self.cfg.caution * sigma, 0.0, 1.0).astype(np.float32)

    def rewards(
        self,
        table: PotentialTable,
        rows: I64,
        next_rows: I64,
        discount: F32,
        *,
        step: int = 0,
        trust: float = 1.0,
    ) -> tuple[F32, Bool]:
        """What transitions gain by shaping, and which of them are shaped at all.

        Both ends of a pair are weighted by today's weight, however old the transition is: a
        weight that changed in between would break the sum along the way.

        Args:
            table: Potentials of the replay's rows.
            rows: int64 (B,), where the transitions start.
            next_rows: int64 (B,), the rows that they bootstrap from.
            discount: float32 (B,), γ^k of the value there; 0 after a termination.
            step: Environment steps so far, for the decay.
            trust: Factor on the weight, see `alignment.py`.

        Returns:
            float32 (B,), 0 where a potential is unknown, and bool (B,) whether both are known.
        """
        both = table.read(np.concatenate([rows, next_rows]))
        now, after = slice(0, len(rows)), slice(len(rows), None)
        potential = self.potential(both.phi, both.phi_sigma)
        is_over = np.asarray(discount) == 0
        same = both.phi_version[now] == both.phi_version[after]
        known = both.phi_valid[now] & (is_over | (both.phi_valid[after] & same))
        ahead = np.where(is_over, 0.0, discount * np.nan_to_num(potential[after]))
        weight = trust * self.cfg.weight_at(step)
        gain = weight * (ahead - np.nan_to_num(potential[now]))
        return np.where(known, gain, 0.0).astype(np.float32), known

    def owed(self, table: PotentialTable, rows: I64, *, step: int = 0, trust: float = 1.0) -> F32:
        """By how much (B,) shaping lowers a value of the sparse reward at these rows: w Φ(s)."""
        seen = table.read(rows)
        potential = np.nan_to_num(self.potential(seen.phi, seen.phi_sigma))
        return trust * self.cfg.weight_at(step) * potential


class NaiveShaper:
    """Pays Φ(s') - Φ(s) at every step, as is often done, to compare with: see `naive_rewards`.

    Args:
        cfg: Weight and caution, as for potentials.
        discount: γ of a step, by which the later differences of a transition count.
    """

    def __init__(self, cfg: ShapingCfg, discount: float) -> None:
        self.cfg, self._discount = cfg, discount
        self._potential = PotentialShaper(cfg).potential
        self.owed = PotentialShaper(cfg).owed  # at most: it gets the rest back by and by

    @property
    def bounds(self) -> tuple[float, float]:
        """Discounted differences sum to -Φ(s) and at most 1, beside what success pays."""
        weight = max(self.cfg.weight, self.cfg.final_weight)
        return -weight, 1.0 + weight

    def rewards(
        self,
        table: PotentialTable,
        rows: I64,
        next_rows: I64,
        discount: F32,
        *,
        step: int = 0,
        trust: float = 1.0,
    ) -> tuple[F32, Bool]:
        """What transitions gain (B,), and which of them gain at all, see `PotentialShaper`."""
        reach = np.arange(int((next_rows - rows).max(initial=0)) + 1)
        way = np.minimum(rows[:, None] + reach, next_rows[:, None])
        seen = table.read(way.ravel())
        potential = self._potential(seen.phi, seen.phi_sigma).reshape(way.shape)
        version = seen.phi_version.reshape(way.shape)
        known = seen.phi_valid.reshape(way.shape).all(1) & (version == version[:, :1]).all(1)
        gain = np.diff(np.nan_to_num(potential), axis=1) @ self._discount ** reach[:-1]
        gain = trust * self.cfg.weight_at(step) * gain
        return np.where(known, gain, 0.0).astype(np.float32), known


def naive_rewards(potential: ArrayLike, kind: Literal["difference", "level"]) -> F32:
    """Rewards (T,) of an episode's T + 1 potentials as they are often made, to compare with.

    Both can be exploited. "difference" is Φ(s') - Φ(s) without discount and without an end: under
    discounting it equals (1 - γ) Φ held, a wage for hovering. "level" is Φ(s') itself, which pays
    for being alive.
    """
    phi = np.asarray(potential, np.float32)
    return phi[1:] - phi[:-1] if kind == "difference" else phi[1:].copy()
