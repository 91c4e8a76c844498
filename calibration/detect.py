"""From an image to the corners of the board in it, and from those to where the board was.

Also here is what can be told at first sight: another board than the one that was named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from robot_rl.errors import DataError
from robot_rl.geometry import matrix_from_rotvec
from robot_rl.types import F64, I64, U8

__all__ = ["FEWEST_CORNERS", "BoardView", "board_pose", "detect_board", "detect_boards"]

FEWEST_CORNERS = 8
"""A view with fewer is not used: their pose is too uncertain to weigh against the arm's."""

_LAYOUT_SLACK = 0.25  # misfit of the marker grid, as a share of a marker's side
_SURE_MARKERS = 3  # fewer foreign markers may be false reads


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardView:
    """The corners of the board in one image."""

    ids: I64  # (k,) numbers of the corners, see `BoardCfg.corners_m`
    corners_px: F64  # (k, 2)

    def points_m(self, board: BoardCfg) -> F64:
        """(k, 3) [m] the same corners on the board."""
        return board.corners_m[self.ids]


def detect_board(image: U8, board: BoardCfg, where: str = "image") -> BoardView | None:
    """Find the board in an image (height, width) or (height, width, 3).

    Returns:
        The corners, or None if fewer than `FEWEST_CORNERS` are seen.

    Raises:
        DataError: The image shows another board.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    corners, ids, markers, marker_ids = cv2.aruco.CharucoDetector(board.charuco()).detectBoard(
        grey
    )
    if marker_ids is not None and len(marker_ids):
        flat = np.asarray(marker_ids, np.int64).ravel()
        quads = [np.asarray(marker, np.float64).reshape(4, 2) for marker in markers]
        _check_markers(flat, quads, board, where)
    if ids is None or len(ids) < FEWEST_CORNERS:
        return None
    return BoardView(
        ids=np.asarray(ids).reshape(-1).astype(np.int64),
        corners_px=np.asarray(corners, np.float64).reshape(-1, 2),
    )


def detect_boards(
    images: Sequence[U8], board: BoardCfg, names: Sequence[str]
) -> list[BoardView | None]:
    """`detect_board` for each image; the names stand in errors."""
    return [detect_board(image, board, name) for image, name in zip(images, names, strict=True)]


def board_pose(camera: CameraModel, view: BoardView, board: BoardCfg) -> tuple[F64, F64]:
    """Where the board was, from one view.

    Returns:
        (T_cam_board, residuals): (4, 4) [m], and (k, 2) [px] seen minus projected.
    """
    points = view.points_m(board)
    pixels = view.corners_px.reshape(-1, 1, 2)
    K, D = camera.matrix, camera.coefficients
    found, rvecs, tvecs, _ = cv2.solvePnPGeneric(points, pixels, K, D, flags=cv2.SOLVEPNP_IPPE)
    best: tuple[float, F64, F64] | None = None
    for rvec, tvec in zip(rvecs, tvecs, strict=True) if found else ():
        rvec, tvec = cv2.solvePnPRefineLM(points, pixels, K, D, rvec.copy(), tvec.copy())
        T = np.eye(4)
        T[:3, :3] = matrix_from_rotvec(np.asarray(rvec, np.float64).ravel())
        T[:3, 3] = np.asarray(tvec).ravel()
        residual = view.corners_px - camera.project(points @ T[:3, :3].T + T[:3, 3])
        cost = float((residual**2).sum())
        if T[2, 3] > 0 and (best is None or cost < best[0]):
            best = cost, T, residual
    if best is None:
        raise DataError(
            f"no pose of the board explains its {len(view.ids)} corners. Are these the "
            "intrinsics of this camera?"
        )
    return best[1], best[2]


def _check_markers(ids: I64, corners: list[F64], board: BoardCfg, where: str) -> None:
    """Refuse markers that the board does not have, or has elsewhere."""
    known = np.isin(ids, board.marker_ids)
    foreign = sorted({int(i) for i in ids[~known]})
    if len(foreign) >= _SURE_MARKERS:
        raise DataError(
            f"{where} shows the markers {foreign}, which a board of {board.describe()} does not "
            "have. Name the board that was printed: its size stands below the squares."
        )
    if known.sum() < _SURE_MARKERS:
        return
    place = {
        i: np.asarray(p)[:, :2]
        for i, p in zip(board.marker_ids, board.charuco().getObjPoints(), strict=True)
    }
    flat = np.concatenate([place[int(i)] for i in ids[known]]).astype(np.float64)
    seen = np.concatenate([c for c, k in zip(corners, known, strict=True) if k]).astype(np.float64)
    H, _ = cv2.findHomography(flat, seen, 0)
    if H is None:
        return
    shown = cv2.perspectiveTransform(flat.reshape(-1, 1, 2), H).reshape(-1, 2)
    misfit = float(np.sqrt(((shown - seen) ** 2).sum(-1).mean()))
    side = float(np.linalg.norm(np.diff(seen.reshape(-1, 4, 2), axis=1), axis=-1).mean())
    if misfit > _LAYOUT_SLACK * side:
        raise DataError(
            f"{where} shows the markers of {board.describe()} in another order: the printed board "
            "has another number of columns or rows. Name the board that was printed."
        )
