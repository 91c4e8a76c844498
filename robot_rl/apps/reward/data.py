"""From episode stores and model folders to what the reward verbs work on.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from robot_rl.config import load_config
from robot_rl.errors import DataError, RobotRLError
from robot_rl.replay.schema import EpisodeInfo
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.episodes import query_of, success_s, time_share
from robot_rl.reward.evaluation import Case
from robot_rl.reward.loading import load_model
from robot_rl.reward.progress import ProgressEstimate, ProgressModel
from robot_rl.reward.retraining import is_trusted

__all__ = [
    "DETECTOR_FILE",
    "cases_of",
    "instruction_of",
    "judged_episodes",
    "lessons",
    "load_judge",
]

DETECTOR_FILE = "detector.json"


def load_judge(where: Path) -> tuple[ProgressModel, SuccessDetector]:
    """A progress model, and the detector beside it, or the standard one if there is none.

    Raises:
        CheckpointError: There is no model.
        ConfigError: The detector's file is damaged.
    """
    file = where / DETECTOR_FILE
    cfg = load_config(file, DetectorCfg) if file.is_file() else DetectorCfg()
    return load_model(where), SuccessDetector(cfg)


def instruction_of(task: str, given: str = "") -> str:
    """What a person would say: as given, as a task of the twin says it, or the task's own name.

    Raises:
        DataError: Nothing of this is known.
    """
    if given:
        return given
    name = task.split("/")[0]
    try:
        tasks = import_module("sim.tasks")
        if name in tasks.TASKS:
            return str(tasks.make_task(name).instruction)
    except (ModuleNotFoundError, RobotRLError):
        pass  # without the twin, the name must do
    if not task:
        raise DataError("the episodes name no task. Say what was to be done by --task.")
    return task


def judged_episodes(
    paths: Sequence[Path], *, trusted: bool = True
) -> Iterator[tuple[str, EpisodeInfo, Trajectory]]:
    """Episodes of stores with an outcome, and what they are called.

    Args:
        paths: The stores.
        trusted: Leave out what a reward model said, so that none learns from itself.
    """
    for path in paths:
        store = EpisodeStore.open(path)
        for info in store.infos():
            known = info.outcome != "unknown" and (not trusted or is_trusted(info.label_source))
            if known:
                yield f"{path.name}/{info.id}", info, store.read(info.id)


def lessons(paths: Sequence[Path], task: str = "") -> list[Lesson]:
    """What a model can learn from stores.

    Raises:
        DataError: There is nothing labelled.
    """
    found = [
        Lesson(
            episode=episode,
            task=instruction_of(info.task, task),
            success=info.outcome == "success",
        )
        for _, info, episode in judged_episodes(paths)
    ]
    if not found:
        raise DataError(
            f"{', '.join(map(str, paths))}: no episode has an outcome that a person or the "
            "environment gave. Record with `robot-rl collect` or `robot-rl record`."
        )
    return found


def cases_of(paths: Sequence[Path], task: str = "") -> list[Case]:
    """The labelled episodes of stores as a test set, not judged yet.

    True progress of a success is the share of its time; of a failure it is not known. Episodes
    that were made to fail on purpose know their kind, and where the goal was met.
    """
    cases = []
    for name, info, episode in judged_episodes(paths):
        query = query_of(episode, instruction_of(info.task, task))
        success = info.outcome == "success"
        achieved = episode.attrs.get("achieved")
        unknown = np.full(len(query), np.nan)
        cases.append(
            Case(
                name=name,
                kind="success" if success else str(episode.attrs.get("probe", "failure")),
                query=query,
                estimate=ProgressEstimate.invalid(len(query), model_id="", version=0),
                success=success,
                progress=time_share(query.stamps_s, success_s(episode)) if success else unknown,
                achieved=None if achieved is None else np.asarray(achieved, bool),
            )
        )
    return cases
