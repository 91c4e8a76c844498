"""The seam between learning and a robot: anything with these seven members can be learned on.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

`FakePort` (no physics), `sim.SimPort` (the twin) and the ROS port implement it and pass the one
suite in `env/conformance.py`.
"""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

from robot_rl.clock import Clock
from robot_rl.types import Command, RobotSpec, RobotState

__all__ = ["RobotPort", "SharedPort", "TakenOver"]


@runtime_checkable
class RobotPort(Protocol):
    """A robot that can be read and commanded. Constructors do no I/O; `connect` does."""

    @property
    def spec(self) -> RobotSpec:
        """What the robot is; known before `connect`."""
        ...

    @property
    def clock(self) -> Clock:
        """The time in which all stamps are given; waiting on it steps physics in the twin."""
        ...

    def connect(self) -> None:
        """Open the robot. Calling it twice is harmless.

        Raises:
            PortError: The robot cannot be reached; the message names the next step.
        """
        ...

    def reset(self, seed: int) -> None:
        """Bring robot and scene to the start of an episode drawn from `seed`.

        The twin redraws its scene; a real robot goes home and lets a person (or a reset policy)
        restore the scene.
        """
        ...

    def read(self) -> RobotState:
        """The newest state: joints, tracked poses, images, each with its own stamp.

        Raises:
            PortError: Not connected, or the robot has gone.
        """
        ...

    def send(self, command: Command) -> Command:
        """Ask for a joint target, and return the target actually sent on after the port's limits.

        Raises:
            PortError: Not connected, or the robot has gone.
        """
        ...

    def stop(self) -> None:
        """Hold the present position until the next `send`; safe to call at any time."""
        ...

    def close(self) -> None:
        """Hold, then release the robot. Calling it twice is harmless."""
        ...


class TakenOver(NamedTuple):
    """That somebody else moved the robot since the last `send`."""

    source: Literal["human", "blend"]
    """human: all the time; blend: some of it, or while the robot still caught up."""
    command: Command
    """The last that was carried out."""


@runtime_checkable
class SharedPort(Protocol):
    """A port whose robot a person may take over between two commands."""

    def taken_over(self) -> TakenOver | None:
        """Who else has moved the robot since the last `send`; None if nobody has."""
        ...
