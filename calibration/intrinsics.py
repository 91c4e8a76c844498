"""Intrinsics of one camera from views of the board, with what they are worth.

A small reprojection error proves little: a board that was never tilted, or never seen in the
corners of the image, fits any focal length well. Coverage, tilt, spread and the error on views
that were held out are therefore part of the result, and too little of them is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from calibration.board import BoardCfg
from calibration.camera import PARAMETERS, CameraModel
from calibration.detect import BoardView, board_pose
from robot_rl.errors import ConfigError, DataError
from robot_rl.types import F64, I64

__all__ = [
    "COVERAGE_GRID",
    "Intrinsics",
    "IntrinsicsCfg",
    "bare_parts",
    "calibrate_intrinsics",
    "coverage",
]

COVERAGE_GRID = (6, 8)
"""Rows and columns of cells in which corners are counted."""

_HELD_OUT_EVERY = 5
_LARGEST_DROPPED = 0.2  # share of views


@dataclass(frozen=True, kw_only=True)
class IntrinsicsCfg:
    """What counts as enough."""

    fewest_views: int = 10
    """With the board in each."""
    fewest_tilted: int = 4
    """Views in which the board is turned from the camera by `tilt_deg` or more."""
    tilt_deg: float = 15.0
    """Without tilt, focal length and distance cannot be told apart."""
    smallest_coverage: float = 0.5
    """Share of the image's cells in which corners must have been seen."""
    radial_terms: Literal[1, 2, 3] = 2
    """k1, k2, k3; the third only helps lenses of very wide angle."""
    largest_focal_std: float = 0.005
    """Largest standard deviation of the focal length, as a share of it."""
    largest_rms_px: float = 1.0
    """RMS above which no single camera took the views, or the board is not flat."""

    def __post_init__(self) -> None:
        """Refuse what no calibration can stand on."""
        if self.fewest_views < 4:
            raise ConfigError(f"fewest_views is {self.fewest_views}, but must be at least 4.")
        if not (0 <= self.smallest_coverage <= 1 and 0 < self.largest_focal_std < 1):
            raise ConfigError(
                f"smallest_coverage is {self.smallest_coverage} and largest_focal_std is "
                f"{self.largest_focal_std}, but both are shares: within 0 and 1."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Intrinsics:
    """A camera and how well it is known."""

    camera: CameraModel
    std: F64  # (9,) standard deviations of the camera's parameters; 0 of what was not fitted
    rms_px: float
    held_out_px: float  # RMS on views that a fit without them did not see
    used: I64  # (v,) places of the views that it rests on
    dropped: I64  # places of views that fit badly
    view_rms_px: F64  # (v,)
    tilt_deg: F64  # (v,) between the board's normal and the optical axis
    coverage: I64  # COVERAGE_GRID, corners seen in each cell


def coverage(views: Sequence[BoardView], width_px: int, height_px: int) -> I64:
    """How many corners were seen in each cell of the image, shaped as `COVERAGE_GRID`."""
    pixels = np.concatenate([np.zeros((0, 2)), *(view.corners_px for view in views)])
    rows, columns = COVERAGE_GRID
    counts, _, _ = np.histogram2d(
        pixels[:, 1],
        pixels[:, 0],
        bins=(rows, columns),
        range=((-0.5, height_px - 0.5), (-0.5, width_px - 0.5)),
    )
    return counts.astype(np.int64)


def calibrate_intrinsics(
    views: Sequence[BoardView],
    board: BoardCfg,
    width_px: int,
    height_px: int,
    cfg: IntrinsicsCfg | None = None,
) -> Intrinsics:
    """Fit one camera to all views but those that plainly do not belong.

    Raises:
        DataError: The views are too few, too alike or not of one camera; says which.
    """
    cfg = cfg or IntrinsicsCfg()
    if len(views) < cfg.fewest_views:
        raise DataError(
            f"the board was found in {len(views)} views, but {cfg.fewest_views} are needed. "
            "Take more: near and far, tilted, in each corner of the image."
        )
    cells = coverage(views, width_px, height_px)
    if (cells > 0).mean() < cfg.smallest_coverage:
        raise DataError(
            f"corners were seen in {(cells > 0).mean():.0%} of the image, but "
            f"{cfg.smallest_coverage:.0%} are needed. Bring the board to "
            f"{', '.join(bare_parts(cells)) or 'all its corners'}."
        )
    size = (width_px, height_px)
    used = np.arange(len(views))
    for _ in range(3):
        fit = _fit([views[int(i)] for i in used], board, size, cfg)
        limit = 3.0 * float(np.median(fit.view_rms_px)) + 0.1
        good = fit.view_rms_px <= limit
        if good.all():
            break
        used = used[good]
    fewest = max((1 - _LARGEST_DROPPED) * len(views), cfg.fewest_views)
    if len(used) < fewest or fit.rms_px > cfg.largest_rms_px:
        raise DataError(
            f"the views do not fit one camera: {len(used)} of {len(views)} are left, with RMS "
            f"{fit.rms_px:.2f} px. Are there views of another camera, did focus or zoom change, "
            "or is the board not flat?"
        )
    kept = [views[int(i)] for i in used]
    tilt = _tilt_deg(fit.camera, kept, board)
    _check(fit, tilt, cfg)
    train = [v for i, v in enumerate(kept) if i % _HELD_OUT_EVERY]
    judge = _fit(train, board, size, cfg).camera
    unseen = [board_pose(judge, v, board)[1] for v in kept[::_HELD_OUT_EVERY]]
    return Intrinsics(
        camera=fit.camera,
        std=fit.std,
        rms_px=fit.rms_px,
        held_out_px=_rms(np.concatenate(unseen)),
        used=used,
        dropped=np.setdiff1d(np.arange(len(views)), used),
        view_rms_px=fit.view_rms_px,
        tilt_deg=tilt,
        coverage=cells,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """One run of OpenCV's bundle adjustment."""

    camera: CameraModel
    std: F64
    rms_px: float
    view_rms_px: F64


def _fit(
    views: Sequence[BoardView], board: BoardCfg, size: tuple[int, int], cfg: IntrinsicsCfg
) -> _Fit:
    """Least squares over all views."""
    flags = cv2.CALIB_FIX_K3 if cfg.radial_terms < 3 else 0
    flags |= cv2.CALIB_FIX_K2 if cfg.radial_terms < 2 else 0
    try:
        rms, K, D, _, _, std, _, view_rms = cv2.calibrateCameraExtended(
            [view.points_m(board).astype(np.float32) for view in views],
            [view.corners_px.astype(np.float32) for view in views],
            size,
            np.eye(3),
            np.zeros(5),
            flags=flags,
        )
    except cv2.error as error:
        raise DataError(
            f"the views determine no camera ({error.err}). Take views that are tilted and "
            "differ from each other."
        ) from error
    K, D = np.asarray(K, np.float64), np.asarray(D, np.float64).reshape(-1)
    camera = CameraModel(
        width_px=size[0],
        height_px=size[1],
        fx_px=float(K[0, 0]),
        fy_px=float(K[1, 1]),
        cx_px=float(K[0, 2]),
        cy_px=float(K[1, 2]),
        distortion=tuple(float(d) for d in D[:5]),
    )
    return _Fit(
        camera=camera,
        std=np.asarray(std, np.float64).reshape(-1)[: len(PARAMETERS)],
        rms_px=float(rms),
        view_rms_px=np.asarray(view_rms, np.float64).reshape(-1),
    )


def _check(fit: _Fit, tilt_deg: F64, cfg: IntrinsicsCfg) -> None:
    """Refuse a fit that says little."""
    tilted = int((tilt_deg >= cfg.tilt_deg).sum())
    if tilted < cfg.fewest_tilted:
        raise DataError(
            f"the board was tilted by {cfg.tilt_deg:g} degrees or more in {tilted} views, but "
            f"{cfg.fewest_tilted} are needed: untilted, focal length and distance cannot be told "
            "apart. Tilt it about both axes, by 20 to 45 degrees."
        )
    focal_std = float(max(fit.std[0] / fit.camera.fx_px, fit.std[1] / fit.camera.fy_px))
    if not focal_std <= cfg.largest_focal_std:
        raise DataError(
            f"the focal length is known to {focal_std:.2%} only, but {cfg.largest_focal_std:.2%} "
            "is needed. Take more views: nearer, and tilted more."
        )


def _tilt_deg(camera: CameraModel, views: Sequence[BoardView], board: BoardCfg) -> F64:
    """(v,) angles between the board's normal and the optical axis."""
    normals = [board_pose(camera, view, board)[0][2, 2] for view in views]
    return np.rad2deg(np.arccos(np.clip(np.abs(normals), 0.0, 1.0)))


def bare_parts(cells: I64) -> list[str]:
    """Parts of the image in which hardly a corner was seen, in words."""
    empty = cells == 0
    half_row, half_column = cells.shape[0] // 2, cells.shape[1] // 2
    share = {
        f"the {row} {column} of the image": empty[rows][:, columns].mean()
        for row, rows in (("upper", slice(None, half_row)), ("lower", slice(half_row, None)))
        for column, columns in (
            ("left", slice(None, half_column)),
            ("right", slice(half_column, None)),
        )
    }
    return [words for words, bare in share.items() if bare > 0.5]


def _rms(residuals: F64) -> float:
    """Root mean squared distance [px] of residuals (n, 2)."""
    return float(np.sqrt((residuals**2).sum(-1).mean()))
