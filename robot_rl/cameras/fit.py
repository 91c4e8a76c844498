"""Camera images at the size that the policy sees: the widest centred part, averaged down.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import cv2
import numpy as np

from robot_rl.types import U8

__all__ = ["fit_image"]


def fit_image(rgb: U8, width_px: int, height_px: int) -> U8:
    """Cut to the wanted aspect ratio around the centre, then resize; never stretches.

    Args:
        rgb: (h, w, 3).
        width_px: Of the result.
        height_px: Of the result.

    Returns:
        (height_px, width_px, 3); `rgb` itself if it has that size.
    """
    height, width = rgb.shape[:2]
    if (width, height) == (width_px, height_px):
        return rgb
    cut_width = max(1, min(width, round(height * width_px / height_px)))
    cut_height = max(1, min(height, round(width * height_px / width_px)))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = rgb[top : top + cut_height, left : left + cut_width]
    # Averaging over areas does not alias when shrinking, but makes blocks when growing.
    method = cv2.INTER_AREA if width_px <= cut_width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (width_px, height_px), interpolation=method), np.uint8)
