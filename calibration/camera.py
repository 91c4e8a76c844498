"""A pinhole with distortion: from points before the camera to pixels, with derivatives, and back.

Ref: OpenCV documentation, "Camera Calibration and 3D Reconstruction" (`plumb_bob` in ROS). Pixel
centres have whole coordinates; z looks ahead, x right, y down.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.types import F64

__all__ = ["PARAMETERS", "CameraModel"]

PARAMETERS = ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "p1", "p2", "k3")
"""The order of `CameraModel.parameters`."""


@dataclass(frozen=True, kw_only=True)
class CameraModel:
    """The intrinsics of one camera at one image size."""

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """k1, k2, p1, p2, k3."""

    def __post_init__(self) -> None:
        """Refuse what is no camera."""
        numbers = (self.fx_px, self.fy_px, self.cx_px, self.cy_px, *self.distortion)
        if len(self.distortion) != 5 or not np.isfinite(numbers).all():
            raise ConfigError(
                f"camera has distortion {self.distortion} and {numbers[:4]} px, but needs the "
                "five finite numbers k1, k2, p1, p2, k3 and finite fx, fy, cx, cy."
            )
        if min(self.fx_px, self.fy_px, self.width_px, self.height_px) <= 0:
            raise ConfigError(
                f"camera of {self.width_px} x {self.height_px} px with focal lengths "
                f"{self.fx_px}, {self.fy_px} px; all must be positive."
            )

    @property
    def matrix(self) -> F64:
        """(3, 3) [px]."""
        return np.array(
            [[self.fx_px, 0.0, self.cx_px], [0.0, self.fy_px, self.cy_px], [0.0, 0.0, 1.0]]
        )

    @property
    def coefficients(self) -> F64:
        """(5,) as OpenCV takes them."""
        return np.array(self.distortion)

    @property
    def parameters(self) -> F64:
        """(9,) in the order of `PARAMETERS`."""
        return np.array([self.fx_px, self.fy_px, self.cx_px, self.cy_px, *self.distortion])

    def moved(self, change: F64) -> "CameraModel":
        """The camera with something (9,) added to its `parameters`."""
        fx, fy, cx, cy, *distortion = (self.parameters + change).tolist()
        return replace(self, fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy, distortion=tuple(distortion))

    def project(self, points: F64) -> F64:
        """Pixels (..., 2) of points (..., 3) [m] before the camera."""
        x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([self.fx_px * u + self.cx_px, self.fy_px * v + self.cy_px], axis=-1)

    def jacobian(self, points: F64) -> F64:
        """Derivatives (..., 2, 3) [px/m] of `project`."""
        inverse = 1.0 / points[..., 2]
        x, y = points[..., 0] * inverse, points[..., 1] * inverse
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2.0 * (k1 + r2 * (2 * k2 + 3 * k3 * r2))  # of radial over x, divided by x
        cross = slope * x * y + 2 * p1 * x + 2 * p2 * y
        u_x = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
        v_y = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
        zero = np.zeros_like(x)
        lens = np.stack([np.stack([u_x, cross], -1), np.stack([cross, v_y], -1)], -2)
        lens = lens * np.array([[self.fx_px], [self.fy_px]])
        pinhole = np.stack(
            [
                np.stack([inverse, zero, -x * inverse], -1),
                np.stack([zero, inverse, -y * inverse], -1),
            ],
            axis=-2,
        )
        return lens @ pinhole

    def parameter_jacobian(self, points: F64) -> F64:
        """Derivatives (..., 2, 9) of `project` by `parameters`."""
        x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
        r2 = x * x + y * y
        pixels = self.project(points)
        fx, fy = self.fx_px, self.fy_px
        out = np.zeros((*x.shape, 2, 9))
        out[..., 0, 0] = (pixels[..., 0] - self.cx_px) / fx
        out[..., 1, 1] = (pixels[..., 1] - self.cy_px) / fy
        out[..., 0, 2] = out[..., 1, 3] = 1.0
        for column, power in ((4, r2), (5, r2 * r2), (8, r2 * r2 * r2)):
            out[..., 0, column], out[..., 1, column] = fx * x * power, fy * y * power
        out[..., 0, 6], out[..., 1, 6] = 2 * fx * x * y, fy * (r2 + 2 * y * y)
        out[..., 0, 7], out[..., 1, 7] = fx * (r2 + 2 * x * x), 2 * fy * x * y
        return out

    def rays(self, pixels: F64) -> F64:
        """Points (n, 3) at z = 1 that are seen at pixels (n, 2)."""
        import cv2

        flat = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        flat = cv2.undistortPoints(flat, self.matrix, self.coefficients).reshape(-1, 2)
        return np.hstack([np.asarray(flat, np.float64), np.ones((len(flat), 1))])

    def sees(self, pixels: F64, rim_px: float = 0.0) -> NDArray[np.bool_]:
        """Which pixels (..., 2) lie in the image, at least `rim_px` from its edge."""
        size = np.array([self.width_px - 1.0, self.height_px - 1.0])
        return np.asarray(((pixels >= rim_px) & (pixels <= size - rim_px)).all(-1))
