"""The default progress model: a small ensemble that one's own demonstrations train in a minute.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Goal- and text-conditioned, causal, on the state vector, on small images or on both: whatever the
demonstrations hold. Its answers come with the spread of the ensemble, and frames unlike all it was
trained on are invalid. Trained in `embedded_fit.py`; read downwards: `score`, to disk and back.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robot_rl.config import from_plain, to_plain
from robot_rl.errors import CheckpointError, DataError
from robot_rl.policy.eyes import Eyes
from robot_rl.policy.module_arrays import load_module, module_arrays
from robot_rl.policy.saved import under
from robot_rl.reward.corpus import image_sizes, shrink, window_rows
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import Goal
from robot_rl.reward.familiarity import Familiarity, thumbnails
from robot_rl.reward.network import BINS, Glimpse, ProgressNet, median
from robot_rl.reward.progress import Bool, Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.saved import SavedModel, digest_of, read_model, write_model
from robot_rl.reward.text import text_vector
from robot_rl.reward.training import Scaling
from robot_rl.types import F32, F64, U8

__all__ = ["PROPRIO", "EmbeddedModel"]

KIND = "embedded"
PROPRIO = "proprio"
EYES = "eyes."
Gates = Mapping[str, Familiarity]
_SAME_TASK = 0.9  # cosine of instructions that are called equal
_PER_PASS = 256  # frames encoded at once


class EmbeddedModel:
    """A trained ensemble. Make one with `fit_embedded` or `load`."""

    capabilities = Capabilities(causal=True)

    def __init__(
        self,
        *,
        cfg: EmbeddedCfg,
        version: int,
        nets: Sequence[ProgressNet],
        eyes: Eyes | None,
        scaling: Scaling,
        goals: Mapping[str, np.ndarray],
        gates: Gates,
        ends: Sequence[Gates],
        tasks: Sequence[str],
    ) -> None:
        self.cfg, self.version, self.tasks = cfg, version, tuple(tasks)
        self._nets, self._eyes, self._scaling = list(nets), eyes, scaling
        self._goals, self._gates, self._ends = dict(goals), gates, list(ends)
        self._texts = np.stack([text_vector(task) for task in tasks])
        self.model_id = f"{KIND}-{digest_of(self._arrays())[:8]}"

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that it looks at."""
        return self._nets[0].cameras if self._eyes is None else tuple(self._eyes.cameras)

    @property
    def eyes(self) -> Eyes | None:
        """The frozen encoder of its images, None if it has none or looks by itself."""
        return self._eyes

    # Judging ----------------------------------------------------------------------------------

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; unfamiliar frames, and instructions never trained on, are invalid.

        Raises:
            DataError: A query lacks a camera or the state vector that the model looks at.
        """
        return [self._judge(query, range(len(self._nets))) for query in queries]

    def score_by(self, member: int, query: ProgressQuery) -> ProgressEstimate:
        """What one network alone says; see `Fitted.held_out`."""
        return self._judge(query, [member])

    def familiar(self, query: ProgressQuery) -> dict[str, F32]:
        """For each source, how far the frames (T,) lie from training: 1 is the limit."""
        described = self._described(query)
        return {name: gate.distance(described[name]) for name, gate in self._gates.items()}

    def _described(self, query: ProgressQuery) -> dict[str, F32]:
        """The frames as gates measure them, by source."""
        self._check(query)
        described = {name: thumbnails(query.frames[name]) for name in self.cameras}
        if query.proprio is not None:
            described[PROPRIO] = query.proprio
        return described

    def _judge(self, query: ProgressQuery, members: Sequence[int]) -> ProgressEstimate:
        began = time.perf_counter()
        described = self._described(query)
        likeness = self._texts @ text_vector(query.task)
        who = {"model_id": self.model_id, "version": self.version}
        if likeness.max() < _SAME_TASK:
            return ProgressEstimate.invalid(len(query), **who)
        valid = _farthest(self._gates, described) <= 1.0
        task = int(likeness.argmax())
        with torch.no_grad():
            seen = self._see(query.proprio, query.frames)
            start = self._see(*self._start(query))
            goals = [self._see(*self._goal(query, member, task)) for member in members]
            logits = torch.stack(
                [
                    self._logits(self._nets[k], query.stamps_s, (seen, start, goal), task)
                    for k, goal in zip(members, goals, strict=True)
                ]
            )
        unlike = [np.maximum(_farthest(self._ends[k], described) - 1, 0) for k in members]
        shares = logits[:, :, :BINS].softmax(2)
        spread = torch.stack([median(each) for each in shares]).std(0, correction=0)
        done = logits[:, :, BINS] - self.cfg.end_strictness * torch.from_numpy(np.stack(unlike))
        return ProgressEstimate(
            progress=_masked(median(shares.mean(0)), valid),
            success=_masked(done.mean(0).sigmoid(), valid),
            sigma=_masked(spread, valid),
            valid=valid,
            latency_s=time.perf_counter() - began,
            **who,
        )

    def _check(self, query: ProgressQuery) -> None:
        """Refuse a query that cannot be looked at."""
        missing = [name for name in self.cameras if name not in query.frames]
        dim = self._proprio_dim
        width = 0 if query.proprio is None else query.proprio.shape[1]
        if missing or width != dim:
            raise DataError(
                f"reward model {self.model_id} looks at cameras {list(self.cameras)} and a state "
                f"vector of {dim}, but got cameras {sorted(query.frames)} and {width}. "
                "Use the model with the robot that it was trained on."
            )

    @property
    def _proprio_dim(self) -> int:
        """Length of the state vector."""
        features = 0 if self._eyes is None else self._eyes.features
        return len(self._scaling.mean) - features

    def _see(self, vector: F32 | None, images: Mapping[str, U8]) -> Glimpse:
        """Frames of any image size as the networks take them."""
        count = len(vector) if vector is not None else len(next(iter(images.values())))
        vector = np.zeros((count, 0), np.float32) if vector is None else vector
        sizes = image_sizes(self._eyes)
        small = {name: shrink(images[name], *sizes.get(name, ())) for name in self.cameras}
        if self._eyes is not None:
            return Glimpse(vector=self._scaling(self._eyes.see_all(vector, small)), images={})
        pixels = {name: torch.from_numpy(rows) for name, rows in small.items()}
        return Glimpse(vector=self._scaling(vector), images=pixels)

    def _logits(
        self,
        net: ProgressNet,
        stamps_s: F64,
        glimpses: tuple[Glimpse, Glimpse, Glimpse],
        task: int,
    ) -> Tensor:
        """What one network says of each frame, (T, BINS + 1), given frames, start and goal."""
        count = len(stamps_s)
        codes, start, goal = (_codes(net, seen) for seen in glimpses)
        rows = torch.from_numpy(window_rows(stamps_s, self.cfg.frames, self.cfg.gap_s))
        text = torch.from_numpy(self._texts[task]).expand(count, -1)
        return net(codes[rows], start.expand(count, -1), goal.expand(count, -1), text)

    def _start(self, query: ProgressQuery) -> tuple[F32 | None, dict[str, U8]]:
        """The episode's first frame, as one row."""
        vector = query.initial_proprio
        if vector is None and query.proprio is not None:
            vector = query.proprio[0]
        images = {k: query.initial.get(k, query.frames[k][0])[None] for k in self.cameras}
        return (None if vector is None else vector[None]), images

    def _goal(
        self, query: ProgressQuery, member: int, task: int
    ) -> tuple[F32 | None, dict[str, U8]]:
        """The query's goal if it is whole, else the end of a demonstration, as one row."""
        has_vector = query.goal_proprio is not None or not self._proprio_dim
        if has_vector and all(name in query.goal for name in self.cameras):
            vector = None if query.goal_proprio is None else query.goal_proprio[None]
            return vector, {name: query.goal[name][None] for name in self.cameras}
        images = {name: self._goals[name][member, task][None] for name in self.cameras}
        return self._goals[PROPRIO][member, task][None], images

    def goal(self, task: str, member: int = 0) -> Goal:
        """The goal that a network holds a task against.

        Raises:
            DataError: The model was not trained on this task.
        """
        likeness = self._texts @ text_vector(task)
        if likeness.max() < _SAME_TASK:
            raise DataError(f"reward model knows {list(self.tasks)}, but not '{task}'.")
        which = int(likeness.argmax())
        images = {name: self._goals[name][member, which] for name in self.cameras}
        return Goal(images=images, proprio=self._goals[PROPRIO][member, which])

    # To disk and back -------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        arrays = {"mean": self._scaling.mean, "std": self._scaling.std}
        arrays |= {f"goal.{name}": rows for name, rows in self._goals.items()}
        for name, gate in self._gates.items():
            arrays |= gate.arrays(f"gate.{name}.")
            for k, ends in enumerate(self._ends):
                arrays |= ends[name].arrays(f"{k}.end.{name}.")
        if self._eyes is not None:
            arrays |= {f"{EYES}{name}": rows for name, rows in self._eyes.arrays().items()}
        for k, net in enumerate(self._nets):
            arrays |= {f"{k}.{name}": rows for name, rows in module_arrays(net).items()}
        return arrays

    def save(self, folder: Path) -> Path:
        """Write the model as a folder, replacing one that is there. Returns the folder."""
        config = {
            "cfg": to_plain(self.cfg),
            "cameras": list(self.cameras),
            "tasks": list(self.tasks),
            "gates": sorted(self._gates),
            "eyes": None if self._eyes is None else self._eyes.config(),
        }
        model = SavedModel(kind=KIND, version=self.version, config=config, arrays=self._arrays())
        return write_model(folder, model)

    @classmethod
    def load(cls, folder: Path) -> "EmbeddedModel":
        """Read the model in a folder.

        Raises:
            CheckpointError: There is none, it is damaged or of another kind.
        """
        saved = read_model(folder)
        if saved.kind != KIND:
            raise CheckpointError(f"{folder} holds a model of kind '{saved.kind}', not '{KIND}'.")
        try:
            return cls._restore(saved)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder}: config and weights do not fit each other: {error}. Train it again."
            ) from error

    @classmethod
    def _restore(cls, saved: SavedModel) -> "EmbeddedModel":
        cfg = from_plain(EmbeddedCfg, saved.config["cfg"])
        arrays, cameras = saved.arrays, tuple(saved.config["cameras"])

        def gates(prefix: str) -> dict[str, Familiarity]:
            names = saved.config["gates"]
            return {name: Familiarity.from_arrays(arrays, f"{prefix}{name}.") for name in names}

        eyes = None
        if (sizes := saved.config.get("eyes")) is not None:
            eyes = Eyes.restore(sizes, under(EYES, arrays))
        nets = []
        for k in range(cfg.members):
            looks = cameras if eyes is None else ()
            net = ProgressNet(len(arrays["mean"]), looks, cfg.width).eval()
            load_module(net, under(f"{k}.", arrays))
            nets.append(net)
        return cls(
            cfg=cfg,
            version=saved.version,
            nets=nets,
            eyes=eyes,
            scaling=Scaling(mean=arrays["mean"], std=arrays["std"]),
            goals={name: arrays[f"goal.{name}"] for name in (PROPRIO, *cameras)},
            gates=gates("gate."),
            ends=[gates(f"{k}.end.") for k in range(cfg.members)],
            tasks=saved.config["tasks"],
        )


def _codes(net: ProgressNet, seen: Glimpse) -> Tensor:
    """Codes (n, width) of n frames, a bounded number at a time."""
    count = len(seen.vector)
    parts = [torch.arange(low, min(low + _PER_PASS, count)) for low in range(0, count, _PER_PASS)]
    return torch.cat([net.embed(seen[part]) for part in parts])


def _farthest(gates: Gates, described: Mapping[str, F32]) -> F32:
    """The greatest distance (T,) over all sources: one covered camera is enough."""
    return np.max([gate.distance(described[name]) for name, gate in gates.items()], axis=0)


def _masked(values: Tensor, valid: Bool) -> F32:
    """Numbers where a frame is valid, NaN where it is not."""
    return np.where(valid, values.numpy(), np.nan).astype(np.float32)
