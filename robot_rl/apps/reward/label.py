"""`robot-rl reward label`: what a model thinks of stored episodes, kept beside them.

learning:  transition → episode store → **progress model → annotations** → replay → residual agent

Potentials become an annotation of each episode. Verdicts are given only where asked for, and only
to episodes of which neither a person nor the environment has said how they ended.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.reward.data import instruction_of, load_judge
from robot_rl.apps.threads import use_one_thread
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.progress import Progress
from robot_rl.replay.schema import EpisodeInfo
from robot_rl.replay.store import EpisodeStore
from robot_rl.reward.detector import SuccessDetector, Verdict
from robot_rl.reward.episodes import query_of
from robot_rl.reward.labeler import keyframes_of
from robot_rl.reward.potentials import FramePotentials
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.retraining import is_trusted

__all__ = ["ANNOTATION", "Cfg", "main"]

ANNOTATION = "progress"
"""Kind of the annotation that holds an episode's potentials."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward label`."""

    model: Annotated[Path, tyro.conf.Positional]
    """Folder of the model."""
    data: Annotated[Path, tyro.conf.Positional]
    """The episode store."""
    task: str = ""
    """The instruction; by default that of the task which the episodes name."""
    every_s: float = 0.0
    """Time between the frames that are judged; those between are interpolated; 0: all."""
    verdicts: bool = False
    """Also say how episodes ended, where nobody has."""
    again: bool = False
    """Judge again what this version of the model has judged already."""

    def __post_init__(self) -> None:
        """Refuse a negative time."""
        if not self.every_s >= 0:
            raise ConfigError(f"every_s is {self.every_s}, but must be at least 0.")


def main(cfg: Cfg) -> int:
    """Label every episode, and say what was done."""
    use_one_thread()
    model, detector = load_judge(cfg.model)
    counts = {"judged": 0, "up to date": 0, "verdicts": 0, "frames": 0, "invalid frames": 0}
    with EpisodeStore.open(cfg.data, mode="a") as store:
        infos = store.infos()
        with Progress("label", max(len(infos), 1)) as progress:
            for done, info in enumerate(infos, 1):
                if not cfg.again and _is_current(store, info, model):
                    counts["up to date"] += 1
                else:
                    _label(cfg, store, info, model, detector, counts)
                progress.update(done)
    Output().line(f"{cfg.data}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0


def _is_current(store: EpisodeStore, info: EpisodeInfo, model: ProgressModel) -> bool:
    """Whether this very model has judged this very episode."""
    try:
        _, facts = store.annotation(ANNOTATION, info.id)
    except DataError:
        return False
    mine = {"model_id": model.model_id, "version": model.version, "uuid": info.uuid}
    return all(facts.get(key) == value for key, value in mine.items())


def _label(
    cfg: Cfg,
    store: EpisodeStore,
    info: EpisodeInfo,
    model: ProgressModel,
    detector: SuccessDetector,
    counts: dict[str, int],
) -> None:
    """Judge one episode, and keep what was found."""
    episode = store.read(info.id)
    frames = keyframes_of(np.asarray(episode.t_s), cfg.every_s)
    query = query_of(episode, instruction_of(info.task, cfg.task), frames=frames)
    estimate = model.score([query])[0]
    human = info.outcome == "success" if is_trusted(info.label_source) else None
    verdict = detector.decide(query, estimate, human=human)
    potentials = FramePotentials.of(estimate, frames=frames, count=len(episode.t_s))
    potentials.success_label[-1] = verdict.success
    source = info.label_source if human is not None else verdict.label_source
    facts = {
        "model_id": estimate.model_id,
        "version": estimate.version,
        "uuid": info.uuid,
        "latency_s": estimate.latency_s,
        "first_frame": None if verdict.first_frame is None else int(frames[verdict.first_frame]),
        "label_source": source,
    }
    store.annotate(ANNOTATION, info.id, potentials.arrays(), facts)
    counts["judged"] += 1
    counts["frames"] += len(estimate)
    counts["invalid frames"] += int((~estimate.valid).sum())
    if cfg.verdicts and human is None and estimate.valid.any():
        store.label(info.id, _outcome(verdict), verdict.label_source)
        counts["verdicts"] += 1


def _outcome(verdict: Verdict) -> str:
    return "success" if verdict.success else "failure"
