"""A progress model with its detector, asked about whole episodes or watching one as it happens.

command:   observe → policy → decode → safety → send; **each observation is shown to the judge**
learning:  transition → episode store → **progress model → verdict** → replay → residual agent

What is decided while an episode runs and what is decided of it afterwards come from the same
detector on the same frames.
"""

import math
import os
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.config import load_config, save_config
from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.detector import DetectorCfg, SuccessDetector, Verdict
from robot_rl.reward.embedded import EmbeddedModel
from robot_rl.reward.episodes import RecordedEpisode, query_of
from robot_rl.reward.loading import load_model
from robot_rl.reward.potentials import FramePotentials
from robot_rl.reward.progress import ProgressEstimate, ProgressModel, ProgressQuery
from robot_rl.reward.written.model import WrittenModel

__all__ = ["DETECTOR_FILE", "Judge", "Watch"]

DETECTOR_FILE = "detector.json"

_ROUNDING_S = 1e-6  # stamps are sums of periods


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Who says how far a task is done, and whether it is.

    Attributes:
        model: Judges frames.
        detector: Makes verdicts of that.
        task: The instruction that all is judged by.
    """

    model: ProgressModel
    detector: SuccessDetector
    task: str

    @property
    def label_source(self) -> str:
        """What a verdict of this judge says about its origin."""
        return f"reward_model:{self.model.model_id}@{self.model.version}"

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that it looks at; all there are where the model does not say."""
        return tuple(getattr(self.model, "cameras", ()))

    @property
    def context_s(self) -> float:
        """How far back a frame's judgement looks, apart from the episode's first frame."""
        if isinstance(self.model, EmbeddedModel):
            return (self.model.cfg.frames - 1) * self.model.cfg.gap_s
        # A written function sees one state at a time.
        return 0.0 if isinstance(self.model, WrittenModel) else math.inf

    def judge(self, episode: RecordedEpisode) -> tuple[FramePotentials, Verdict]:
        """The potentials of a whole episode, and the verdict on it."""
        query = query_of(episode, self.task)
        estimate = self.model.score([query])[0]
        return FramePotentials.of(estimate), self.detector.decide(query, estimate)

    def save(self, folder: Path) -> Path:
        """Write model and detector, for `load`, both or neither."""
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        self.model.save(part)
        save_config(part / DETECTOR_FILE, self.detector.cfg)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        return folder

    @classmethod
    def load(cls, folder: Path, task: str) -> "Judge":
        """The judge in a folder; with the standard detector if none lies there.

        Raises:
            CheckpointError: There is no model.
            ConfigError: The detector's file is damaged.
        """
        file = folder / DETECTOR_FILE
        cfg = load_config(file, DetectorCfg) if file.is_file() else DetectorCfg()
        return cls(model=load_model(folder), detector=SuccessDetector(cfg), task=task)


class Watch:
    """One episode after another, judged frame by frame while it happens.

    Args:
        judge: Must judge a frame by itself and earlier ones only.

    Raises:
        ConfigError: Its model must know how an episode ends before it can judge it.
    """

    def __init__(self, judge: Judge) -> None:
        if not judge.model.capabilities.causal or judge.model.capabilities.episode_level:
            raise ConfigError(
                f"{judge.model.model_id} judges episodes that are over, so it cannot end one. "
                "Let it label them afterwards (judging.late), or take a causal model."
            )
        self.judge = judge
        self.begin()

    def begin(self) -> None:
        """Forget the last episode."""
        self._recent: deque[tuple[float, Mapping[str, Any]]] = deque()
        self._first: Mapping[str, Any] = {}
        self._stamps_s: list[float] = []
        self._proprio: list[np.ndarray] = []
        self._said: list[ProgressEstimate] = []

    def see(self, obs: Mapping[str, Any], t_s: float) -> bool:
        """Judge the next observation; returns whether success has held up to it.

        Args:
            obs: "state" (d,), and per camera uint8 (h, w, 3).
            t_s: Its stamp.
        """
        obs = {name: np.array(rows) for name, rows in obs.items()}
        if not self._stamps_s:
            self._first = obs
        self._recent.append((t_s, obs))
        while (
            len(self._recent) > 1
            and self._recent[1][0] <= t_s - self.judge.context_s - _ROUNDING_S
        ):
            self._recent.popleft()
        self._stamps_s.append(t_s)
        self._proprio.append(np.asarray(obs["state"], np.float32))
        self._said.append(self.judge.model.score([self._question()])[0])
        query, estimate = self._so_far()
        return bool(self.judge.detector.held(query, estimate)[-1])

    def potentials(self) -> FramePotentials:
        """Of all frames so far.

        Raises:
            DataError: There are none.
        """
        if not self._said:
            raise DataError("watch: no frame has been seen. Call see() first.")
        return FramePotentials.of(self._so_far()[1])

    def __len__(self) -> int:
        """Frames so far."""
        return len(self._stamps_s)

    def _question(self) -> ProgressQuery:
        """The newest frames, as many as the last one's judgement looks at."""
        names = [name for name in self._first if name != "state"]
        return ProgressQuery(
            stamps_s=np.array([t_s for t_s, _ in self._recent]),
            task=self.judge.task,
            frames={name: np.stack([obs[name] for _, obs in self._recent]) for name in names},
            proprio=np.stack([obs["state"] for _, obs in self._recent]).astype(np.float32),
            initial={name: self._first[name] for name in names},
            initial_proprio=np.asarray(self._first["state"], np.float32),
        )

    def _so_far(self) -> tuple[ProgressQuery, ProgressEstimate]:
        """What a detector reads: stamps, what the robot felt, and the judgement of each frame."""
        query = ProgressQuery(
            stamps_s=np.array(self._stamps_s),
            task=self.judge.task,
            proprio=np.stack(self._proprio),
        )
        model = self.judge.model
        return query, ProgressEstimate(
            progress=np.array([each.progress[-1] for each in self._said]),
            success=np.array([each.success[-1] for each in self._said]),
            sigma=np.array([each.sigma[-1] for each in self._said]),
            valid=np.array([each.valid[-1] for each in self._said]),
            model_id=model.model_id,
            version=model.version,
        )
