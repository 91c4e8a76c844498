"""Recording an episode step by step; what is recorded is in the crash log before the next step.

learning:  **transition → episode** store → progress model → replay → residual agent → weights

The same `EpisodeWriter` writes in this process (`EpisodeStore.begin`) or through shared memory to
another one (`recorder.Recorder`): only its sink differs.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from robot_rl.errors import DataError, NonFiniteError, ShapeError, UnknownNameError
from robot_rl.replay.assemble import json_facts
from robot_rl.replay.episode_files import DEPTH_CODEC
from robot_rl.replay.image_codec import encode_image
from robot_rl.replay.journal import Frame, Journal, Kind, pack_arrays, pack_frame
from robot_rl.replay.schema import OUTCOMES, CameraMeta, StoreMeta, check_name
from robot_rl.types import F32, U8

__all__ = ["EpisodeWriter", "JournalSink", "SealsJournals", "Sink", "encode_frame"]


class Sink(Protocol):
    """Where an episode's records go."""

    def record(self, kind: Kind, payload: bytes) -> None:
        """Take one row; must not lose it."""
        ...

    def frame(self, camera: CameraMeta, rgb: U8, stamps: Frame, depth: np.ndarray | None) -> None:
        """Take one image; may drop it when the disk is too slow, and counts that."""
        ...

    def finish(self, kind: Kind, payload: bytes) -> None:
        """Take the last record; the episode is sealed or discarded."""
        ...

    @property
    def drops(self) -> dict[str, int]:
        """Frames dropped in this episode, by camera."""
        ...


class SealsJournals(Protocol):
    """The part of the store that a sink needs."""

    def journal(self, name: str) -> Any:
        """Path of an open episode's crash log."""
        ...

    def seal_journal(self, name: str) -> str:
        """Turn it into a sealed episode."""
        ...


class JournalSink:
    """Writes to the crash log in this process and seals in the foreground."""

    def __init__(self, store: SealsJournals, name: str) -> None:
        self._store = store
        self._name = name
        self._journal = Journal(store.journal(name))
        self.drops: dict[str, int] = {}

    def record(self, kind: Kind, payload: bytes) -> None:
        """See `Sink.record`."""
        if kind is Kind.BEGIN:
            self._journal.open()
        self._journal.append(kind, payload)

    def frame(self, camera: CameraMeta, rgb: U8, stamps: Frame, depth: np.ndarray | None) -> None:
        """See `Sink.frame`; never drops."""
        self._journal.append(Kind.FRAME, encode_frame(camera, rgb, stamps, depth))

    def finish(self, kind: Kind, payload: bytes) -> None:
        """See `Sink.finish`; when it returns, no crash can lose the episode."""
        self.close(kind, payload)
        self._store.seal_journal(self._name)

    def close(self, kind: Kind, payload: bytes) -> None:
        """Write the last record and force the log to the disk, without sealing."""
        self._journal.append(kind, payload)
        self._journal.sync()
        self._journal.close()


def encode_frame(camera: CameraMeta, rgb: U8, stamps: Frame, depth: np.ndarray | None) -> bytes:
    """A raw frame as the payload of a journal record."""
    return pack_frame(
        Frame(
            camera=camera.name,
            t_device_ns=stamps.t_device_ns,
            t_host_ns=stamps.t_host_ns,
            frame_no=stamps.frame_no,
            data=encode_image(rgb, camera.codec),
            depth=b"" if depth is None else DEPTH_CODEC.encode(np.ascontiguousarray(depth)),
        )
    )


