"""What an episode on disk is called and made of: names, units, versions, and what is allowed.

learning:  transition → **episode store** → progress model → replay → residual agent → weights

One store holds one robot at one control rate. Every array of an episode stands here by name, so
that a reader in another language needs this page and any Zarr v3 library:

    low/t_s                 f8 (T + 1,)     [s] stamps of the observations, in the port's clock
    low/obs/<key>           (T + 1, ...)    what the policy saw, images aside
    low/robot/<key>         (T + 1, ...)    raw robot state: q_rad, dq_rad_s, command_rad ...
    low/step/executed       f4 (T, a)       the action carried out after safety
    low/step/requested      f4 (T, a)       the action asked for
    low/step/base           f4 (T, a)       the frozen base's action
    low/step/residual       f4 (T, a)       requested - base, where there is a base
    low/step/reward         f4 (T,)
    low/step/control_source u1 (T,)         index into `trajectory.CONTROL_SOURCES`
    low/next_base           f4 (a,)         the base's action at the last observation
    cam/<n>/{jpeg|png}      u1 (bytes,)     encoded frames, one after another
    cam/<n>/offset          i8 (F + 1,)     where each frame starts in those bytes
    cam/<n>/t_device_ns     i8 (F,)         stamp of the camera's own clock
    cam/<n>/t_host_ns       i8 (F,)         stamp of arrival at the workstation
    cam/<n>/frame_no        i8 (F,)         the camera's counter; gaps are lost frames
    cam/<n>/tick_frame      i4 (T + 1,)     newest frame at or before each observation, -1: none
    cam/<n>/depth           u2 (F, h, w)    [mm], optional
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.errors import ConfigError, DataError, UnknownNameError

__all__ = [
    "CODECS",
    "MAX_IMAGE_PX",
    "OUTCOMES",
    "SCHEMA_VERSION",
    "CameraMeta",
    "EpisodeInfo",
    "StoreMeta",
    "check_episode_id",
    "check_name",
    "episode_id",
    "outcome_of",
]

SCHEMA_VERSION = 1
CODECS = ("jpeg", "png")
OUTCOMES = ("success", "failure", "unknown")
MAX_IMAGE_PX = 8192
"""Longest image side that is ever decoded: a forged header must not reserve the memory."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
_EPISODE_ID = re.compile(r"ep_\d{6,9}")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can stand in a path; nothing read from disk or user skips this.

    Raises:
        ConfigError: The name could leave its folder or is not portable.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{kind} {name!r} must be 1 to 64 of A-Z a-z 0-9 _ -, starting with a letter or digit."
        )
    return name


def check_episode_id(name: str) -> str:
    """Return `name` if it is an episode id, such as ep_000123.

    Raises:
        DataError: It is not, so it must not become part of a path.
    """
    if not isinstance(name, str) or not _EPISODE_ID.fullmatch(name):
        raise DataError(f"{name!r} is no episode id; ids look like ep_000123.")
    return name


def episode_id(index: int) -> str:
    """The id of the episode with this index."""
    return f"ep_{index:06d}"


def outcome_of(success: bool | None) -> str:
    """The word for a success flag."""
    return "unknown" if success is None else "success" if success else "failure"


@dataclass(frozen=True, kw_only=True)
class CameraMeta:
    """One recorded camera: image size, how frames are kept, and which device it was.

    Attributes:
        codec: "jpeg" (quality 90, small) or "png" (lossless, for calibration sets and the twin).
        depth: Whether a uint16 depth image [mm] comes with each frame.
        serial: The device's serial number, "" for a twin.
        calibration: Hash of the calibration file in force, "" if none.
    """

    name: str
    width_px: int
    height_px: int
    codec: str = "jpeg"
    depth: bool = False
    serial: str = ""
    calibration: str = ""

    def __post_init__(self) -> None:
        """Refuse a camera that cannot be stored."""
        check_name("camera", self.name)
        if self.codec not in CODECS:
            raise UnknownNameError("image codec", self.codec, CODECS)
        if not (0 < self.width_px <= MAX_IMAGE_PX and 0 < self.height_px <= MAX_IMAGE_PX):
            raise ConfigError(
                f"camera '{self.name}' is {self.width_px} x {self.height_px} px, but each side "
                f"must be within 1 and {MAX_IMAGE_PX}."
            )


@dataclass(frozen=True, kw_only=True)
class StoreMeta:
    """What all episodes of a store share; written once, when the store is created.

    Attributes:
        robot: Name of the robot or of the environment.
        control_hz: Rate of the policy steps.
        cameras: The cameras, in the order in which they are shown.
        notes: Further JSON-able facts: git revision, frames, rig.
    """

    robot: str
    control_hz: float
    cameras: tuple[CameraMeta, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a rate or cameras that contradict each other."""
        if not (0 < self.control_hz < 1e5):
            raise ConfigError(f"control_hz is {self.control_hz}, but must be within 0 and 1e5.")
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ConfigError(f"camera names {names} must differ from each other.")

    def camera(self, name: str) -> CameraMeta:
        """The camera of this name.

        Raises:
            UnknownNameError: The store was created without it.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise UnknownNameError("camera", name, [camera.name for camera in self.cameras])

    def to_attrs(self) -> dict[str, Any]:
        """The attributes of the store's root group."""
        return {
            "schema_version": SCHEMA_VERSION,
            "robot": self.robot,
            "control_hz": self.control_hz,
            "cameras": [vars(camera) for camera in self.cameras],
            "notes": dict(self.notes),
        }

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any], where: str) -> "StoreMeta":
        """Read them back.

        Raises:
            DataError: Another schema version, or a field is missing or of another kind.
            KeyError: No version at all: these are not the attributes of a store.
        """
        version = attrs["schema_version"]
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{where}: schema version is {version!r}, but this robot_rl reads version "
                f"{SCHEMA_VERSION}. Install the robot_rl that wrote it, or record anew."
            )
        try:
            cameras = tuple(CameraMeta(**camera) for camera in attrs["cameras"])
            return cls(
                robot=str(attrs["robot"]),
                control_hz=float(attrs["control_hz"]),
                cameras=cameras,
                notes=dict(attrs["notes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: the store's attributes are damaged ({error}). Restore zarr.json from "
                "a backup, or create a new store and merge the episodes into it."
            ) from error


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """An episode's line in the index.

    Attributes:
        id: Its folder, which may change when stores are merged.
        uuid: Its identity, which never changes.
        length: Steps T.
        outcome: One of `OUTCOMES`; a later label overrides the one given at sealing.
        label_source: Who said so: "env", "human", "reward_model", "none", or a name.
        reward_sum: Undiscounted return.
        interventions: Number of times a human took over.
        duration_s: Time between the first and the last observation.
        digest: Hash of the content; keys of derived caches.
        facts: What the recorder added: task, seed, policy, operator ...
    """

    id: str
    uuid: str
    length: int
    outcome: str
    label_source: str
    terminated: bool
    reward_sum: float
    interventions: int
    duration_s: float
    digest: str
    t0_wall_ns: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task it is an attempt at, "" if nobody said."""
        return str(self.facts.get("task", ""))
