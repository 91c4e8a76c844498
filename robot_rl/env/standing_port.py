"""A robot whose scene stays as it was left: episodes begin where the last one ended.

command:   observe → policy (base + residual) → decode → safety → **send**, with no reset between
"""

from collections.abc import Callable

from robot_rl.clock import Clock
from robot_rl.env.port import RobotPort
from robot_rl.types import Command, RobotSpec, RobotState

__all__ = ["StandingPort"]


class StandingPort:
    """Another port, whose scene is put back only when that was asked for. Counts how often.

    Args:
        port: The robot.
        owns_scene: Whether the port's `reset` puts the scene back itself, as a twin's does; that
            of a real robot concerns the arm alone, and is passed on every time.
        ask: Called when a person must put the scene back; returns when that is done.

    Attributes:
        manual_resets: How often the scene was put back.
    """

    def __init__(
        self, port: RobotPort, *, owns_scene: bool, ask: Callable[[], None] | None = None
    ) -> None:
        self._port, self._owns_scene, self._ask = port, owns_scene, ask
        self._is_due = True  # nobody knows how it stands in the beginning
        self.manual_resets = 0

    def request_reset(self) -> None:
        """Let the next `reset` put the scene back."""
        self._is_due = True

    @property
    def spec(self) -> RobotSpec:
        """See `RobotPort.spec`."""
        return self._port.spec

    @property
    def clock(self) -> Clock:
        """See `RobotPort.clock`."""
        return self._port.clock

    def connect(self) -> None:
        """See `RobotPort.connect`."""
        self._port.connect()

    def reset(self, seed: int) -> None:
        """Put the scene back if that is due; else leave all as it is."""
        if self._is_due:
            self.manual_resets += 1
            if self._ask is not None:
                self._ask()
        if self._is_due or not self._owns_scene:
            self._port.reset(seed)
        self._is_due = False

    def read(self) -> RobotState:
        """See `RobotPort.read`."""
        return self._port.read()

    def send(self, command: Command) -> Command:
        """See `RobotPort.send`."""
        return self._port.send(command)

    def stop(self) -> None:
        """See `RobotPort.stop`."""
        self._port.stop()

    def close(self) -> None:
        """See `RobotPort.close`."""
        self._port.close()
