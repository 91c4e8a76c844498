"""Frames and the health of cameras as ROS messages, named and framed as realsense-ros does.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import array

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from robot_rl_control.convert import stamp_from_ns
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robot_rl.cameras.capture import CameraHealth, CameraState
from robot_rl.cameras.frame import U16, Frame, Intrinsics
from robot_rl.replay.image_codec import encode_image
from robot_rl.types import U8

__all__ = [
    "compressed_message",
    "depth_message",
    "health_status",
    "info_message",
    "optical_frame",
    "stamp_of",
]

_SLOW_SHARE = 0.8  # of the rate that was asked for


def optical_frame(camera: str) -> str:
    """The frame of colour and aligned depth: z forward, x to the right."""
    return f"{camera}_color_optical_frame"


def stamp_of(frame: Frame) -> Time:
    """When the frame was taken, by the system's clock."""
    return stamp_from_ns(round(frame.stamp_wall_s * 1e9))


def depth_message(depth_mm: U16, stamp: Time, frame_id: str) -> Image:
    """The message of a depth image (height, width) [mm]."""
    message = Image()
    message.header.stamp, message.header.frame_id = stamp, frame_id
    message.height, message.width = depth_mm.shape
    message.encoding, message.step = "16UC1", 2 * depth_mm.shape[1]
    # rclpy copies any other kind element by element.
    message.data = array.array("B", depth_mm.tobytes())
    return message


def compressed_message(rgb: U8, stamp: Time, frame_id: str) -> CompressedImage:
    """The JPEG message of pixels (height, width, 3)."""
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.stamp, message.header.frame_id = stamp, frame_id
    message.data = array.array("B", encode_image(rgb, "jpeg"))
    return message


def info_message(frame: Frame, intrinsics: Intrinsics | None, stamp: Time) -> CameraInfo:
    """The pinhole of a frame; all zeros, as ROS has it, if the camera does not know it."""
    message = CameraInfo()
    message.header.stamp, message.header.frame_id = stamp, optical_frame(frame.camera)
    message.height, message.width = frame.rgb.shape[:2]
    if intrinsics is None:
        return message
    fx, fy, cx, cy = (
        intrinsics.fx_px,
        intrinsics.fy_px,
        intrinsics.cx_px,
        intrinsics.cy_px,
    )
    message.distortion_model, message.d = intrinsics.distortion_model, list(intrinsics.distortion)
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def health_status(health: CameraHealth, node: str, rate_hz: float) -> DiagnosticStatus:
    """The health of a camera of which `rate_hz` was asked."""
    status = DiagnosticStatus(name=f"{node}: {health.camera}", hardware_id=health.link)
    if health.state is not CameraState.STREAMING:
        is_opening = health.state is CameraState.OPENING
        status.level = DiagnosticStatus.WARN if is_opening else DiagnosticStatus.ERROR
        status.message = f"{health.state}: {health.error}" if health.error else health.state
    elif health.rate_hz < _SLOW_SHARE * rate_hz:
        status.level = DiagnosticStatus.WARN
        status.message = f"slow: {health.rate_hz:.1f} of {rate_hz:g} Hz"
    else:
        status.level, status.message = DiagnosticStatus.OK, health.state
    values = {
        "state": health.state,
        "rate [Hz]": f"{health.rate_hz:.1f}",
        "age [s]": f"{health.age_s:.3f}",
        "frames": health.received,
        "missed": health.missed,
        "repeated": health.repeated,
        "incomplete": health.incomplete,
        "losses": health.losses,
        "link": health.link,
        "stamps": health.stamp_domain,
    }
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return status
