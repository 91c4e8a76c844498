"""Camera frames to bytes and back: JPEG for recordings, PNG where every bit counts.

learning:  **transition → episode store** → progress model → replay → residual agent → weights
"""

import struct

import cv2
import numpy as np

from robot_rl.errors import DataError, ShapeError
from robot_rl.replay.schema import MAX_IMAGE_PX
from robot_rl.types import U8

__all__ = ["JPEG_QUALITY", "decode_image", "encode_image", "image_size_px"]

JPEG_QUALITY = 90
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def encode_image(rgb: U8, codec: str) -> bytes:
    """Encode one frame.

    Args:
        rgb: uint8 (h, w, 3).
        codec: "jpeg" or "png".

    Raises:
        ShapeError: The frame is no uint8 RGB image.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError(f"camera frame ({rgb.dtype})", rgb.shape, (-1, -1, 3))
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if codec == "jpeg":
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    else:
        _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def image_size_px(data: bytes | memoryview, where: str) -> tuple[int, int]:
    """Read (height, width) from the header, without decoding.

    Raises:
        DataError: No JPEG or PNG header, or an image beyond `MAX_IMAGE_PX`.
    """
    head = bytes(data[:24])
    if head[:8] == _PNG_MAGIC and head[12:16] == b"IHDR":
        width, height = struct.unpack(">II", head[16:24])
    elif head[:2] == b"\xff\xd8":
        height, width = _jpeg_size(bytes(data), where)
    else:
        raise DataError(f"{where}: starts with {head[:4].hex()}, which is neither JPEG nor PNG.")
    if not (0 < width <= MAX_IMAGE_PX and 0 < height <= MAX_IMAGE_PX):
        raise DataError(f"{where}: header says {width} x {height} px; at most {MAX_IMAGE_PX}.")
    return height, width


def _jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Walk the markers to the start-of-frame (ITU T.81, B.1.1.4 and B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height, width
        if marker == 0xDA:  # the picture begins, and no size has been given
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise DataError(f"{where}: JPEG has no start-of-frame marker. Run `robot-rl data verify`.")


def decode_image(data: bytes | memoryview, size_px: tuple[int, int], where: str) -> U8:
    """Decode one frame to uint8 RGB (h, w, 3), its size checked before memory is reserved.

    Args:
        data: The encoded frame.
        size_px: The (height, width) that the store promises.
        where: Named in the error.

    Raises:
        DataError: Damaged, or of another size.
    """
    if (found := image_size_px(data, where)) != size_px:
        raise DataError(f"{where}: image is {found} (h, w) px, but the store says {size_px}.")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != size_px:
        raise DataError(f"{where}: image does not decode. Delete the episode, or restore it.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
