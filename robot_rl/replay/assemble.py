"""Between the three forms of an episode: in memory, on disk, and in the crash log.

learning:  **transition → episode store** → progress model → replay → residual agent → weights

    Trajectory  ⇄  EpisodeContent  ←  JournalContent
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.errors import DataError, ShapeError
from robot_rl.replay.episode_files import CameraTrack, EpisodeContent
from robot_rl.replay.image_codec import decode_image, encode_image
from robot_rl.replay.journal import JournalContent, Kind, unpack_arrays, unpack_frame
from robot_rl.replay.schema import StoreMeta, check_name, outcome_of
from robot_rl.replay.trajectory import CONTROL_SOURCES, Trajectory

__all__ = ["content_of_journal", "content_of_trajectory", "json_facts", "trajectory_of_content"]

_HUMAN = [CONTROL_SOURCES.index(name) for name in ("human", "blend")]
_SUCCESS = {"success": True, "failure": False, "unknown": None}


def json_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as plain JSON values, numpy scalars and arrays turned into numbers and lists.

    Raises:
        DataError: A value is neither, or NaN.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} is not JSON")

    try:
        return json.loads(json.dumps(dict(facts), default=plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"episode facts {sorted(map(str, facts))} cannot be written as JSON ({error}). "
            "Give strings, finite numbers, lists and dicts."
        ) from error


def _attrs(
    low: Mapping[str, np.ndarray], *, uuid: str, t0_wall_ns: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What the index shows, computed once when the episode is sealed."""
    human = np.isin(low["step/control_source"], _HUMAN)
    return {
        "uuid": uuid,
        "t0_wall_ns": t0_wall_ns,
        "length": len(low["step/executed"]),
        "reward_sum": float(low["step/reward"].sum(dtype=np.float64)),
        "interventions": int((human & ~np.concatenate([[False], human[:-1]])).sum()),
        "duration_s": float(low["t_s"][-1] - low["t_s"][0]),
        "facts": dict(facts),
    }


def content_of_trajectory(
    trajectory: Trajectory, meta: StoreMeta, *, uuid: str, t0_wall_ns: int
) -> EpisodeContent:
    """Encode a finished episode; each tick has one frame of each camera.

    Raises:
        DataError: No steps, or facts that are not JSON.
        ShapeError: Images of another size than the store's cameras.
        UnknownNameError: A camera that the store does not have.
    """
    if len(trajectory) < 1:
        raise DataError("an episode of 0 steps cannot be stored; take at least one step.")
    low: dict[str, np.ndarray] = {"t_s": np.asarray(trajectory.t_s, np.float64)}
    cameras: dict[str, CameraTrack] = {}
    for key, value in trajectory.obs.items():
        if value.dtype == np.uint8 and value.ndim == 4:
            cameras[key] = _track_of_images(key, value, low["t_s"], meta)
        else:
            low[f"obs/{check_name('observation', key)}"] = np.asarray(value, np.float32)
    for key in ("executed", "requested", "reward"):
        low[f"step/{key}"] = np.asarray(getattr(trajectory, key), np.float32)
    low["step/control_source"] = np.asarray(trajectory.control_source, np.uint8)
    if trajectory.base is not None:
        low["step/base"] = np.asarray(trajectory.base, np.float32)
        low["step/residual"] = low["step/requested"] - low["step/base"]
    if trajectory.next_base is not None:
        low["next_base"] = np.asarray(trajectory.next_base, np.float32)
    facts = json_facts(trajectory.attrs)
    label = facts.pop("label_source", "none" if trajectory.success is None else "env")
    attrs = _attrs(low, uuid=uuid, t0_wall_ns=t0_wall_ns, facts=facts)
    attrs |= {
        "outcome": outcome_of(trajectory.success),
        "label_source": label,
        "terminated": bool(trajectory.terminated),
    }
    return EpisodeContent(low=low, cameras=cameras, attrs=attrs)


def _track_of_images(
    name: str, images: np.ndarray, t_s: np.ndarray, meta: StoreMeta
) -> CameraTrack:
    camera = meta.camera(name)
    allowed = (len(t_s), camera.height_px, camera.width_px, 3)
    if images.shape != allowed:
        raise ShapeError(f"episode: obs[{name}]", images.shape, allowed)
    stamps = np.round(t_s * 1e9).astype(np.int64)
    return CameraTrack(
        codec=camera.codec,
        frames=[encode_image(image, camera.codec) for image in images],
        t_device_ns=stamps,
        t_host_ns=stamps,
        frame_no=np.arange(len(images), dtype=np.int64),
        tick_frame=np.arange(len(images), dtype=np.int32),
    )


