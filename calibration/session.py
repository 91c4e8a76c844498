"""A folder of recorded views: what every calibration is computed from, and can be again.

    session.json    robot, joint names, board, cameras (mount, image size, serial)
    views.jsonl     one image a line: camera, file, stamp, and the joints if the arm stood still
    joints.jsonl    stamps and joints while it moved, for the time between camera and arm
    pairs.jsonl     joints of leader and follower in one pose
    wrist/*.png     lossless images
    truth.json      only of a twin: what a calibration should find

Stamps are in one clock, in seconds. Lines are appended as they are measured, so that a session
that was broken off is whole up to there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.board import BoardCfg
from calibration.closed_form import Mount
from calibration.detect import BoardView, detect_board
from robot_rl.config import load_config, save_config, to_plain
from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.types import F64, U8

__all__ = ["CameraEntry", "Session", "SessionCfg", "View"]

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CameraEntry:
    """One camera of a session."""

    mount: Mount
    """"hand": it moves with the tool; "world": it stands still and sees a board on the tool."""
    width_px: int
    """Of its images."""
    height_px: int
    """Of its images."""
    serial: str = ""
    """Printed on the device; views with another one are refused."""


@dataclass(frozen=True, kw_only=True)
class SessionCfg:
    """What all views of a session share."""

    joint_names: tuple[str, ...]
    """In the order of every q_rad."""
    cameras: dict[str, CameraEntry]
    """By name."""
    board: BoardCfg = field(default_factory=BoardCfg)
    """As printed."""
    robot: str = "twin"
    """"twin", or the path of a robot file."""
    arm: str = "arm"
    """Which arm of it."""
    format: int = FORMAT
    """Of this folder."""

    def __post_init__(self) -> None:
        """Refuse a folder of another time."""
        if self.format != FORMAT:
            raise ConfigError(
                f"session has format {self.format}, but this robot_rl reads {FORMAT}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One image of a session, or the corners that were found in it."""

    place: int  # of its line
    camera: str
    stamp_s: float
    image: str  # relative path, "" if only corners were kept
    q_rad: F64 | None  # (n,), None while the arm moved
    corners: BoardView | None
    serial: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.image or f"view {self.place}"


