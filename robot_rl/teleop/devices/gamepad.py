"""A gamepad by SDL, which knows the layout of hundreds of them and needs no display.

command:   **person → device** → mapping → decode → safety → send
"""

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, MissingExtraError, PortError
from robot_rl.teleop.devices.device import Sample
from robot_rl.teleop.devices.keymap import KEYMAP
from robot_rl.types import F64

__all__ = ["Gamepad", "GamepadCfg", "past_dead_zone"]

_FULL = 32767.0  # what SDL gives for a stick at its end
_TRIGGER_PRESSED = 0.5
_BUTTONS = ("A", "B", "X", "Y", "back", "guide", "start", "L3", "R3", "LB", "RB")
_DPAD = ("up", "down", "left", "right")  # the four buttons that SDL counts after those


@dataclass(frozen=True, kw_only=True)
class GamepadCfg:
    """How a gamepad is read."""

    index: int = 0
    """Which one, if several are plugged in."""
    dead_zone: float = 0.12
    """Share of a stick's way that counts as the middle: worn sticks do not come back to it."""

    def __post_init__(self) -> None:
        """Refuse a zone that leaves no way."""
        if self.index < 0 or not 0.0 <= self.dead_zone < 1.0:
            raise ConfigError(
                f"gamepad: index is {self.index} and must be at least 0; dead_zone is "
                f"{self.dead_zone} and must be within 0 and 1."
            )


def past_dead_zone(value: F64, zone: float) -> F64:
    """Deflections with the middle cut out, continuous, still within ±1."""
    value = np.minimum(np.maximum(value, -1.0), 1.0)
    return np.sign(value) * np.maximum(np.abs(value) - zone, 0.0) / (1.0 - zone)


class Gamepad:
    """Sticks move while LB, the clutch, is held; the other buttons are in the keymap."""

    name = "gamepad"

    def __init__(
        self,
        cfg: GamepadCfg | None = None,
        *,
        arms: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read one gamepad for a robot with `arms` arms."""
        self._cfg, self._arms, self._clock = cfg or GamepadCfg(), arms, clock
        self._events = {b.gamepad: b.event for b in KEYMAP if b.event is not None and b.gamepad}
        self._pressed: frozenset[str] = frozenset()
        self._arm = 0
        self._pad: Any = None
        self._pygame: Any = None

    def open(self) -> None:
        """See `Device.open`."""
        if self._pad is not None:
            return
        self._pygame, controller = _sdl()
        self._pygame.display.init()  # events need it, even with no display
        controller.init()
        found = [i for i in range(controller.get_count()) if controller.is_controller(i)]
        if self._cfg.index >= len(found):
            raise PortError(
                f"gamepad {self._cfg.index} is not there; {len(found)} found. Plug it in, and "
                "check that you may read /dev/input (group 'input')."
            )
        self._pad = controller.Controller(found[self._cfg.index])

    def read(self) -> Sample:
        """See `Device.read`."""
        if self._pad is None:
            raise PortError("the gamepad is not open. Call open() first.")
        self._pygame.event.pump()
        if not self._pad.attached():
            raise PortError("the gamepad has gone. Plug it in again, and start anew.")
        now_s = self._clock()
        down = self._down()
        fresh, self._pressed = down - self._pressed, down
        if "L3" in fresh:
            self._arm = (self._arm + 1) % self._arms
        is_held = "LB" in down
        return Sample(
            stamp_s=now_s,
            twist=self._twist(down) if is_held else np.zeros(6),
            toggles_gripper="RT" in fresh,
            arm=self._arm,
            active=is_held,
            events=tuple(self._events[b] for b in _BUTTONS if b in fresh and b in self._events),
        )

    def close(self) -> None:
        """See `Device.close`."""
        if self._pad is not None:
            self._pad.quit()
            self._pad = None

    def _down(self) -> frozenset[str]:
        """Names of what is pressed now."""
        names = (*_BUTTONS, *_DPAD)
        down = {name for k, name in enumerate(names) if self._pad.get_button(k)}
        if self._pad.get_axis(5) / _FULL > _TRIGGER_PRESSED:
            down.add("RT")
        return frozenset(down)

    def _twist(self, down: frozenset[str]) -> F64:
        """Sticks as (6,): their up and left are the robot's forward, up and left."""
        sticks = np.array([self._pad.get_axis(k) for k in range(4)]) / _FULL
        left_x, left_y, right_x, right_y = -past_dead_zone(sticks, self._cfg.dead_zone)
        roll = float("right" in down) - float("left" in down)
        pitch = float("up" in down) - float("down" in down)
        return np.array([left_y, left_x, right_y, roll, pitch, right_x])


def _sdl() -> tuple[Any, Any]:
    """The library and its controllers, set to run without a display."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources, which setuptools deplores
            import pygame  # type: ignore[import-not-found]
            from pygame._sdl2 import controller  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "pygame", "teleop", "the gamepad") from error
    return pygame, controller
