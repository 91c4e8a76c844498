"""Joint states by the stamps of their headers, from a bag or as they come, as a measurement.

motion → **measurement** → parameters → fit → posterior → twins drawn from it
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.errors import DataError
from robot_rl.types import F64
from sim.identify.measurement import Measurement

__all__ = ["Track", "measurement_of"]


class Track:
    """What messages of one kind say of some joints.

    Args:
        channels: The joints, in the order that is wanted.
        offset_rad: (c,) added to what they say (default: nothing).
    """

    def __init__(self, channels: Sequence[str], offset_rad: F64 | None = None) -> None:
        self.channels = tuple(channels)
        self.names = set[str]()
        """Of all joints that were heard of."""
        self._offset_rad = np.zeros(len(self.channels)) if offset_rad is None else offset_rad
        self._rows: list[tuple[float, list[float], list[float]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def stamp_s(self) -> float:
        """Of the newest message; minus infinity before the first."""
        return self._rows[-1][0] if self._rows else float("-inf")

    @property
    def position(self) -> F64:
        """(c,) of the newest message."""
        return np.array(self._rows[-1][1]) + self._offset_rad

    def add(self, message: Any) -> None:
        """Take a message that holds all joints; drivers order them as they like."""
        place = {name: i for i, name in enumerate(message.name)}
        self.names |= place.keys()
        if not set(self.channels) <= place.keys():
            return
        stamp = message.header.stamp
        stamp_s = stamp.sec + 1e-9 * stamp.nanosec
        if stamp_s == self.stamp_s:
            return  # a driver that repeats itself tells nothing new
        columns = [place[name] for name in self.channels]
        has_velocity = len(message.velocity) == len(message.name)
        velocity = [message.velocity[i] for i in columns] if has_velocity else []
        self._rows.append((stamp_s, [message.position[i] for i in columns], velocity))

    def clear(self) -> None:
        """Forget all but the names."""
        self._rows.clear()

    def arrays(self) -> tuple[F64, F64, F64 | None]:
        """Stamps (k,), positions (k, c), and velocities (k, c) if all messages had them."""
        stamps = np.array([row[0] for row in self._rows])
        velocities = [row[2] for row in self._rows]
        position = np.array([row[1] for row in self._rows]) + self._offset_rad
        return stamps, position, np.array(velocities) if all(velocities) else None


def measurement_of(
    commands: Track, states: Track, *, source: str, facts: Mapping[str, Any]
) -> Measurement:
    """What was told and what was done, from the first state whose command is known.

    Raises:
        DataError: There is nothing of one of them, or it does not make a measurement.
    """
    for words, track in (("command", commands), ("state", states)):
        if not len(track):
            raise DataError(f"{source}: not one {words} was recorded.")
    stamps, position, velocity = states.arrays()
    told_s, told, _ = commands.arrays()
    within = stamps >= told_s[0]  # the command in force must be known
    return Measurement(
        channels=commands.channels,
        command_s=told_s,
        command=told,
        state_s=stamps[within],
        position=position[within],
        velocity=None if velocity is None else velocity[within],
        source=source,
        facts=facts,
    )