class Session:
    """A folder of views; `create` makes one to add to, `open` reads one."""

    def __init__(self, path: Path, cfg: SessionCfg) -> None:
        self.path = path
        self.cfg = cfg
        self._count = 0

    @classmethod
    def create(cls, path: Path | str, cfg: SessionCfg) -> "Session":
        """Begin a session in an empty folder.

        Raises:
            DataError: There is one already.
        """
        path = Path(path)
        if (path / "session.json").exists():
            raise DataError(f"{path} holds a session already. Name another folder.")
        path.mkdir(parents=True, exist_ok=True)
        save_config(path / "session.json", cfg)
        return cls(path, cfg)

    @classmethod
    def open(cls, path: Path | str) -> "Session":
        """Read a session.

        Raises:
            DataError: There is none, or its head is damaged.
        """
        path = Path(path)
        try:
            return cls(path, load_config(path / "session.json", SessionCfg))
        except ConfigError as error:
            raise DataError(
                f"{path} holds no calibration session: {error} Record one, or make one with "
                "robot-rl calibrate twin."
            ) from error

    # ---------------------------------------------------------------- write

    def add_view(
        self,
        camera: str,
        stamp_s: float,
        *,
        image: U8 | None = None,
        corners: BoardView | None = None,
        q_rad: F64 | None = None,
    ) -> None:
        """Append one view: an image (height, width, 3), or the corners that it showed."""
        entry = self.entry(camera)
        file = ""
        if image is not None:
            if image.shape[:2] != (entry.height_px, entry.width_px):
                raise DataError(
                    f"camera '{camera}' gave {image.shape[1]} x {image.shape[0]} px, but has "
                    f"{entry.width_px} x {entry.height_px} px in this session. Cameras mixed up?"
                )
            file = f"{camera}/{self._count:05d}.png"
            (self.path / camera).mkdir(exist_ok=True)
            pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(self.path / file), pixels):
                raise DataError(f"cannot write {self.path / file}. Is the disk full?")
        self._count += 1
        line: dict[str, Any] = {"camera": camera, "stamp_s": stamp_s, "image": file}
        if entry.serial:
            line["serial"] = entry.serial
        if q_rad is not None:
            line["q_rad"] = q_rad
        if corners is not None:
            line |= {"ids": corners.ids, "corners_px": corners.corners_px}
        self._append("views.jsonl", line)

    def add_joints(self, stamp_s: float, q_rad: F64) -> None:
        """Append one reading of the arm in motion."""
        self._append("joints.jsonl", {"stamp_s": stamp_s, "q_rad": q_rad})

    def add_pair(self, leader_rad: F64, follower_rad: F64) -> None:
        """Append one pose held by leader and follower."""
        self._append("pairs.jsonl", {"leader_rad": leader_rad, "follower_rad": follower_rad})

    def add_truth(self, truth: Mapping[str, Any]) -> None:
        """Keep what a calibration should find."""
        save_config(self.path / "truth.json", dict(truth))

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(to_plain(line)) + "\n")

    # ---------------------------------------------------------------- read

    def entry(self, camera: str) -> CameraEntry:
        """What the session says of a camera.

        Raises:
            UnknownNameError: It is not in this session.
        """
        if camera not in self.cfg.cameras:
            raise UnknownNameError("camera", camera, self.cfg.cameras)
        return self.cfg.cameras[camera]

    def views(self, camera: str, *, moving: bool = False) -> list[View]:
        """The views of one camera, of the arm standing still, or moving.

        Raises:
            DataError: A line is damaged, or a view is of another device.
        """
        entry, found = self.entry(camera), []
        for place, line in self._lines("views.jsonl"):
            try:
                view = _view(place, line)
            except (KeyError, TypeError, ValueError) as error:
                raise self._damaged("views.jsonl", place, error) from error
            if view.camera != camera or (view.q_rad is None) != moving:
                continue
            if entry.serial and view.serial and view.serial != entry.serial:
                raise DataError(
                    f"{view.name} was taken by the device {view.serial}, but '{camera}' is "
                    f"{entry.serial}. Cameras mixed up?"
                )
            if view.q_rad is not None and len(view.q_rad) != len(self.cfg.joint_names):
                raise DataError(
                    f"{view.name} has {len(view.q_rad)} joints, but the session names "
                    f"{len(self.cfg.joint_names)}."
                )
            found.append(view)
        return found

    def image(self, view: View) -> U8:
        """The image (height, width, 3) of a view.

        Raises:
            DataError: It is missing, damaged or of another size.
        """
        path = (self.path / view.image).resolve()
        if not view.image or not path.is_relative_to(self.path.resolve()):
            raise DataError(f"{view.name} has no image in {self.path}.")
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DataError(f"{path} cannot be read. Remove its line from views.jsonl.")
        entry = self.entry(view.camera)
        if pixels.shape[:2] != (entry.height_px, entry.width_px):
            raise DataError(
                f"{path} has {pixels.shape[1]} x {pixels.shape[0]} px, but '{view.camera}' has "
                f"{entry.width_px} x {entry.height_px} px. Cameras mixed up?"
            )
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def corners(self, view: View) -> BoardView | None:
        """The board in a view, found anew where only the image was kept."""
        if view.corners is not None:
            return view.corners
        return detect_board(self.image(view), self.cfg.board, view.name)

    def seen(self, camera: str, *, moving: bool = False) -> tuple[list[View], list[BoardView]]:
        """Views that show the board, and its corners in each."""
        pairs = [(view, self.corners(view)) for view in self.views(camera, moving=moving)]
        kept = [(view, corners) for view, corners in pairs if corners is not None]
        return [view for view, _ in kept], [corners for _, corners in kept]

    def joints(self) -> tuple[F64, F64]:
        """Stamps (m,) [s] and joints (m, n) [rad] of the arm in motion."""
        rows = [line for _, line in self._lines("joints.jsonl")]
        stamps = np.array([row["stamp_s"] for row in rows], np.float64)
        q = np.array([row["q_rad"] for row in rows], np.float64)
        return stamps, q.reshape(len(rows), len(self.cfg.joint_names))

    def pairs(self) -> tuple[F64, F64]:
        """Leader and follower (k, n) [rad], in one pose in each row."""
        rows = [line for _, line in self._lines("pairs.jsonl")]
        n = len(self.cfg.joint_names)
        leader = np.array([row["leader_rad"] for row in rows], np.float64).reshape(-1, n)
        follower = np.array([row["follower_rad"] for row in rows], np.float64).reshape(-1, n)
        return leader, follower

    def truth(self) -> dict[str, Any]:
        """What the twin knows; empty on a robot."""
        path = self.path / "truth.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def _lines(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The lines of a file; the last may have been cut off."""
        path = self.path / name
        if not path.exists():
            return
        lines: Sequence[str] = path.read_text().splitlines()
        for place, text in enumerate(lines):
            try:
                yield place, json.loads(text)
            except ValueError as error:
                if place == len(lines) - 1:
                    return
                raise self._damaged(name, place, error) from error

    def _damaged(self, name: str, place: int, error: Exception) -> DataError:
        return DataError(f"{self.path / name}, line {place + 1} is damaged: {error}. Remove it.")


def _view(place: int, line: Mapping[str, Any]) -> View:
    """One line of views.jsonl."""
    corners = None
    if "corners_px" in line:
        corners = BoardView(
            ids=np.array(line["ids"], np.int64),
            corners_px=np.array(line["corners_px"], np.float64).reshape(-1, 2),
        )
    q = line.get("q_rad")
    return View(
        place=place,
        camera=str(line["camera"]),
        stamp_s=float(line["stamp_s"]),
        image=str(line.get("image", "")),
        q_rad=None if q is None else np.array(q, np.float64),
        corners=corners,
        serial=str(line.get("serial", "")),
    )
