"""A real pseudo-terminal: keys arrive, the screen is restored, come what may."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import PortError
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.devices.keyboard import PRESS_S, Keyboard, RawTerminal, split_keys
from robot_rl.teleop.devices.keymap import ARROWS, KEYMAP, key_events, key_motions, legend


class Time:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def line():
    """(what a person types into, what the program reads from)."""
    person, program = pty.openpty()
    yield person, program
    for fd in (person, program):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def keys(line):
    clock = Time()
    keyboard = Keyboard(RawTerminal(line[1]), arms=2, clock=clock)
    keyboard.open()
    yield keyboard, clock, lambda typed: os.write(line[0], typed.encode())
    keyboard.close()


def eventually(check, within_s=20.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen in time")


def settings(fd):
    found = termios.tcgetattr(fd)
    return found[:4], found[6]


def test_a_press_moves_for_its_declared_time_and_no_longer(keys):
    keyboard, clock, type_ = keys
    assert not keyboard.read().active
    type_("w")
    pressed = keyboard.read()
    assert pressed.active and pressed.twist.tolist() == [1, 0, 0, 0, 0, 0]
    clock.now_s += 0.9 * PRESS_S
    assert keyboard.read().twist[0] == 1
    clock.now_s += 0.2 * PRESS_S
    released = keyboard.read()
    assert not released.active and not released.twist.any()


def test_turning_round_stops_at_once_and_axes_add_up(keys):
    keyboard, _, type_ = keys
    type_("wr")
    assert keyboard.read().twist.tolist() == [1, 0, 1, 0, 0, 0]
    type_("s")
    assert keyboard.read().twist.tolist() == [-1, 0, 1, 0, 0, 0]


def test_every_motion_key_presses_its_axis(keys):
    keyboard, clock, type_ = keys
    for key, (axis, sign) in key_motions().items():
        clock.now_s += 1
        type_(key)
        expected = np.zeros(6)
        expected[axis] = sign
        assert keyboard.read().twist.tolist() == expected.tolist(), repr(key)


def test_every_event_key_asks_once(keys):
    keyboard, _, type_ = keys
    for key, event in key_events().items():
        type_(key)
        assert keyboard.read().events == (event,), repr(key)
        assert keyboard.read().events == ()
    type_("yz")
    assert keyboard.read().events == (Event.SUCCESS, Event.UNDO)


def test_gripper_and_arm_change_over(keys):
    keyboard, _, type_ = keys
    type_("g")
    assert keyboard.read().toggles_gripper
    assert not keyboard.read().toggles_gripper
    type_("gg")
    assert not keyboard.read().toggles_gripper
    type_("\t")
    assert keyboard.read().arm == 1
    type_("\t")
    assert keyboard.read().arm == 0


@given(st.lists(st.sampled_from([*key_events(), *key_motions(), "g", "?"])), st.data())
def test_keys_survive_any_split_of_what_is_typed(typed, data):
    whole = "".join(typed)
    cut = data.draw(st.integers(0, len(whole)))
    first, rest = split_keys(whole[:cut])
    second, rest = split_keys(rest + whole[cut:])
    assert [*first, *second] == typed and rest == ""


def test_arrows_of_an_application_keypad_are_arrows_too():
    assert split_keys("\x1bOA\r") == ([ARROWS["↑"], "\n"], "")


def test_the_terminal_is_as_it_was_after_closing_and_closing_twice_is_harmless(line):
    before = settings(line[1])
    keyboard = Keyboard(RawTerminal(line[1]))
    keyboard.open()
    assert settings(line[1]) != before
    keyboard.close()
    keyboard.close()
    assert settings(line[1]) == before


CHILD = """
import sys, time
from robot_rl.teleop.devices.keyboard import Keyboard, RawTerminal
keyboard = Keyboard(RawTerminal(0))
keyboard.open()
print("ready", flush=True)
if sys.argv[1] == "raise":
    raise RuntimeError("on purpose")
time.sleep(60)
"""


@pytest.mark.parametrize("end", ["raise", signal.SIGINT, signal.SIGKILL])
def test_the_terminal_is_restored_however_the_program_ends(line, end):
    before = settings(line[1])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(end)],
        stdin=line[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    if end != "raise":
        assert settings(line[1]) != before
        child.send_signal(end)
    child.wait(20)
    child.stdout.close()
    eventually(lambda: settings(line[1]) == before)


def test_what_is_no_terminal_is_refused_and_a_hang_up_says_so(line, tmp_path):
    with (tmp_path / "file").open("w") as file, pytest.raises(PortError, match="ssh -t"):
        Keyboard(RawTerminal(file.fileno())).open()
    keyboard = Keyboard(RawTerminal(line[1]))
    with pytest.raises(PortError, match=r"not open. Call open\(\)"):
        keyboard.read()
    keyboard.open()
    os.close(line[0])
    with pytest.raises(PortError, match="terminal has gone"):
        keyboard.read()
    keyboard.close()


def test_the_keymap_has_no_key_twice_and_every_event_has_one():
    keys = [key for binding in KEYMAP for key in binding.keys]
    assert len(keys) == len(set(keys))
    assert set(key_events().values()) == set(Event)
    buttons = [b.gamepad for b in KEYMAP if b.event is not None]
    assert len(buttons) == len(set(buttons)) and all(buttons)


def test_the_legend_shows_a_device_and_the_keyboard_beside_it():
    keyboard = dict(legend("keyboard"))
    assert keyboard["w ↑"] == "forward" and keyboard["Enter"] == "start"
    gamepad = dict(legend("gamepad"))
    assert gamepad["Y or y"] == "success" and gamepad["LB"] == "hold to move (clutch)"
    assert dict(legend("gamepad", with_keyboard=False))["Y"] == "success"
    assert dict(legend("spacemouse"))["left button"] == "open or close the gripper"
