"""Between ROS messages and the types of robot_rl: the one place that knows ROS's conventions.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → **send**

ROS orders quaternions (x, y, z, w); everything else here is (w, x, y, z).
"""

import array
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image

from robot_rl.errors import DataError
from robot_rl.types import F64, U8

__all__ = [
    "image_message",
    "ns_from_stamp",
    "pose_from_message",
    "pose_message",
    "rgb_from_message",
    "stamp_from_ns",
]

_TO_RGB: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
}
"""Encoding to its bytes a pixel and OpenCV's conversion."""


def ns_from_stamp(stamp: Time) -> int:
    """Nanoseconds since the epoch."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_from_ns(ns: int) -> Time:
    """The stamp of an instant, given in nanoseconds since the epoch."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def pose_from_message(message: PoseStamped) -> F64:
    """The pose (7,) of a message: position [m], then quaternion."""
    at, turn = message.pose.position, message.pose.orientation
    return np.array([at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z])


def pose_message(pose: F64, stamp: Time, frame: str = "world") -> PoseStamped:
    """The message of a pose (7,): position [m], then quaternion."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z = map(float, pose)
    return message


def rgb_from_message(message: Image | CompressedImage) -> U8:
    """The pixels (height, width, 3) of a raw or compressed image.

    Raises:
        DataError: The encoding is not a colour image's, or the bytes do not make an image.
    """
    if isinstance(message, CompressedImage):
        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise DataError(f"a compressed image of format '{message.format}' cannot be decoded.")
        return _array(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    if message.encoding not in _TO_RGB:
        raise DataError(
            f"image encoding is '{message.encoding}', but must be one of "
            f"{', '.join(sorted(_TO_RGB))}. Set the camera's colour format."
        )
    channels, conversion = _TO_RGB[message.encoding]
    pixels = np.frombuffer(message.data, np.uint8)
    if message.step < message.width * channels or pixels.size != message.height * message.step:
        raise DataError(
            f"an image of {message.width} x {message.height} px in {message.encoding} holds "
            f"{pixels.size} bytes in rows of {message.step}. Check the camera's driver."
        )
    rows = pixels.reshape(message.height, message.step)[:, : message.width * channels]
    image = rows.reshape(message.height, message.width, channels)
    return image.copy() if conversion is None else _array(cv2.cvtColor(image, conversion))


def image_message(rgb: U8, stamp: Time, frame: str) -> Image:
    """The message of pixels (height, width, 3)."""
    message = Image()
    message.header.stamp, message.header.frame_id = stamp, frame
    message.height, message.width = rgb.shape[:2]
    message.encoding, message.step = "rgb8", 3 * rgb.shape[1]
    # rclpy takes bytes of any other kind element by element: 30 ms an image instead of 0.04.
    message.data = array.array("B", rgb.tobytes())
    return message


def _array(value: Any) -> U8:
    return np.asarray(value, np.uint8)
