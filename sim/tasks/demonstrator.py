"""Scripted demonstrations with some width: an expert that trembles, pauses, slips and recovers.

A demonstration set of one clean line through each state teaches no way back to it; people's
demonstrations are wide for free, scripted ones must be made so.
"""

from dataclasses import dataclass

import numpy as np

from robot_rl.control.decode import ActionDecoder
from robot_rl.errors import ConfigError
from robot_rl.types import F32, RobotState
from sim.twin import Twin

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

    noise: float = 0.04
    pause_probability: float = 0.01
    slip_probability: float = 0.01
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
    """One episode's expert with the faults of a person; grips are never disturbed.

    Args:
        twin: The task, whose expert this disturbs.
        cfg: Its faults.
    """

    def __init__(self, twin: Twin, cfg: DemonstratorCfg | None = None) -> None:
        self._expert = twin.expert
        self._cfg = cfg or DemonstratorCfg()
        names = ActionDecoder(twin.robot, twin.task).action_names
        self._is_motion = np.array([not name.endswith(".gripper") for name in names])
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the faults follow from the seed."""
        self._rng = np.random.default_rng((seed, 1))
        self._left = 0
        self._drift = np.zeros(int(self._is_motion.sum()))

    def act(self, state: RobotState) -> F32:
        """The action (a,) in [-1, 1] for the state of one robot."""
        return self.disturb(self._expert(state))

    def disturb(self, action: F32) -> F32:
        """An expert's action (a,) with the faults of this step; for experts asked in batches."""
        cfg, rng = self._cfg, self._rng
        if self._left == 0:
            chance = rng.random()
            if chance < cfg.pause_probability + cfg.slip_probability:
                self._left = int(rng.integers(1, cfg.longest_steps + 1))
                direction = rng.normal(size=self._drift.shape)
                is_slip = chance < cfg.slip_probability
                size = cfg.slip_size if is_slip else 0.0
                self._drift = direction * (size / np.linalg.norm(direction))
        motion = action[self._is_motion]
        if self._left > 0:
            self._left -= 1
            motion = self._drift
        out = np.array(action, np.float32)
        out[self._is_motion] = motion + cfg.noise * rng.normal(size=motion.shape)
        return np.clip(out, -1.0, 1.0)
