"""How a base policy is cloned; the defaults are the preset for every task.

learning:  episode store → windows → **bc (its configuration)** → frozen base policy
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_rl.errors import ConfigError

__all__ = ["BCCfg", "PolicyKind"]

PolicyKind = Literal["mlp", "act", "flow"]

_COUNTS = ("chunk", "members", "width", "layers", "steps", "batch", "checks", "flow_steps")
_SCALES = ("lr", "state_std_floor", "action_half_floor")


@dataclass(frozen=True, kw_only=True)
class BCCfg:
    """How a base policy is cloned. The defaults are the preset for every task."""

    kind: PolicyKind = "mlp"
    """Network: "mlp" (ensemble of chunked MLPs), "act" (transformer) or "flow" (generative)."""
    chunk: int = 8
    """Actions planned from one observation and executed open loop."""
    members: int = 8
    """Networks in the "mlp" ensemble, each on its own resampling of episodes; 1 is one network."""
    width: int = 256
    """Hidden width of "mlp" and "flow", token width of "act"."""
    layers: int = 2
    """Hidden layers of "mlp" and "flow", encoder layers of "act"."""
    steps: int = 2_500
    """Gradient steps."""
    batch: int = 128
    """Windows a network sees in a step."""
    lr: float = 1e-3
    """Learning rate at the start; it falls to 0 by a half cosine."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    obs_noise: float = 0.0
    """Standard deviation of the noise on z-scored states while training."""
    state_std_floor: float = 0.01
    """Smallest standard deviation a state is divided by, in the state's own units."""
    action_half_floor: float = 0.05
    """Smallest half range an action is divided by, in the action's own units."""
    bootstrap: bool = True
    """Whether each member of the ensemble resamples the episodes."""
    held_out: float = 0.0
    """Share of episodes kept back to choose a checkpoint by, where no score is given; 0 takes the
    last checkpoint: with few demonstrations the held-out error rises while success still does."""
    checks: int = 4
    """Checkpoints compared, evenly spaced; the last is the end of training."""
    flow_steps: int = 8
    """Euler steps of a "flow" policy from noise to a chunk."""
    image_shift_px: int = 4
    """Camera images of "act" and "flow" are shifted at random by up to this while training."""
    device: str = "cpu"
    """Where "act" and "flow" are trained: cpu, cuda, cuda:1 ...; they always act on the CPU, and
    "mlp" is trained there, too."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"bc: {name} is {getattr(self, name)}, but must be at least 1.")
        for name in _SCALES:
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigError(f"bc: {name} is {getattr(self, name)}, but must be positive.")
        if (
            self.weight_decay < 0
            or self.obs_noise < 0
            or not 0 <= self.held_out < 1
            or self.image_shift_px < 0
        ):
            raise ConfigError(
                f"bc: weight_decay {self.weight_decay} and obs_noise {self.obs_noise} must be "
                f">= 0, held_out {self.held_out} in [0, 1)."
            )
        if self.kind == "mlp" and self.device != "cpu":
            raise ConfigError(
                f"bc: device is '{self.device}', but kind mlp is trained on the cpu, where "
                "networks so small are fastest. Leave device out, or give kind act or flow."
            )
        if self.checks > self.steps:
            raise ConfigError(f"bc: {self.checks} checks need at least as many steps.")
