"""View by view through a recording: what to show the camera next, and when to take it.

Joints and images are pushed in as they come, from whatever source; each answer is a line for the
person who moves the arm, or None. A view is taken by itself once the arm has stood still before a
board that it has not yet shown in this way; at the end the arm swings, for the delay.
"""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.closed_form import Mount
from calibration.detect import BoardView, board_pose, detect_board
from calibration.intrinsics import bare_parts, coverage
from calibration.session import CameraEntry, Session, SessionCfg
from calibration.store import check_name
from robot_rl.errors import ConfigError
from robot_rl.types import F64, U8

__all__ = ["Guide", "GuideCfg"]

_FOCAL_SHARE = 0.95  # of the width: a guess that is good enough to tell tilt
_TILT_DEG = 20.0
_TILTED = 6  # views
_NEAR, _FAR = 1.4, 2.0  # in distances at which the board fills the width of the image
_ROLL_DEG = 40.0  # spread of the board's turn in the image


@dataclass(frozen=True, kw_only=True)
class GuideCfg:
    """What is recorded, and what counts as still and as new."""

    camera: str
    """Its name."""
    mount: Mount
    """Camera on the hand, or in the world with the board on the hand."""
    joint_names: tuple[str, ...]
    """In the order in which joints come."""
    board: BoardCfg = field(default_factory=BoardCfg)
    """As printed."""
    robot: str = "twin"
    """Path of the robot file."""
    arm: str = "arm"
    """Which arm of it."""
    serial: str = ""
    """Of the camera."""
    views: int = 20
    """Of the arm standing still."""
    swing_s: float = 8.0
    """How long the arm swings at the end; 0 leaves the delay out."""
    swing_hz: float = 15.0
    """Images taken a second while it swings."""
    still_s: float = 0.5
    """How long the arm must have stood still."""
    still_rad: float = 1e-3
    """Largest motion of a joint that is still."""
    settle_s: float = 0.3
    """How much longer, so that no image of the motion is taken: more than any delay."""
    apart_rad: float = 0.12
    """How far some joint must be from every view taken before."""

    def __post_init__(self) -> None:
        """Refuse times that mean nothing, and a name that is none."""
        check_name(self.camera)
        if min(self.still_s, self.still_rad, self.settle_s, self.apart_rad, self.swing_hz) <= 0:
            raise ConfigError(
                "still_s, still_rad, settle_s, apart_rad and swing_hz must be positive, but are "
                f"{self.still_s}, {self.still_rad}, {self.settle_s}, {self.apart_rad} and "
                f"{self.swing_hz}."
            )
        if self.views < 5 or self.swing_s < 0:
            raise ConfigError(
                f"views is {self.views} and swing_s {self.swing_s}, but must be at least 5 and 0."
            )


