"""pygame reads a virtual controller that SDL itself makes: the true driver, without hardware."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import PortError
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.devices.gamepad import Gamepad, _sdl, past_dead_zone

AXES = {"left_x": 0, "left_y": 1, "right_x": 2, "right_y": 3, "LT": 4, "RT": 5}
BUTTONS = {"A": 0, "B": 1, "X": 2, "Y": 3, "back": 4, "guide": 5, "start": 6, "L3": 7, "R3": 8}
BUTTONS |= {"LB": 9, "RB": 10, "up": 11, "down": 12, "left": 13, "right": 14}


class VirtualPad:
    """A controller of SDL's own making."""

    def __init__(self, pygame, controller):
        folder = Path(pygame.__file__).parents[1] / "pygame.libs"
        libraries = list(folder.glob("libSDL2-2*"))
        if not libraries:
            pytest.skip("this pygame does not bundle SDL")
        self._sdl = ctypes.CDLL(str(libraries[0]))
        if not hasattr(self._sdl, "SDL_JoystickAttachVirtual"):
            pytest.skip("this SDL has no virtual joysticks")
        pygame.display.init()
        pygame.joystick.init()
        controller.init()
        self._index = self._sdl.SDL_JoystickAttachVirtual(1, 6, 21, 1)
        assert self._index >= 0
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def axis(self, name, share):
        value = ctypes.c_int16(round(32767 * share))
        self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, AXES[name], value)

    def button(self, name, is_down=True):
        down = ctypes.c_uint8(is_down)
        self._sdl.SDL_JoystickSetVirtualButton(self._joystick, BUTTONS[name], down)

    def unplug(self):
        self._sdl.SDL_JoystickDetachVirtual(self._index)


@pytest.fixture
def pad():
    try:
        pygame, controller = _sdl()
    except ImportError as error:
        pytest.skip(str(error))
    virtual = VirtualPad(pygame, controller)
    gamepad = Gamepad(arms=2, clock=lambda: 7.0)
    gamepad.open()
    yield gamepad, virtual
    gamepad.close()
    virtual.unplug()
    pygame.quit()


def test_sticks_move_only_while_the_clutch_is_held(pad):
    gamepad, virtual = pad
    virtual.axis("left_y", -1.0)
    assert not gamepad.read().twist.any() and not gamepad.read().active
    virtual.button("LB")
    sample = gamepad.read()
    assert sample.active and sample.stamp_s == 7.0
    assert sample.twist.tolist() == [1, 0, 0, 0, 0, 0], "stick up is forward"
    virtual.axis("left_y", 0.0)
    virtual.axis("left_x", -1.0)
    assert gamepad.read().twist.tolist() == [0, 1, 0, 0, 0, 0], "stick left is left"
    virtual.axis("left_x", 0.0)
    virtual.axis("right_y", -1.0)
    virtual.button("up")
    assert gamepad.read().twist.tolist() == [0, 0, 1, 0, 1, 0]
    virtual.button("LB", False)
    assert not gamepad.read().twist.any()


def test_buttons_ask_once_a_press(pad):
    gamepad, virtual = pad
    expected = {"start": Event.START, "Y": Event.SUCCESS, "A": Event.FAILURE, "B": Event.DISCARD}
    expected |= {"X": Event.RERECORD, "back": Event.UNDO, "RB": Event.INTERVENE}
    for name, event in expected.items():
        virtual.button(name)
        assert gamepad.read().events == (event,), name
        assert gamepad.read().events == ()
        virtual.button(name, False)
        assert gamepad.read().events == ()


def test_trigger_and_stick_button_change_gripper_and_arm_over(pad):
    gamepad, virtual = pad
    virtual.axis("RT", 1.0)
    assert gamepad.read().toggles_gripper
    assert not gamepad.read().toggles_gripper
    virtual.button("L3")
    assert gamepad.read().arm == 1
    assert gamepad.read().arm == 1


def test_unplugging_is_an_error_and_so_is_none_there(pad):
    gamepad, virtual = pad
    virtual.unplug()
    with pytest.raises(PortError, match=r"gamepad has gone\. Plug it in"):
        gamepad.read()
    with pytest.raises(PortError, match="gamepad 0 is not there; 0 found"):
        Gamepad().open()


@given(st.floats(-1.5, 1.5), st.floats(0, 0.9))
def test_a_dead_zone_is_continuous_odd_and_reaches_the_ends(value, zone):
    def past(x):
        return float(past_dead_zone(np.array([x]), zone)[0])

    assert past(value) == -past(-value)
    assert abs(past(value)) <= 1 and past(1.0) == 1.0 and past(zone) == 0.0
    assert abs(past(value + 1e-9) - past(value)) < 1e-7
