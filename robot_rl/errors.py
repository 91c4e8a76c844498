"""The one exception root of robot_rl, and the form every error message takes.

A message gives four things: what is wrong, the value received, the values allowed, the next step.
"""

from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "MissingExtraError",
    "NonFiniteError",
    "PortError",
    "RobotRLError",
    "ShapeError",
    "UnknownNameError",
]


class RobotRLError(Exception):
    """Root of every error that robot_rl raises on purpose; the CLI prints it and exits with 2."""


class ConfigError(RobotRLError, ValueError):
    """A configuration value is out of its range or contradicts another."""


class DataError(RobotRLError):
    """A dataset, store or file does not hold what it must hold."""


class CheckpointError(RobotRLError):
    """A checkpoint cannot be used: truncated, of another version or of another shape."""


class PortError(RobotRLError):
    """The robot (or its twin) refused, is not connected or has gone."""


class ShapeError(RobotRLError, ValueError):
    """An array has another shape than the spec says."""

    def __init__(self, name: str, received: tuple[int, ...], allowed: tuple[int, ...]) -> None:
        super().__init__(f"{name} has shape {received}, but must have shape {allowed}.")


class NonFiniteError(RobotRLError, ValueError):
    """An array holds NaN or infinity where only finite numbers are safe."""

    def __init__(self, name: str, value: object, next_step: str) -> None:
        super().__init__(f"{name} is not finite: {value}. {next_step}")


class UnknownNameError(RobotRLError, KeyError):
    """A name is not one of the known names; lists them."""

    def __init__(self, kind: str, received: str, allowed: Iterable[str]) -> None:
        self._message = f"unknown {kind} '{received}'. Available: {', '.join(sorted(allowed))}."
        super().__init__(self._message)

    def __str__(self) -> str:
        return self._message


class MissingExtraError(RobotRLError, ImportError):
    """An optional dependency is not installed; names the extra that brings it."""

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the module '{module}', which is not installed. "
            f"Install it with: pip install 'robot-rl[{extra}]'"
        )
