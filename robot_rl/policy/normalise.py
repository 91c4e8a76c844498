"""How observations and actions are scaled for a network, fitted once on demonstrations.

command:   camera, arm → observe → **[state → z-score]** → policy → **[unit → action]** → decode

A normaliser travels with the policy that was trained under it; a policy without its own would
answer in other units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from robot_rl.policy.base import Observation
from robot_rl.types import F32

__all__ = ["Normaliser", "state_vector"]


def state_vector(obs: Observation, dim: int) -> F32:
    """The state part (dim,) of an observation, checked at the door of every policy.

    Raises:
        ShapeError: The state has another size than the policy was trained on.
        NonFiniteError: The state holds NaN or infinity.
    """
    state = np.asarray(obs["state"] if isinstance(obs, Mapping) else obs, np.float32)
    if state.shape != (dim,):
        raise ShapeError("observation: state", state.shape, (dim,))
    if not np.isfinite(state).all():
        raise NonFiniteError("observation: state", state, "Stop, and look at the sensor.")
    return state


@dataclass(frozen=True, kw_only=True, eq=False)
class Normaliser:
    """State by z-score, actions by the range of the demonstrations.

    Floors keep dimensions that (nearly) stand still in the demonstrations from being blown up: a
    state that was constant stays near 0, an action that was constant keeps a range to learn in.

    Attributes:
        state_mean, state_std: (d,) in the env's units.
        action_mid, action_half: (a,) in the env's units; unit actions -1 and 1 are mid ∓ half.
    """

    state_mean: F32
    state_std: F32
    action_mid: F32
    action_half: F32

    @classmethod
    def fit(
        cls,
        states: F32,
        actions: F32,
        *,
        state_std_floor: float = 0.01,
        action_half_floor: float = 0.05,
    ) -> "Normaliser":
        """Fit on all demonstrated states (n, d) and actions (n, a).

        Raises:
            ConfigError: There are no rows, or a floor is not positive.
            NonFiniteError: The data hold NaN or infinity.
        """
        if len(states) == 0 or len(actions) == 0:
            raise ConfigError("normaliser: 0 demonstrated steps; record at least one episode.")
        if state_std_floor <= 0 or action_half_floor <= 0:
            raise ConfigError(
                f"normaliser: floors are {state_std_floor} and {action_half_floor}, "
                "but must be positive."
            )
        for name, rows in (("states", states), ("actions", actions)):
            if not np.isfinite(rows).all():
                raise NonFiniteError(f"normaliser: {name}", "NaN or inf", "Discard the episode.")
        low, high = actions.min(0), actions.max(0)
        return cls(
            state_mean=states.mean(0, dtype=np.float64).astype(np.float32),
            state_std=np.maximum(states.std(0, dtype=np.float64), state_std_floor).astype(
                np.float32
            ),
            action_mid=((low + high) / 2).astype(np.float32),
            action_half=np.maximum((high - low) / 2, action_half_floor).astype(np.float32),
        )

    @property
    def state_dim(self) -> int:
        """Size d of the state."""
        return len(self.state_mean)

    @property
    def action_dim(self) -> int:
        """Size a of an action."""
        return len(self.action_mid)

    def widened(self, factor: float) -> "Normaliser":
        """The same with `factor` times the action range, room for a residual beyond the demos."""
        if factor < 1:
            raise ConfigError(f"normaliser: widening factor is {factor}, but must be at least 1.")
        return replace(self, action_half=self.action_half * np.float32(factor))

    def state(self, state: F32) -> F32:
        """States (..., d) as z-scores."""
        return (state - self.state_mean) / self.state_std

    def to_unit(self, action: F32) -> F32:
        """Actions (..., a) in units of the demonstrated range; not clipped."""
        return (action - self.action_mid) / self.action_half

    def from_unit(self, unit: F32) -> F32:
        """Unit actions (..., a) back in the env's units; inverse of `to_unit`."""
        return unit * self.action_half + self.action_mid

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Normaliser":
        """The normaliser whose `arrays` these are; further names are ignored.

        Raises:
            CheckpointError: An array is missing, or its length does not fit the others.
        """
        names = ("state_mean", "state_std", "action_mid", "action_half")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise CheckpointError(
                f"normaliser: {', '.join(missing)} missing from the checkpoint. Save it again."
            )
        mean, std, mid, half = (np.array(arrays[name], np.float32) for name in names)
        if mean.shape != std.shape or mid.shape != half.shape or mean.ndim != 1 or mid.ndim != 1:
            raise CheckpointError(
                f"normaliser: shapes {mean.shape}, {std.shape}, {mid.shape}, {half.shape} must be "
                "(d,), (d,), (a,), (a,). Save the policy again."
            )
        return cls(state_mean=mean, state_std=std, action_mid=mid, action_half=half)

    def arrays(self) -> dict[str, F32]:
        """The four arrays by name, for a checkpoint."""
        return {
            "state_mean": self.state_mean,
            "state_std": self.state_std,
            "action_mid": self.action_mid,
            "action_half": self.action_half,
        }
