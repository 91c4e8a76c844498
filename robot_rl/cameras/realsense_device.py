"""One RealSense device before and beside its frames: found, reset, judged by its link, described.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

Takes the module pyrealsense2 as `rs`; `realsense.py` loads it.
"""

import logging
from collections.abc import Callable
from typing import Any

from robot_rl.cameras.frame import CameraError, Intrinsics
from robot_rl.clock import Clock

__all__ = [
    "color_sensor",
    "find_device",
    "intrinsics_of",
    "link_of",
    "reset_device",
    "start_with_retries",
]

_logger = logging.getLogger(__name__)
_LEAVE_S, _RETURN_S, _POLL_S = 5.0, 20.0, 0.1


def start_with_retries(
    start: Callable[[], None], reset: Callable[[], None], attempts: int
) -> None:
    """Call `start` until it succeeds; before the last attempt, `reset`.

    Some cameras start and then deliver nothing until their hardware is reset.

    Raises:
        CameraError: The last attempt failed too.
    """
    for attempt in range(1, attempts + 1):
        if attempt == attempts > 1:
            reset()
        try:
            return start()
        except CameraError as error:
            if attempt == attempts:
                raise
            _logger.warning("attempt %d of %d: %s", attempt, attempts, error)


def find_device(rs: Any, context: Any, serial: str) -> Any:
    """The device with this serial number.

    Raises:
        CameraError: It is not there; lists those that are.
    """
    found = {}
    for device in context.query_devices():
        if device.supports(rs.camera_info.serial_number):
            found[device.get_info(rs.camera_info.serial_number)] = device
    if serial not in found:
        raise CameraError(
            f"no RealSense with serial '{serial}'. Plugged in: {', '.join(found) or 'none'}. "
            "Check cable and udev rules."
        )
    return found[serial]


def reset_device(rs: Any, context: Any, serial: str, clock: Clock) -> None:
    """Reset the hardware and wait until the camera is back on the bus, under the same serial.

    Only while nothing streams: librealsense may lock up otherwise.

    Raises:
        CameraError: It was not there, or does not come back.
    """
    find_device(rs, context, serial).hardware_reset()

    def wait_until(is_there: bool, timeout_s: float) -> bool:
        end_s = clock.now() + timeout_s
        while clock.now() < end_s:
            try:
                find_device(rs, context, serial)
                if is_there:
                    return True
            except CameraError:
                if not is_there:
                    return True
            clock.sleep_until(clock.now() + _POLL_S)
        return False

    # It is still listed for a moment; who opens it then opens what is about to vanish.
    wait_until(False, _LEAVE_S)
    if not wait_until(True, _RETURN_S):
        raise CameraError(
            f"RealSense '{serial}' did not come back within {_RETURN_S:.0f} s of its reset. "
            "Pull its cable and plug it in again."
        )


def link_of(rs: Any, device: Any, *, allow_usb2: bool) -> str:
    """How the device is linked, such as "USB 3.2".

    Raises:
        CameraError: By USB 2, and that is not allowed.
    """
    if not device.supports(rs.camera_info.usb_type_descriptor):
        return "no USB"
    usb = device.get_info(rs.camera_info.usb_type_descriptor)
    if usb.startswith("2") and not allow_usb2:
        raise CameraError(
            f"the camera runs at USB {usb}, but needs USB 3 for its modes. Use a USB 3 port and "
            "cable, plug it in swiftly, or set allow_usb2 and a smaller mode."
        )
    return f"USB {usb}"


def color_sensor(rs: Any, device: Any) -> Any:
    """The sensor that makes the colour image: by its streams, for its place differs by model.

    Raises:
        CameraError: There is none.
    """
    for sensor in device.query_sensors():
        if any(p.stream_type() == rs.stream.color for p in sensor.get_stream_profiles()):
            return sensor
    raise CameraError("the device has no colour sensor. Use a model that has one.")


def intrinsics_of(rs: Any, profile: Any) -> Intrinsics:
    """Of the colour stream; models named as ROS names them."""
    video = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
    is_fisheye = video.model == rs.distortion.kannala_brandt4
    return Intrinsics(
        width_px=video.width,
        height_px=video.height,
        fx_px=video.fx,
        fy_px=video.fy,
        cx_px=video.ppx,
        cy_px=video.ppy,
        distortion_model="equidistant" if is_fisheye else "plumb_bob",
        distortion=tuple(video.coeffs[:4] if is_fisheye else video.coeffs),
    )
