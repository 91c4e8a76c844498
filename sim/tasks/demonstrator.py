"""Scripted demonstrations with some width: an expert that trembles, pauses, slips and recovers.

A demonstration set of one clean line through each state teaches no way back to it; people's
demonstrations are wide for free, scripted ones must be made so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F32, RobotState

__all__ = ["Demonstrator", "DemonstratorCfg"]


@dataclass(frozen=True, kw_only=True)
class DemonstratorCfg:
    """How a demonstrator differs from the expert; all zero is the expert itself.

    Attributes:
        noise: Standard deviation of the tremble, as a share of a full action.
        pause_probability: Chance, at each step, to stand still for a moment.
        slip_probability: Chance, at each step, to drift off in one direction for a moment.
        slip_size: Length of the drift, as a share of a full action.
        longest_steps: Longest pause or slip.
    """

    noise: float = 0.05
    pause_probability: float = 0.01
    slip_probability: float = 0.02
    slip_size: float = 0.5
    longest_steps: int = 4

    def __post_init__(self) -> None:
        """Refuse shares that are negative."""
        for name in ("noise", "pause_probability", "slip_probability", "slip_size"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 0.")
        if self.longest_steps < 1:
            raise ConfigError(f"longest_steps is {self.longest_steps}, but must be >= 1.")


class Demonstrator:
    """One episode's expert with the faults of a person; the last action dimension may be a grip.

    Args:
        expert: Action for a state.
        cfg: Its faults.
        motion_dims: How many leading action dimensions are motion; a grip is never disturbed.
    """

    def __init__(
        self,
        expert: Callable[[RobotState], F32],
        cfg: DemonstratorCfg | None = None,
        *,
        motion_dims: int | None = None,
    ) -> None:
        self._expert = expert
        self._cfg = cfg or DemonstratorCfg()
        self._motion = slice(0, motion_dims)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the faults follow from the seed."""
        self._rng = np.random.default_rng((seed, 1))
        self._left = 0
        self._drift: F32 | None = None

    def act(self, state: RobotState) -> F32:
        """The action for the next step, in [-1, 1]."""
        cfg, rng = self._cfg, self._rng
        action = np.array(self._expert(state), np.float32)
        motion = action[self._motion]
        if self._left == 0:
            chance = rng.random()
            if chance < cfg.pause_probability + cfg.slip_probability:
                self._left = int(rng.integers(1, cfg.longest_steps + 1))
                drift = rng.normal(size=motion.shape)
                drift *= cfg.slip_size / np.linalg.norm(drift)
                is_slip = chance < cfg.slip_probability
                self._drift = (drift if is_slip else 0 * drift).astype(np.float32)
        if self._left > 0:
            self._left -= 1
            motion = self._drift
        noise = cfg.noise * rng.normal(size=action[self._motion].shape)
        action[self._motion] = motion + noise
        return np.clip(action, -1.0, 1.0).astype(np.float32)