class EpisodeWriter:
    """One open episode: observe, step, observe, step, ..., observe, seal.

    Frames may come at any rate in between; each observation refers to the newest frame before it.
    """

    def __init__(self, meta: StoreMeta, name: str, sink: Sink, facts: Mapping[str, Any]) -> None:
        self.id = name
        self._meta = meta
        self._sink = sink
        self._layout: dict[str, dict[str, tuple]] = {}
        self._observations = 0
        self._steps = 0
        self._open = True
        self._last_t_s = -np.inf
        begin = {
            "uuid": uuid.uuid4().hex,
            "t0_wall_ns": time.time_ns(),
            "facts": json_facts(facts),
        }
        sink.record(Kind.BEGIN, json.dumps(begin).encode())

    def observe(
        self,
        t_s: float,
        obs: Mapping[str, F32],
        robot: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Record what the policy saw.

        Args:
            t_s: Stamp [s] in the clock of the port.
            obs: Observation vectors by name ("state"), images aside.
            robot: Raw readings by name, such as q_rad, dq_rad_s, tau_nm, wrench.

        Raises:
            DataError: Out of turn, stamps that go back, or other fields than before.
            NonFiniteError: NaN or infinity.
        """
        self._turn(self._observations == self._steps, "observe")
        if not t_s > self._last_t_s:
            raise DataError(
                f"{self.id}: stamp {t_s} s must be after {self._last_t_s} s. Check the clock."
            )
        row: dict[str, np.ndarray] = {"t_s": np.asarray(t_s, np.float64)}
        row |= {f"obs/{k}": np.asarray(v, np.float32) for k, v in obs.items()}
        row |= {f"robot/{k}": np.asarray(v, np.float64) for k, v in (robot or {}).items()}
        self._row(Kind.OBSERVATION, row)
        self._observations += 1
        self._last_t_s = t_s

    def step(
        self,
        executed: F32,
        requested: F32,
        *,
        base: F32 | None = None,
        residual: F32 | None = None,
        reward: float = 0.0,
        control_source: int = 0,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Record what was done about the last observation.

        Args:
            executed: (a,) after safety.
            requested: (a,) before it.
            base: (a,) the frozen base's action.
            residual: (a,) what was added to it; by default `requested` - `base`.
            reward: Of this step; 0 where rewards are labelled later.
            control_source: Index into `CONTROL_SOURCES`.
            extra: Further vectors of fixed shape, by name.

        Raises:
            DataError: Out of turn, or other fields than before.
            NonFiniteError: NaN or infinity.
        """
        self._turn(self._observations == self._steps + 1, "step")
        row: dict[str, np.ndarray] = {"executed": np.asarray(executed, np.float32)}
        row["requested"] = np.asarray(requested, np.float32)
        if base is not None:
            row["base"] = np.asarray(base, np.float32)
            added = row["requested"] - row["base"] if residual is None else residual
            row["residual"] = np.asarray(added, np.float32)
        row["reward"] = np.asarray(reward, np.float32)
        row["control_source"] = np.asarray(control_source, np.uint8)
        row |= {check_name("step field", k): np.asarray(v) for k, v in (extra or {}).items()}
        self._row(Kind.STEP, row)
        self._steps += 1

    def frame(
        self,
        camera: str,
        rgb: U8,
        *,
        t_device_ns: int,
        t_host_ns: int,
        frame_no: int,
        depth: np.ndarray | None = None,
    ) -> None:
        """Record one camera frame: rgb uint8 (h, w, 3), depth uint16 (h, w) [mm].

        Raises:
            ShapeError: Of another size than the store's camera.
            UnknownNameError: No such camera.
        """
        self._turn(True, "frame")
        spec = self._meta.camera(camera)
        size = (spec.height_px, spec.width_px)
        if rgb.shape != (*size, 3):
            raise ShapeError(f"frame of camera '{camera}'", rgb.shape, (*size, 3))
        if spec.depth and (depth is None or depth.shape != size or depth.dtype != np.uint16):
            found = () if depth is None else depth.shape
            raise ShapeError(f"uint16 depth of camera '{camera}'", found, size)
        stamps = Frame(
            camera=camera,
            t_device_ns=t_device_ns,
            t_host_ns=t_host_ns,
            frame_no=frame_no,
            data=b"",
        )
        self._sink.frame(spec, rgb, stamps, depth if spec.depth else None)

    def seal(
        self,
        outcome: str,
        label_source: str,
        *,
        terminated: bool | None = None,
        next_base: F32 | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        """End the episode and return its id.

        Args:
            outcome: One of `OUTCOMES`.
            label_source: Who says so: "human", "env", "reward_model" ...
            terminated: False if only time ran out; by default True unless the outcome is unknown.
            next_base: (a,) the base's action at the last observation.
            facts: JSON-able, learned since `begin`: notes, drops of the driver ...

        Raises:
            DataError: The last observation is missing.
        """
        if outcome not in OUTCOMES:
            raise UnknownNameError("outcome", outcome, OUTCOMES)
        self._turn(self._observations == self._steps + 1 and self._steps > 0, "seal")
        if next_base is not None and not np.isfinite(next_base).all():
            raise NonFiniteError(f"{self.id}: next_base", next_base, "Seal without it.")
        end = {
            "outcome": outcome,
            "label_source": label_source,
            "terminated": outcome != "unknown" if terminated is None else bool(terminated),
            "next_base": None if next_base is None else np.asarray(next_base, float).tolist(),
            "facts": {**json_facts(facts or {}), "drops": dict(self._sink.drops)},
        }
        self._open = False
        self._sink.finish(Kind.END, json.dumps(end).encode())
        return self.id

    def discard(self) -> None:
        """End the episode and put it into the trash, where `undo` finds it."""
        self._turn(True, "discard")
        end = {"outcome": "unknown", "label_source": "none", "terminated": False}
        self._open = False
        self._sink.finish(Kind.DISCARD, json.dumps(end).encode())

    def _turn(self, allowed: bool, call: str) -> None:
        if not self._open:
            raise DataError(f"{self.id}: {call} after the episode has ended. Begin another one.")
        if not allowed:
            raise DataError(
                f"{self.id}: {call} after {self._observations} observations and {self._steps} "
                "steps. The order is observe, step, observe, step, ..., observe, seal."
            )

    def _row(self, kind: Kind, row: dict[str, np.ndarray]) -> None:
        layout = {key: (value.dtype, value.shape) for key, value in row.items()}
        first = self._layout.setdefault(kind.name, layout)
        if layout != first:
            raise DataError(f"{self.id}: fields {layout} differ from the first row's {first}.")
        for key, value in row.items():
            if not np.isfinite(value).all():
                raise NonFiniteError(f"{self.id}: {key}", value, "Discard the episode.")
        self._sink.record(kind, pack_arrays(row))