class Guide:
    """Records one session; ask `is_done` after each push.

    Args:
        path: Of the session's folder, which must hold none.
        cfg: What to record.
    """

    def __init__(self, path: Path, cfg: GuideCfg) -> None:
        self._path, self._cfg = path, cfg
        self._session: Session | None = None
        self._recent: deque[tuple[float, F64]] = deque()
        self._still_since_s: float | None = None
        self._taken: list[tuple[F64, BoardView]] = []
        self._said = ""
        self._swing: list[tuple[float, U8]] = []
        self._swing_joints: list[tuple[float, F64]] = []
        self._swing_begun_s: float | None = None
        self.is_done = False

    @property
    def taken(self) -> int:
        """Views so far."""
        return len(self._taken)

    def on_joints(self, stamp_s: float, q_rad: F64) -> None:
        """Push a reading of the joints (n,) [rad]."""
        if self._recent and stamp_s <= self._recent[-1][0]:
            return
        q = np.asarray(q_rad, np.float64).copy()
        self._recent.append((stamp_s, q))
        if self.taken >= self._cfg.views:
            self._swing_joints.append((stamp_s, q))
        while stamp_s - self._recent[0][0] > self._cfg.still_s:
            self._recent.popleft()
        moved = np.ptp([q for _, q in self._recent], axis=0).max()
        if moved > self._cfg.still_rad:
            self._still_since_s = None
        elif self._still_since_s is None:
            self._still_since_s = self._recent[0][0]

    def on_image(self, stamp_s: float, image: U8) -> str | None:
        """Push an image (height, width, 3); returns what to tell the person, if that is new.

        Raises:
            DataError: It shows another board, or has another size than those before.
        """
        session = self._open(image)
        if self.taken < self._cfg.views:
            return self._new(self._still(session, stamp_s, image))
        return self._new(self._swinging(session, stamp_s, image))

    def _open(self, image: U8) -> Session:
        """The session, made when the first image tells its size."""
        if self._session is None:
            cfg, (height, width) = self._cfg, image.shape[:2]
            entry = CameraEntry(
                mount=cfg.mount, width_px=width, height_px=height, serial=cfg.serial
            )
            head = SessionCfg(
                joint_names=cfg.joint_names,
                cameras={cfg.camera: entry},
                board=cfg.board,
                robot=cfg.robot,
                arm=cfg.arm,
            )
            self._session = Session.create(self._path, head)
        return self._session

    def _new(self, words: str) -> str | None:
        """The words, unless they were just said."""
        is_new, self._said = words != self._said, words
        return words if is_new else None

    def _still(self, session: Session, stamp_s: float, image: U8) -> str:
        """Take a view if the arm stands still before something new."""
        since, cfg = self._still_since_s, self._cfg
        if since is None or stamp_s < since + cfg.settle_s:
            return self._next()
        if not self._recent or self._recent[-1][0] - since < cfg.still_s:
            return f"{self.taken} of {cfg.views} views. Hold still."
        q = np.mean([q for _, q in self._recent], axis=0)
        near = [np.abs(q - before).max() for before, _ in self._taken]
        if near and min(near) < cfg.apart_rad:
            return self._next()
        corners = detect_board(image, cfg.board)
        if corners is None:
            return f"{self.taken} of {cfg.views} views. The board is not seen from here."
        session.add_view(cfg.camera, stamp_s, image=image, q_rad=q)
        self._taken.append((q, corners))
        if self.taken == cfg.views:
            self._recent.clear()
            if cfg.swing_s == 0:
                self.is_done = True
                return f"All {cfg.views} views are taken."
            return (
                f"All {cfg.views} views are taken. Now swing the arm before the board, every "
                f"joint, at 0.5 to 1 Hz, for {cfg.swing_s:g} s."
            )
        return self._next()

    def _next(self) -> str:
        """How far it is, and what to show."""
        so_far = f"{self.taken} of {self._cfg.views} views"
        return f"{so_far} taken. {self._hint()}" if self.taken else f"{so_far}. {self._hint()}"

    def _hint(self) -> str:
        """What the views so far lack most."""
        if not self._taken or self._session is None:
            return "Bring the board into the image, and hold still."
        entry = self._session.entry(self._cfg.camera)
        views = [view for _, view in self._taken]
        focal = _FOCAL_SHARE * entry.width_px
        guess = CameraModel(
            width_px=entry.width_px,
            height_px=entry.height_px,
            fx_px=focal,
            fy_px=focal,
            cx_px=0.5 * (entry.width_px - 1),
            cy_px=0.5 * (entry.height_px - 1),
        )
        T = np.array([board_pose(guess, view, self._cfg.board)[0] for view in views])
        R = T[:, :3, :3]
        tilt = np.rad2deg(np.arccos(np.clip(R[:, 2, 2], -1.0, 1.0)))
        roll = np.rad2deg(np.ptp(np.unwrap(np.sort(np.arctan2(R[:, 1, 0], R[:, 0, 0])))))
        if (tilt > _TILT_DEG).sum() < min(_TILTED, self.taken):
            return "Tilt the hand by 20 to 45 degrees, and hold still."
        if roll < _ROLL_DEG:
            return "Turn the hand about the line of sight, by 40 degrees or more; hold still."
        if bare := bare_parts(coverage(views, entry.width_px, entry.height_px)):
            return f"Bring the board to {bare[0]}, and hold still."
        # How far off, in distances at which it would fill the image's width.
        away = T[:, 2, 3] * entry.width_px / (self._cfg.board.size_m[0] * focal)
        return f"{_rarest(away, R[:, :, 2])}, and hold still."

    def _swinging(self, session: Session, stamp_s: float, image: U8) -> str:
        """Keep images and joints of the swing; write them when it is over."""
        cfg = self._cfg
        if self._swing_begun_s is None:
            if self._still_since_s is not None or not self._recent:
                return f"Swing the arm before the board for {cfg.swing_s:g} s."
            self._swing_begun_s = stamp_s
        if self._still_since_s is not None:  # what stands still tells no delay
            self._swing.clear()
            self._swing_begun_s = None
            return f"The arm stands still. Swing it without a pause for {cfg.swing_s:g} s."
        if not self._swing or stamp_s - self._swing[-1][0] >= 0.9 / cfg.swing_hz:
            self._swing.append((stamp_s, image.copy()))
        left = self._swing_begun_s + cfg.swing_s - stamp_s
        if left > 0:
            return f"Go on swinging: {np.ceil(left):.0f} s."
        # Encoding takes longer than a frame, so it waits until nothing can be missed.
        for stamp, q in self._swing_joints:
            session.add_joints(stamp, q)
        for stamp, kept in self._swing:
            session.add_view(cfg.camera, stamp, image=kept)
        self.is_done = True
        return f"The swing is recorded, with {len(self._swing)} images. Done."


def _rarest(away: F64, normal: F64) -> str:
    """What was shown least often: a distance (v,), or a tilt by normals (v, 3) of the board."""
    lean = np.sin(np.deg2rad(_TILT_DEG))
    shown = {
        "Bring the board nearer": away < _NEAR,
        "Take the board farther away": away > _FAR,
        "Show the board with its right edge nearer": normal[:, 0] > lean,
        "Show the board with its left edge nearer": normal[:, 0] < -lean,
        "Show the board with its lower edge nearer": normal[:, 1] > lean,
        "Show the board with its upper edge nearer": normal[:, 1] < -lean,
    }
    return min(shown, key=lambda words: int(shown[words].sum()))
