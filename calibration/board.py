"""The ChArUco board: what is printed, what is looked for, and where its corners are.

Its frame lies in the top left corner of the printed squares, x right, y down, z into the paper.
Corners are numbered row by row from there, as OpenCV numbers them.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64

__all__ = ["BoardCfg", "Dictionary"]

Dictionary = Literal["4x4_100", "5x5_100", "6x6_100"]

_FEWEST_SQUARES = 3


@dataclass(frozen=True, kw_only=True)
class BoardCfg:
    """A chessboard with a marker in each white square."""

    columns: int = 8
    """Squares from left to right."""
    rows: int = 6
    """Squares from top to bottom."""
    square_m: float = 0.03
    """Side of a square, as it measures on the paper."""
    marker_m: float = 0.022
    """Side of a marker, its black border included."""
    dictionary: Dictionary = "5x5_100"
    """Which markers: cells a side, and how many there are."""
    first_id: int = 0
    """Number of the first marker; boards of different markers can be told apart."""

    def __post_init__(self) -> None:
        """Refuse a board that cannot be printed or found."""
        if min(self.columns, self.rows) < _FEWEST_SQUARES:
            raise ConfigError(
                f"board has {self.columns} x {self.rows} squares, but needs at least "
                f"{_FEWEST_SQUARES} a side."
            )
        if not 0 < self.marker_m < self.square_m:
            raise ConfigError(
                f"board: marker_m is {self.marker_m} and square_m {self.square_m}, but a marker "
                "must fit into its square: 0 < marker_m < square_m. 0.7 of it is a good size."
            )
        last = self.first_id + self.markers - 1
        if self.first_id < 0 or last > 99:
            raise ConfigError(
                f"board: its {self.markers} markers are numbered {self.first_id} to {last}, but "
                f"{self.dictionary} has 0 to 99. Take fewer squares or another first_id."
            )

    @property
    def markers(self) -> int:
        """How many white squares there are."""
        return self.columns * self.rows // 2

    @property
    def marker_ids(self) -> range:
        """The numbers of its markers."""
        return range(self.first_id, self.first_id + self.markers)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of all squares."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def corners_m(self) -> F64:
        """(n, 3) [m] inner corners in the frame of the board."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=-1)
        return np.asarray(flat * self.square_m, np.float64)

    @property
    def centre_m(self) -> F64:
        """(3,) [m] the middle of the squares."""
        return np.array([0.5 * self.size_m[0], 0.5 * self.size_m[1], 0.0])

    def describe(self) -> str:
        """`8 x 6 squares of 30 mm, markers of 22 mm, 5x5_100 from 0`."""
        return (
            f"{self.columns} x {self.rows} squares of {1e3 * self.square_m:g} mm, markers of "
            f"{1e3 * self.marker_m:g} mm, {self.dictionary} from {self.first_id}"
        )

    def charuco(self) -> Any:
        """OpenCV's `CharucoBoard`."""
        return _charuco(self)

    def marker_cells(self, marker_id: int) -> F64:
        """(k, k) of 0 (black) and 1: the cells of a marker with its black border."""
        side = int(self.dictionary[0]) + 2
        image = _dictionary(self.dictionary).generateImageMarker(marker_id, side)
        return (np.asarray(image) > 127).astype(np.float64)


@lru_cache(maxsize=8)
def _dictionary(name: Dictionary) -> Any:
    """OpenCV's dictionary of markers."""
    import cv2

    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name.upper()}"))


@lru_cache(maxsize=8)
def _charuco(board: BoardCfg) -> Any:
    import cv2

    return cv2.aruco.CharucoBoard(
        (board.columns, board.rows),
        board.square_m,
        board.marker_m,
        _dictionary(board.dictionary),
        np.array(board.marker_ids, np.int32),
    )
