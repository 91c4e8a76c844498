"""The board on paper at true scale: PDF of vector squares, or PNG that knows its resolution.

A printer that "fits to page" changes the scale unseen; the sheet therefore carries a line of
100 mm to lay a ruler along, and says in words what it is.
"""

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from calibration.board import BoardCfg
from robot_rl.errors import ConfigError
from robot_rl.types import F64, U8

__all__ = ["PAPER_M", "Paper", "dark_rectangles", "raster", "write_sheet"]

Paper = Literal["a4", "a3", "a2", "letter", "tabloid"]
PAPER_M: dict[str, tuple[float, float]] = {
    "a4": (0.297, 0.210),
    "a3": (0.420, 0.297),
    "a2": (0.594, 0.420),
    "letter": (0.2794, 0.2159),
    "tabloid": (0.4318, 0.2794),
}
"""Width and height, lying on the long side."""

_MARGIN_M = 0.005  # what most printers leave white
_FOOT_M = 0.012  # for the line of 100 mm and the words
_POINTS_PER_M = 72 / 0.0254
_RULER_M = 0.1


def dark_rectangles(board: BoardCfg) -> F64:
    """(k, 4) [m]: x, y, width and height of all that is black, in the frame of the board."""
    rectangles = []
    marker, inset = board.first_id, 0.5 * (board.square_m - board.marker_m)
    for row in range(board.rows):
        for column in range(board.columns):
            x, y = column * board.square_m, row * board.square_m
            if (row + column) % 2 == 0:
                rectangles.append((x, y, board.square_m, board.square_m))
                continue
            cells = board.marker_cells(marker)
            cell = board.marker_m / len(cells)
            rectangles += [
                (x + inset + j * cell, y + inset + i * cell, cell, cell)
                for i, j in np.argwhere(cells == 0)
            ]
            marker += 1
    return np.array(rectangles)


def raster(board: BoardCfg, px_per_m: float, quiet_m: float = 0.0) -> U8:
    """The board as an image: edges at the nearest pixel, a white rim of `quiet_m` around it."""
    width, height = (round((s + 2 * quiet_m) * px_per_m) for s in board.size_m)
    image = np.full((height, width), 255, np.uint8)
    for x, y, w, h in dark_rectangles(board) + np.array([quiet_m, quiet_m, 0, 0]):
        rows = slice(round(y * px_per_m), round((y + h) * px_per_m))
        image[rows, round(x * px_per_m) : round((x + w) * px_per_m)] = 0
    return image


def write_sheet(path: Path, board: BoardCfg, paper: Paper = "a4", dpi: int = 600) -> Path:
    """Write the board as .pdf (a whole sheet) or .png (the board with its white rim).

    Args:
        path: Ends in .pdf or .png.
        board: What to print.
        paper: Of the PDF.
        dpi: Resolution of the PNG, which it carries along.

    Raises:
        ConfigError: The board is larger than the paper, or the file has another ending.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pdf":
        path.write_bytes(_pdf(board, paper))
    elif path.suffix == ".png":
        path.write_bytes(_png(board, dpi))
    else:
        raise ConfigError(f"cannot write a board to {path}. Let it end in .pdf or .png.")
    return path


def _png(board: BoardCfg, dpi: int) -> bytes:
    """8-bit grey; the pHYs chunk tells programs how many pixels a metre has."""
    px_per_m = dpi / 0.0254
    image = raster(board, px_per_m, quiet_m=board.square_m / 2)
    height, width = image.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), image]).tobytes()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", round(px_per_m), round(px_per_m), 1)),
        (b"IDAT", zlib.compress(rows, 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _pdf(board: BoardCfg, paper: Paper) -> bytes:
    """One page. All squares are one path, so that no viewer draws seams between them."""
    page = PAPER_M[paper]
    room = page[0] - 2 * _MARGIN_M, page[1] - 2 * _MARGIN_M - _FOOT_M
    if board.size_m[0] > room[0] or board.size_m[1] > room[1]:
        raise ConfigError(
            f"a board of {1e3 * board.size_m[0]:.0f} x {1e3 * board.size_m[1]:.0f} mm does not "
            f"fit on {paper}, which has room for {1e3 * room[0]:.0f} x {1e3 * room[1]:.0f} mm. "
            f"Take larger paper ({', '.join(PAPER_M)}), smaller squares or fewer of them."
        )
    left = 0.5 * (page[0] - board.size_m[0])
    top = page[1] - _MARGIN_M - 0.5 * (room[1] - board.size_m[1])  # PDF counts from below
    path = [
        f"{(left + x) * _POINTS_PER_M:.4f} {(top - y - h) * _POINTS_PER_M:.4f} "
        f"{w * _POINTS_PER_M:.4f} {h * _POINTS_PER_M:.4f} re"
        for x, y, w, h in dark_rectangles(board)
    ]
    foot, ruler = (_MARGIN_M + 0.003) * _POINTS_PER_M, _RULER_M * _POINTS_PER_M
    x0 = left * _POINTS_PER_M
    words = f"robot_rl: {board.describe()}. Print at 100 %, not fitted; this line is 100 mm:"
    content = "\n".join(
        [
            *path,
            "f",
            f"BT /F1 7 Tf {x0:.4f} {foot + 8:.4f} Td ({words}) Tj ET",
            f"0.5 w {x0:.4f} {foot:.4f} m {x0 + ruler:.4f} {foot:.4f} l S",
            *(
                f"{x0 + t * ruler:.4f} {foot - 3:.4f} m {x0 + t * ruler:.4f} {foot + 3:.4f} l S"
                for t in (0.0, 0.5, 1.0)
            ),
        ]
    ).encode()
    box = f"[0 0 {page[0] * _POINTS_PER_M:.4f} {page[1] * _POINTS_PER_M:.4f}]".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox " + box + b" /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    return _pdf_file(objects)


def _pdf_file(objects: tuple[bytes, ...]) -> bytes:
    """The objects with the table of where each begins. Ref: ISO 32000-1, 7.5."""
    out, places = b"%PDF-1.6\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (count, table, count, len(out))
    )
