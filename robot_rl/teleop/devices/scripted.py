"""A script or a policy in a person's place: records unattended, and tests the whole way.

command:   **person → device** → mapping → decode → safety → send
"""

import time
from collections.abc import Callable

import numpy as np

from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.policy.queue import ChunkQueue
from robot_rl.teleop.devices.device import Sample
from robot_rl.types import F32

__all__ = ["Scripted", "policy_script"]


class Scripted:
    """Always holds the clutch and asks for the action of a function of no arguments."""

    name = "scripted"

    def __init__(
        self, act: Callable[[], F32 | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask `act` for (a,) in the env's units at each read; None while it cannot say yet."""
        self._act, self._clock = act, clock

    def open(self) -> None:
        """Nothing to claim."""

    def read(self) -> Sample:
        """See `Device.read`."""
        action = self._act()
        if action is None:
            return Sample(stamp_s=self._clock(), note="the script waits for the robot's state")
        action = np.asarray(action, np.float32)
        return Sample(stamp_s=self._clock(), action=action, active=True)

    def close(self) -> None:
        """Nothing to release."""


def policy_script(
    policy: BasePolicy, observe: Callable[[], Observation | None]
) -> Callable[[], F32 | None]:
    """A script that plays `policy` on what `observe` gives, one action a read."""
    queue = ChunkQueue(policy)
    queue.reset()

    def act() -> F32 | None:
        obs = observe()
        return None if obs is None else queue.next(obs)[0]

    return act
