"""Exposure held by hand looks as automatic control left it; options are librealsense's own."""

import numpy as np
import pytest

from robot_rl.cameras.exposure import Look, hold_exposure, lock_exposure, look_of

rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)

AUTO_EXPOSURE, EXPOSURE = rs.option.enable_auto_exposure, rs.option.exposure
AUTO_WHITE, WHITE = rs.option.enable_auto_white_balance, rs.option.white_balance


class Eye:
    """A colour sensor and the picture it would give: linear in exposure, warmer with the setting.

    While control is automatic the picture belongs to values that the options do not show.
    """

    def __init__(self, auto_exposure: float, auto_white: float, *, has_white: bool = True) -> None:
        self.auto = (auto_exposure, auto_white)
        self.device = rs.software_device()
        self.sensor = self.device.add_sensor("RGB Camera")
        self.add(AUTO_EXPOSURE, 0, 1, 1, 1)
        self.add(EXPOSURE, 1, 10000, 166, 1)
        if has_white:
            self.add(AUTO_WHITE, 0, 1, 1, 1)
            self.add(WHITE, 2800, 6500, 4600, 10)

    def add(self, option, low, high, default, step) -> None:
        span = rs.option_range()
        span.min, span.max, span.default, span.step = low, high, default, step
        self.sensor.add_option(option, span, True)

    def value(self, automatic, manual, hidden: float) -> float:
        if not self.sensor.supports(automatic) or self.sensor.get_option(automatic):
            return hidden
        return self.sensor.get_option(manual)

    def look(self) -> Look:
        exposure = self.value(AUTO_EXPOSURE, EXPOSURE, self.auto[0])
        white = self.value(AUTO_WHITE, WHITE, self.auto[1])
        return Look(brightness=min(255.0, 0.1 * exposure), warmth=white / 4000.0)


@pytest.mark.parametrize("exposure", [2.0, 40.0, 166.0, 900.0, 2400.0])
@pytest.mark.parametrize("white", [2900.0, 4600.0, 6400.0])
def test_the_picture_stays_as_it_was(exposure, white):
    eye = Eye(exposure, white)
    before = eye.look()
    found = lock_exposure(rs, eye.sensor, eye.look)
    assert eye.sensor.get_option(AUTO_EXPOSURE) == eye.sensor.get_option(AUTO_WHITE) == 0.0
    after = eye.look()
    assert after.brightness == pytest.approx(before.brightness, rel=0.02, abs=0.1)
    assert after.warmth == pytest.approx(before.warmth, rel=0.01)
    assert found == {
        "brightness": eye.sensor.get_option(EXPOSURE),
        "warmth": eye.sensor.get_option(WHITE),
    }


def test_a_camera_that_comes_back_is_given_what_it_had():
    eye = Eye(900.0, 3000.0)
    found = lock_exposure(rs, eye.sensor, eye.look)
    before, back = eye.look(), Eye(50.0, 6000.0)
    hold_exposure(rs, back.sensor, found)
    assert back.look() == before


def test_a_sensor_without_white_balance_keeps_its_exposure():
    eye = Eye(900.0, 4600.0, has_white=False)
    assert set(lock_exposure(rs, eye.sensor, eye.look)) == {"brightness"}
    assert eye.sensor.get_option(EXPOSURE) == pytest.approx(900.0, rel=0.02)


def test_a_look_tells_brightness_and_warmth():
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = 199, 99
    look = look_of(rgb)
    assert look.warmth == 2.0 and look.brightness == pytest.approx((199 + 99) / 3)
