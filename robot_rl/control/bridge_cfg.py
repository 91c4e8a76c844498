"""What the arm bridge is told about one robot beside its limits: rates, watchdogs, speeds.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

from dataclasses import dataclass, fields

import numpy as np

from robot_rl.errors import ConfigError

__all__ = ["BridgeCfg"]


@dataclass(frozen=True, kw_only=True)
class BridgeCfg:
    """Rates, watchdogs and speeds; all are required in a robot file."""

    rate_hz: float
    """Commands a second."""
    command_timeout_s: float
    """Longest silence of the policy or operator before the arm holds."""
    observation_age_s: float
    """Greatest age of the observation that a target is based on, by its stamp."""
    state_timeout_s: float
    """Longest silence, and greatest age, of the joint states."""
    deadman_timeout_s: float
    """Longest silence of the operator's deadman switch before it counts as released."""
    tracking_error_rad: float
    """Greatest distance of a joint from all its commands of the tracking window."""
    tracking_window_s: float
    """How long the arm may take to follow a command."""
    still_rad_s: float
    """Below this speed a measured joint stands still."""
    home_speed_share: float
    """Share of the velocity limits used on the way home."""
    takeover_speed_share: float
    """Share of the velocity limits at first, when the control source changes."""
    takeover_s: float
    """How long the speed takes to rise to the whole limits after a change of source."""
    takeover_gap_rad: float
    """As long as a joint is farther than this from its target, the speed does not rise."""
    teleop_speed_m_s: float
    """Greatest speed of the tool by twist."""
    teleop_turn_rad_s: float
    """Greatest turning speed of the tool by twist."""

    def __post_init__(self) -> None:
        """Refuse what is not positive, shares above 1, and a watchdog shorter than a tick."""
        for field in fields(self):
            value = getattr(self, field.name)
            top = 1.0 if field.name.endswith("_share") else np.inf
            if not (np.isfinite(value) and 0 < value <= top):
                allowed = "positive" if top > 1 else "above 0 and at most 1"
                raise ConfigError(f"bridge: {field.name} is {value}, but must be {allowed}.")
        if not 10 <= self.rate_hz <= 1000:
            raise ConfigError(f"bridge: rate_hz is {self.rate_hz}, but must be in 10 to 1000.")
        for name in ("command_timeout_s", "state_timeout_s", "deadman_timeout_s"):
            if getattr(self, name) < 2 / self.rate_hz:
                raise ConfigError(
                    f"bridge: {name} is {getattr(self, name)}, but must span two ticks at least, "
                    f"{2 / self.rate_hz} at {self.rate_hz} Hz."
                )
