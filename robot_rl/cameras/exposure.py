"""Hold exposure and white balance where automatic control has brought them.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

A policy learns colours and brightness; automatic control changes them when the arm moves past.
Switching it off is not enough: the colour sensor of the D400 series does not tell which exposure
automatic control has chosen, neither as option nor as metadata (librealsense, discussions 2549 and
5035), and falls back to its factory value. So the manual value that gives the same picture is
searched for.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from robot_rl.types import U8

__all__ = ["Look", "hold_exposure", "lock_exposure", "look_of"]

_STEPS = 10  # halvings: the value is within 0.1 % of its (logarithmic) range


class Look(NamedTuple):
    """What exposure and white balance act on."""

    brightness: float  # mean of all channels
    warmth: float  # red over blue


def look_of(rgb: U8) -> Look:
    """Brightness and warmth of an image (h, w, 3)."""
    # Every eighth pixel tells as much of a mean as all of them.
    red, _, blue = means = rgb[::8, ::8].mean(axis=(0, 1))
    return Look(brightness=float(means.mean()), warmth=float((red + 1.0) / (blue + 1.0)))


def lock_exposure(rs: Any, sensor: Any, settled_look: Callable[[], Look]) -> dict[str, float]:
    """Switch automatic control off and find the manual values that keep the present look.

    Args:
        rs: The module pyrealsense2.
        sensor: The sensor that makes the colour image; options it lacks are left out.
        settled_look: Waits until a change of the sensor is seen, and returns how it looks.

    Returns:
        The values found, by the part of the look that they keep.
    """
    wanted = settled_look()
    found: dict[str, float] = {}
    for part, (automatic, manual) in _controls(rs, sensor).items():
        sensor.set_option(automatic, 0.0)
        target = getattr(wanted, part)
        found[part] = _search(sensor, manual, lambda p=part: getattr(settled_look(), p), target)
    return found


def hold_exposure(rs: Any, sensor: Any, found: dict[str, float]) -> None:
    """Set what `lock_exposure` found before the camera was lost: it must look as it did."""
    for part, (automatic, manual) in _controls(rs, sensor).items():
        sensor.set_option(automatic, 0.0)
        sensor.set_option(manual, found[part])


def _controls(rs: Any, sensor: Any) -> dict[str, tuple[Any, Any]]:
    """The automatic and the manual option of each part of the look, if the sensor has both."""
    option = rs.option
    pairs = {
        "brightness": (option.enable_auto_exposure, option.exposure),
        "warmth": (option.enable_auto_white_balance, option.white_balance),
    }
    return {part: pair for part, pair in pairs.items() if all(map(sensor.supports, pair))}


def _search(sensor: Any, option: Any, measure: Callable[[], float], target: float) -> float:
    """Halve the option's range until `measure`, which grows with it, meets the target."""
    span = sensor.get_option_range(option)
    lower, upper = max(span.min, span.step), span.max
    best, best_error = lower, math.inf
    for _ in range(_STEPS):
        middle = math.sqrt(lower * upper)  # what is seen grows with the ratio of exposures
        value = span.min + round((middle - span.min) / span.step) * span.step
        sensor.set_option(option, value)
        error = measure() - target
        if abs(error) < best_error:
            best, best_error = value, abs(error)
        lower, upper = (lower, middle) if error > 0 else (middle, upper)
    sensor.set_option(option, best)
    return best