def trajectory_of_content(
    content: EpisodeContent, meta: StoreMeta, where: str, *, outcome: str, label_source: str
) -> Trajectory:
    """Decode an episode; each tick gets the newest frame at or before it.

    Raises:
        DataError: A field is missing, or an image is damaged.
    """
    low, attrs = content.low, content.attrs
    obs: dict[str, np.ndarray] = {
        key.removeprefix("obs/"): value for key, value in low.items() if key.startswith("obs/")
    }
    for name, track in content.cameras.items():
        camera = meta.camera(name)
        if not track.frames:
            raise DataError(f"{where}: camera '{name}' has no frame. Read without this camera.")
        size = (camera.height_px, camera.width_px)
        ticks = np.clip(track.tick_frame, 0, len(track.frames) - 1)  # -1: before the first frame
        needed = {
            k: decode_image(track.frames[k], size, f"{where} cam/{name} frame {k}")
            for k in np.unique(ticks).tolist()
        }
        obs[name] = np.stack([needed[k] for k in ticks.tolist()])
    try:
        return Trajectory(
            obs=obs,
            executed=low["step/executed"],
            requested=low["step/requested"],
            reward=low["step/reward"],
            control_source=low["step/control_source"],
            base=low.get("step/base"),
            next_base=low.get("next_base"),
            t_s=low["t_s"],
            terminated=bool(attrs["terminated"]),
            success=_SUCCESS[outcome],
            attrs={**attrs["facts"], "label_source": label_source, "uuid": attrs["uuid"]},
        )
    except KeyError as error:
        raise DataError(f"{where}: lacks {error}. Run `robot-rl data verify`.") from error


def _stack(rows: list[dict[str, np.ndarray]], prefix: str, where: str) -> dict[str, np.ndarray]:
    if any(row.keys() != rows[0].keys() for row in rows):
        raise DataError(f"{where}: rows differ in their fields, so they do not form an episode.")
    return {f"{prefix}{key}": np.stack([row[key] for row in rows]) for key in rows[0]}


def content_of_journal(journal: JournalContent, meta: StoreMeta, where: str) -> EpisodeContent:
    """Rebuild an episode from its crash log; an incomplete last step is left out.

    Raises:
        DataError: Not one complete step (observation, action, observation).
    """
    observations: list[dict[str, np.ndarray]] = []
    steps: list[dict[str, np.ndarray]] = []
    frames: dict[str, list] = {camera.name: [] for camera in meta.cameras}
    ticks: dict[str, list[int]] = {camera.name: [] for camera in meta.cameras}
    for kind, payload in journal.records:
        if kind is Kind.FRAME:
            frame = unpack_frame(payload)
            frames[meta.camera(frame.camera).name].append(frame)
        elif kind is Kind.OBSERVATION:
            observations.append(unpack_arrays(payload))
            for name, seen in frames.items():
                ticks[name].append(len(seen) - 1)
        elif kind is Kind.STEP:
            steps.append(unpack_arrays(payload))
    count = min(len(steps), len(observations) - 1)
    if count < 1:
        raise DataError(f"{where}: holds no complete step, so there is nothing to salvage.")
    low = _stack(observations[: count + 1], "", where) | _stack(steps[:count], "step/", where)
    end = journal.end or {"outcome": "unknown", "label_source": "none", "terminated": False}
    if end.get("next_base") is not None:
        low["next_base"] = np.asarray(end["next_base"], np.float32)
    facts = {**journal.begin["facts"], **end.get("facts", {})}
    if journal.end is None:
        facts["salvaged"] = journal.damage or "the recording process ended inside the episode"
    attrs = _attrs(
        low, uuid=journal.begin["uuid"], t0_wall_ns=journal.begin["t0_wall_ns"], facts=facts
    )
    attrs |= {key: end[key] for key in ("outcome", "label_source", "terminated")}
    cameras = {
        camera.name: _track_of_frames(
            frames[camera.name],
            np.asarray(ticks[camera.name][: count + 1], np.int32),
            meta.camera(camera.name),
        )
        for camera in meta.cameras
    }
    return EpisodeContent(low=low, cameras=cameras, attrs=attrs)


def _track_of_frames(frames: list, tick_frame: np.ndarray, camera: Any) -> CameraTrack:
    has_depth = bool(frames) and all(len(frame.depth) for frame in frames)
    return CameraTrack(
        codec=camera.codec,
        frames=[frame.data for frame in frames],
        t_device_ns=np.asarray([frame.t_device_ns for frame in frames], np.int64),
        t_host_ns=np.asarray([frame.t_host_ns for frame in frames], np.int64),
        frame_no=np.asarray([frame.frame_no for frame in frames], np.int64),
        tick_frame=tick_frame,
        depth=[frame.depth for frame in frames] if has_depth else (),
        depth_shape=(camera.height_px, camera.width_px) if has_depth else None,
    )
