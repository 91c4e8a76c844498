"""What a robot was told and what it did, with stamps: all that a fit ever sees.

motion → **measurement** → parameters → fit → posterior → twins drawn from it

It comes from the twin, from a hidden twin in another process, from an episode store or from a
bag; afterwards nobody can tell which. A channel is a joint [rad] or a gripper's opening [m], named
like its drive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.config import config_hash, to_plain
from robot_rl.errors import DataError, NonFiniteError, ShapeError, UnknownNameError
from robot_rl.types import F64
from sim.sealed import load_sealed, save_sealed

__all__ = ["FORMAT", "Measurement", "estimate_noise", "load_measurement"]

FORMAT = 1
_LEAST_S, _LEAST_SAMPLES = 1.0, 20
_STILL = 20.0  # noise deviations within which nothing has moved
_STEADY = 1e-9  # commands that differ by less are the same
_DIFFERENCES = 6  # smooth motion vanishes in them at 100 Hz, noise does not
_NOISE_FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """One motion. Commands hold until the next; stamps are of one clock.

    Raises:
        DataError: It is too short, its stamps go backwards, or nothing moves.
        NonFiniteError: A number is NaN or infinite.
        ShapeError: Arrays do not fit together.
    """

    channels: tuple[str, ...]
    """Joints [rad] and openings of grippers [m], named like their drives."""
    command_s: F64  # (m,) when each command was handed to the drives
    command: F64  # (m, c) after all limits
    state_s: F64  # (k,)
    position: F64  # (k, c)
    velocity: F64 | None = None  # (k, c)
    position_std: F64 = field(default_factory=lambda: np.zeros(0))  # (c,); estimated if not given
    velocity_std: F64 | None = None  # (c,)
    source: str = "unknown"
    """Where it comes from, in words."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of it; plain values."""

    def __post_init__(self) -> None:
        """Check all of it, and estimate the noise where it was not given."""
        self._check_shapes()
        self._check_numbers()
        self._check_stamps()
        if not len(self.position_std):
            object.__setattr__(self, "position_std", estimate_noise(self.position))
        if self.velocity is not None and self.velocity_std is None:
            object.__setattr__(self, "velocity_std", estimate_noise(self.velocity))
        moved = np.ptp(self.position, axis=0) > _STILL * self.position_std
        if not moved.any():
            raise DataError(
                f"{self.source}: nothing moves; the largest range of a channel is "
                f"{np.ptp(self.position, axis=0).max():.2g}. Record the robot in motion, as "
                "`robot-rl identify excite` does."
            )

    @property
    def duration_s(self) -> float:
        """From the first state to the last."""
        return float(self.state_s[-1] - self.state_s[0])

    @cached_property
    def rest_s(self) -> float:
        """How long commands stay the same from the first state on."""
        changed = np.flatnonzero((np.abs(np.diff(self.command, axis=0)) > _STEADY).any(1))
        first = float(self.command_s[changed[0] + 1]) if len(changed) else float("inf")
        return max(0.0, min(first, float(self.state_s[-1])) - float(self.state_s[0]))

    @property
    def hash(self) -> str:
        """12 hex digits of all numbers and names."""
        return config_hash(
            {
                "channels": self.channels,
                "arrays": {name: array for name, array in self._arrays().items()},
            }
        )

    def select(self, channels: Sequence[str]) -> "Measurement":
        """The same with some channels only, in another order.

        Raises:
            UnknownNameError: It lacks one; says which it has.
        """
        for name in channels:
            if name not in self.channels:
                raise UnknownNameError(f"channel of {self.source}", name, self.channels)
        columns = [self.channels.index(name) for name in channels]

        def pick(array: F64 | None) -> F64 | None:
            return None if array is None else array[..., columns]

        return Measurement(
            channels=tuple(channels),
            command_s=self.command_s,
            command=self.command[:, columns],
            state_s=self.state_s,
            position=self.position[:, columns],
            velocity=pick(self.velocity),
            position_std=self.position_std[columns],
            velocity_std=pick(self.velocity_std),
            source=self.source,
            facts=self.facts,
        )

    def save(self, path: Path) -> str:
        """Write it as .npz without pickles, whole or not at all; returns its hash.

        Raises:
            DataError: The file cannot be written.
        """
        head = {
            "channels": list(self.channels),
            "source": self.source,
            "facts": to_plain(dict(self.facts)),
        }
        return save_sealed(path, self, head, self._arrays(), version=FORMAT)

    def _arrays(self) -> dict[str, F64]:
        every = {
            "command_s": self.command_s,
            "command": self.command,
            "state_s": self.state_s,
            "position": self.position,
            "velocity": self.velocity,
            "position_std": self.position_std,
            "velocity_std": self.velocity_std,
        }
        return {name: array for name, array in every.items() if array is not None}

    def _check_shapes(self) -> None:
        c, m, k = len(self.channels), len(self.command_s), len(self.state_s)
        wanted = {"command_s": (m,), "command": (m, c), "state_s": (k,), "position": (k, c)}
        wanted |= {"velocity": (k, c), "velocity_std": (c,)}
        if len(self.position_std):
            wanted["position_std"] = (c,)
        for name, array in self._arrays().items():
            if name in wanted and np.shape(array) != wanted[name]:
                raise ShapeError(f"{self.source}: {name}", np.shape(array), wanted[name])

    def _check_numbers(self) -> None:
        for name, array in self._arrays().items():
            if not np.isfinite(array).all():
                where = np.argwhere(~np.isfinite(array))[0]
                place = f"row {where[0]}"
                if array.ndim == 2:
                    place += f", channel {self.channels[where[1]]}"
                raise NonFiniteError(
                    f"{self.source}: {name} at {place}",
                    float(array[tuple(where)]),
                    "Leave the damaged part out, or record again.",
                )
        for name, std in (
            ("position_std", self.position_std),
            ("velocity_std", self.velocity_std),
        ):
            if std is not None and len(std) and not (std > 0).all():
                raise DataError(f"{self.source}: {name} is {std}, but must be positive.")

    def _check_stamps(self) -> None:
        for name, stamps in (("command_s", self.command_s), ("state_s", self.state_s)):
            back = np.flatnonzero(np.diff(stamps) <= 0)
            if len(back):
                i = int(back[0])
                raise DataError(
                    f"{self.source}: {name} does not move on at row {i + 1}: {stamps[i + 1]:.6f} "
                    f"after {stamps[i]:.6f}. Stamps must be of one clock and rise; leave repeated "
                    "messages out."
                )
        if len(self.state_s) < _LEAST_SAMPLES or self.duration_s < _LEAST_S:
            spans = f"{self.duration_s:.2f} s" if len(self.state_s) else "0 s"
            raise DataError(
                f"{self.source}: {len(self.state_s)} states over {spans} are too short, but must "
                f"be at least {_LEAST_SAMPLES} over {_LEAST_S:g} s. Eight seconds are good."
            )
        if not len(self.command_s) or self.command_s[0] > self.state_s[0] + 1e-9:
            first = f"at {self.command_s[0]:.3f} s" if len(self.command_s) else "nowhere"
            raise DataError(
                f"{self.source}: the first command is {first}, the first state at "
                f"{self.state_s[0]:.3f} s, but the command in force must be known from the first "
                "state on. Begin recording commands first."
            )


def load_measurement(path: Path) -> Measurement:
    """Read what `Measurement.save` wrote.

    Raises:
        DataError: The file is missing, damaged, edited, or of another format.
    """
    return load_sealed(path, "measurement", _from_file, version=FORMAT)


def _from_file(head: dict[str, Any], arrays: dict[str, np.ndarray]) -> Measurement:
    return Measurement(
        channels=tuple(head["channels"]), source=head["source"], facts=head["facts"], **arrays
    )


def estimate_noise(samples: F64) -> F64:
    """(c,) deviation of white noise on smooth signals (k, c), from their sixth differences.

    Motion of a few Hz leaves nothing in them at 100 Hz; at 20 Hz it does, and the noise comes out
    too great. The median makes jumps of friction harmless.
    """
    order = min(_DIFFERENCES, max(1, len(samples) - 2))
    differences = np.diff(samples, n=order, axis=0)
    weights = np.ones(1)
    for _ in range(order):
        weights = np.convolve(weights, [1.0, -1.0])
    middle = np.median(np.abs(differences), axis=0) / 0.6745  # of a normal distribution
    return np.maximum(middle / np.linalg.norm(weights), _NOISE_FLOOR)
