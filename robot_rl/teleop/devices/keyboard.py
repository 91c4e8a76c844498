"""A keyboard in any terminal, over SSH too: no display, no driver, no key-up.

command:   **person → device** → mapping → decode → safety → send

A terminal says that a key was pressed, never that it was let go. So a press moves for `press_s`,
and holding the key (which repeats it) goes on moving.
"""

import atexit
import contextlib
import os
import select
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, PortError
from robot_rl.teleop.devices.device import Event, Sample
from robot_rl.teleop.devices.keymap import key_events, key_motions

__all__ = ["PRESS_S", "Keyboard", "RawTerminal", "split_keys"]

PRESS_S = 0.2
"""How long one press moves; held keys repeat every 0.03 s or so, after a first, longer pause."""

# Runs when its standard input ends, which it does even if we are killed: nothing else could.
_GUARD = 'while read -r _; do :; done; stty "$1" <"$2"'


class RawTerminal:
    """A terminal that hands over each key at once, and is put back when closed or when we die."""

    def __init__(self, fd: int | None = None) -> None:
        """Take a file descriptor; by default that of standard input, when it is opened."""
        self._fd = fd
        self._before: list[Any] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Hand over each key at once from now on.

        Raises:
            PortError: It is no terminal.
        """
        if self._before is not None:
            return
        fd = sys.stdin.fileno() if self._fd is None else self._fd
        if not os.isatty(fd):
            raise PortError(
                "the keyboard needs a terminal, but the input is a pipe or a file. Run in a "
                "terminal; over SSH with `ssh -t`."
            )
        self._fd, self._before = fd, termios.tcgetattr(fd)
        saved = subprocess.run(["stty", "-g"], stdin=fd, capture_output=True, check=True).stdout
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", saved.decode().strip(), os.ttyname(fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # neither Ctrl-C nor a kill of our group reaches it
        )
        atexit.register(self.close)
        tty.setcbreak(fd, termios.TCSADRAIN)  # Ctrl-C still interrupts

    def read(self) -> str:
        """What was typed since the last read, without waiting.

        Raises:
            PortError: The terminal has gone.
        """
        if self._fd is None or self._before is None:
            raise PortError("the keyboard is not open. Call open() first.")
        typed = b""
        try:
            while select.select([self._fd], [], [], 0)[0]:
                got = os.read(self._fd, 1024)
                if not got:
                    raise PortError("the terminal has gone. Log in again.")
                typed += got
        except OSError as error:  # a hung-up terminal answers with an I/O error
            raise PortError(f"the terminal has gone ({error}). Log in again.") from error
        return typed.decode(errors="replace")

    def close(self) -> None:
        """Put the terminal back. Calling it twice is harmless."""
        if self._fd is None or self._before is None:
            return
        before, self._before = self._before, None
        atexit.unregister(self.close)
        with contextlib.suppress(termios.error):  # hung up: there is nothing to put back
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()


def split_keys(typed: str) -> tuple[list[str], str]:
    """Keys in what a terminal sent, arrows whole; and the beginning of one that is not yet."""
    keys: list[str] = []
    k = 0
    while k < len(typed):
        if typed[k] != "\x1b":
            keys.append("\n" if typed[k] == "\r" else typed[k])
            k += 1
            continue
        if typed[k : k + 2] in ("\x1b[", "\x1bO"):  # O in application mode, as under tmux
            if k + 2 >= len(typed):
                return keys, typed[k:]
            keys.append("\x1b[" + typed[k + 2])
            k += 3
        elif k + 1 == len(typed):
            return keys, typed[k:]
        else:
            keys.append(typed[k])
            k += 1
    return keys, ""


class Keyboard:
    """Motion, gripper and events from keys; what moves is what was pressed within `press_s`."""

    name = "keyboard"

    def __init__(
        self,
        terminal: RawTerminal | None = None,
        *,
        arms: int = 1,
        press_s: float = PRESS_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read a terminal (by default standard input) for a robot with `arms` arms."""
        if not press_s > 0 or arms < 1:
            raise ConfigError(
                f"keyboard: press_s is {press_s} and must be positive; arms is {arms} and must "
                "be at least 1."
            )
        self._terminal = terminal or RawTerminal()
        self._arms, self._press_s, self._clock = arms, press_s, clock
        self._events, self._motions = key_events(), key_motions()
        self._until_s = np.full((6, 2), -np.inf)  # by axis; plus and minus
        self._rest, self._arm = "", 0

    def open(self) -> None:
        """See `Device.open`."""
        self._terminal.open()

    def read(self) -> Sample:
        """See `Device.read`."""
        now_s = self._clock()
        keys, self._rest = split_keys(self._rest + self._terminal.read())
        events: list[Event] = []
        toggles = 0
        for typed in keys:
            key = typed.lower() if len(typed) == 1 else typed  # caps lock is no reason to stop
            if key in self._events:
                events.append(self._events[key])
            elif key in self._motions:
                axis, sign = self._motions[key]
                self._until_s[axis, int(sign < 0)] = now_s + self._press_s
                self._until_s[axis, int(sign > 0)] = -np.inf  # turning round stops at once
            elif key == "g":
                toggles += 1
            elif key == "\t":
                self._arm = (self._arm + 1) % self._arms
        pressed = (now_s < self._until_s).astype(float)
        twist = pressed[:, 0] - pressed[:, 1]
        return Sample(
            stamp_s=now_s,
            twist=twist,
            toggles_gripper=toggles % 2 == 1,
            arm=self._arm,
            active=bool(pressed.any()) or toggles > 0,
            events=tuple(events),
        )

    def close(self) -> None:
        """See `Device.close`."""
        self._terminal.close()
