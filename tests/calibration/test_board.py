import struct
import zlib

import cv2
import numpy as np
import pytest

from calibration.board import BoardCfg
from calibration.detect import detect_board
from calibration.sheet import dark_rectangles, raster, write_sheet
from robot_rl.errors import ConfigError, DataError

POINTS_PER_MM = 72 / 25.4


@pytest.mark.parametrize(
    "board",
    [BoardCfg(), BoardCfg(columns=5, rows=7, dictionary="4x4_100", first_id=20)],
    ids=["wide", "tall"],
)
def test_what_is_printed_is_what_opencv_would_draw(board):
    cells = (int(board.dictionary[0]) + 2) * 10  # pixels a marker: its cells come out whole
    px_per_m = cells / board.marker_m
    board = BoardCfg(
        columns=board.columns,
        rows=board.rows,
        marker_m=0.7 * board.square_m,
        dictionary=board.dictionary,
        first_id=board.first_id,
    )
    px_per_m = cells / board.marker_m
    ours = raster(board, px_per_m)
    theirs = board.charuco().generateImage(ours.shape[::-1])
    assert np.array_equal(ours, theirs)


def test_corners_are_those_of_opencv():
    board = BoardCfg(columns=7, rows=5)
    np.testing.assert_allclose(board.corners_m, board.charuco().getChessboardCorners(), atol=1e-7)


def test_a_printed_board_is_found_where_it_was_drawn():
    board = BoardCfg()
    px_per_m, quiet_m = 2000.0, 0.02
    view = detect_board(raster(board, px_per_m, quiet_m), board)
    assert view is not None and len(view.ids) == 35
    drawn = (board.corners_m[view.ids, :2] + quiet_m) * px_per_m - 0.5  # pixel centres are whole
    np.testing.assert_allclose(view.corners_px, drawn, atol=0.05)


def test_an_image_without_a_board_shows_none():
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    assert detect_board(noise, BoardCfg()) is None


def test_a_png_carries_its_resolution(tmp_path):
    path = write_sheet(tmp_path / "board.png", BoardCfg(), dpi=300)
    data = path.read_bytes()
    at = data.index(b"pHYs")
    assert struct.unpack(">IIB", data[at + 4 : at + 13]) == (11811, 11811, 1)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image.shape == (round(0.21 * 11811.02), round(0.27 * 11811.02))
    assert detect_board(image, BoardCfg()) is not None
    assert zlib.crc32(data[at : at + 13]) == struct.unpack(">I", data[at + 13 : at + 17])[0]


def test_a_pdf_has_every_square_in_true_size(tmp_path):
    board = BoardCfg(columns=6, rows=4, square_m=0.025, marker_m=0.018)
    text = write_sheet(tmp_path / "board.pdf", board).read_bytes()
    rows = [line.split() for line in text.decode().splitlines() if line.endswith(" re")]
    drawn = np.array([[float(x) for x in row[:4]] for row in rows]) / POINTS_PER_MM
    asked = 1e3 * dark_rectangles(board)
    np.testing.assert_allclose(drawn[:, 2:], asked[:, 2:], atol=1e-3)
    np.testing.assert_allclose(np.diff(drawn[:, 0]), np.diff(asked[:, 0]), atol=1e-3)
    # the page begins below, the board above
    np.testing.assert_allclose(
        np.diff(drawn[:, 1] + drawn[:, 3]), -np.diff(asked[:, 1]), atol=1e-3
    )
    assert text.decode().count(" re\n") == len(asked)


def test_the_table_of_a_pdf_points_at_its_objects(tmp_path):
    data = write_sheet(tmp_path / "board.pdf", BoardCfg()).read_bytes()
    start = int(data.split(b"startxref\n")[1].split(b"\n")[0])
    assert data[start:].startswith(b"xref\n0 6\n")
    for number, line in enumerate(data[start:].splitlines()[3:8], 1):
        assert data[int(line[:10]) :].startswith(b"%d 0 obj" % number)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": 2}, "needs at least 3"),
        ({"marker_m": 0.03}, "must fit into its square"),
        ({"columns": 16, "rows": 14}, "numbered 0 to 111"),
    ],
)
def test_a_board_that_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        BoardCfg(**change)


def test_a_board_larger_than_the_paper_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"360 x 180 mm does not fit on a4"):
        write_sheet(tmp_path / "board.pdf", BoardCfg(columns=12))
    with pytest.raises(ConfigError, match=r"end in .pdf or .png"):
        write_sheet(tmp_path / "board.svg", BoardCfg())


def test_another_board_is_refused_by_its_markers():
    shown = raster(BoardCfg(columns=9, rows=7), 1500.0, 0.02)
    with pytest.raises(DataError, match=r"img 3 shows the markers \[24, 25.* does not have"):
        detect_board(shown, BoardCfg(), "img 3")


def test_another_board_is_refused_by_the_order_of_its_markers():
    shown = raster(BoardCfg(columns=6, rows=8), 1500.0, 0.02)
    with pytest.raises(DataError, match="in another order"):
        detect_board(shown, BoardCfg(), "img 3")
