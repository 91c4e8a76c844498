"""Episodes for the benchmark of the embedded judge: made once, kept, their true progress known.

Two splits: on one the settings were chosen, on the other the table is made. They share neither
starts nor kinds of failure, and neither shares a kind with what a model is trained on.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from robot_rl.apps.collect import ExpertDriver
from robot_rl.apps.envs import make_env
from robot_rl.apps.reward.data import cases_of, lessons
from robot_rl.apps.reward.probes import Prober, steps_to_go
from robot_rl.apps.settling import Settling
from robot_rl.config import write_atomically
from robot_rl.errors import DataError
from robot_rl.learn.rollout import run_episode
from robot_rl.policy.base import Observation
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.episodes import SETTLED_S
from robot_rl.reward.evaluation import Case
from robot_rl.types import F32
from sim.tasks import make_env as make_twin_env
from sim.tasks import make_task

__all__ = ["GOES_ON_S", "GOES_ON_STEPS", "SEEN", "SPLITS", "Made", "Split"]

SEEN = ("hover", "retreat")
"""The kinds of failure that models are trained on."""
GOES_ON_S, GOES_ON_STEPS = 0.5, 10
"""So long an episode goes on after success."""
TRUE_FRAMES = 4


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which starts and kinds of failure: training seeds are 1000 apart, failures come later."""

    name: str
    train_from: int
    test_from: int
    kinds: tuple[str, ...]
    successes: int
    of_kind: int


SPLITS = {
    "test": Split(
        name="test",
        train_from=710_000,
        test_from=780_000,
        kinds=("idle", "random", "short", "beside", "mimic", "drop"),
        successes=40,
        of_kind=16,
    ),
    "selection": Split(
        name="selection",
        train_from=730_000,
        test_from=760_000,
        kinds=("stuck", "high", "swerve", "waver", "lose"),
        successes=24,
        of_kind=8,
    ),
}


class Made:
    """The episodes of one task and split in a folder; what is missing is made.

    Args:
        folder: Where they are kept.
        task: Task of the twin.
        split: Which episodes.
        pixels: Give the same episodes as two cameras saw them.
    """

    def __init__(self, folder: Path, task: str, split: Split, *, pixels: bool = False) -> None:
        self._folder, self._task, self._split, self._pixels = folder, task, split, pixels

    def lessons(self, seed: int, demos: int, failures: int) -> list[Lesson]:
        """What one training seed learns from; demonstrations go on after their success."""
        first = self._split.train_from + 1000 * seed
        good = self._kept(f"demos-{seed}-{demos}", lambda: self._demos(first, demos))
        if not failures:
            return lessons((good,))
        kinds = [(SEEN[k % len(SEEN)], first + 20_000 + k) for k in range(failures)]
        bad = self._kept(f"failures-{seed}-{failures}", lambda: self._failures(kinds))
        return lessons((good, bad))

    @cached_property
    def cases(self) -> list[Case]:
        """The test set: successes that go on, and failures with what is known of their progress.

        A success is met from as long before its end on as the task wants it held.
        """
        split = self._split
        good = self._kept("successes", lambda: self._demos(split.test_from, split.successes))
        bad = self._kept("test-failures", lambda: self._failures(self._asked()))
        truth, task = self._truth(), make_task(self._task)
        cases = []
        for case in cases_of((good, bad)):
            if case.success:
                stamps_s = case.query.stamps_s
                met_s = stamps_s[-1] - GOES_ON_S - task.hold_s - 1e-6
                case = replace(case, achieved=stamps_s >= met_s)
            for frame, progress in truth.get(case.name, {}).items():
                case.progress[frame] = progress
            cases.append(case)
        return cases

    def _asked(self) -> list[tuple[str, int]]:
        """Kind and start of each failure of the test set."""
        split = self._split
        first = split.test_from + 40_000
        return [
            (kind, first + 100 * which + k)
            for which, kind in enumerate(split.kinds)
            for k in range(split.of_kind)
        ]

    def _demos(self, first: int, count: int) -> Iterator[Trajectory]:
        """So many successes, each going on for a while."""
        env = Settling(make_env(self._task), GOES_ON_S)
        expert, found = ExpertDriver(env, self._task), 0
        for seed in range(first, first + 10 * count):
            episode = expert.demonstrate(seed)
            if episode.success and found < count:
                found += 1
                yield episode
            if found == count:
                break
        env.close()

    def _failures(self, asked: Iterable[tuple[str, int]]) -> Iterator[Trajectory]:
        """Failures of these kinds, as far as the task knows them."""
        env = make_env(self._task)
        prober = Prober(env, self._task)
        for kind, seed in asked:
            if kind in prober.kinds():
                yield prober.fail(kind, seed)
        env.close()

    def _kept(self, name: str, make: Callable[[], Iterable[Trajectory]]) -> Path:
        """A store with these episodes, made if it is not there; whole or not at all."""
        path = self._path(name)
        if not path.exists():
            write_store(path, f"{self._task} twin", make())
        if not self._pixels:
            return path
        seen = path.with_name(path.name.replace(self._task, f"{self._task}-pixels", 1))
        if not seen.exists():
            write_store(seen, f"{self._task} twin", rendered(self._task, path))
        return seen

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._task}-{self._split.name}-{name}.zarr"

    def _truth(self) -> dict[str, dict[int, float]]:
        """Progress of the failures at some frames: 1 - steps left / steps left at the start."""
        path = self._path("test-failures")
        file = path.with_suffix(".truth.json")
        if not file.exists():
            write_atomically(file, json.dumps(true_progress(path, self._task)) + "\n")
        store = path.name
        if self._pixels:
            store = store.replace(self._task, f"{self._task}-pixels", 1)
        return {
            f"{store}/{name}": {int(k): v for k, v in frames.items()}
            for name, frames in json.loads(file.read_text()).items()
        }


def write_store(path: Path, robot: str, episodes: Iterable[Trajectory]) -> None:
    """A new store, put in place once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    found = iter(episodes)
    head = next(found)
    cameras = tuple(
        CameraMeta(name=name, width_px=rows.shape[2], height_px=rows.shape[1], codec="png")
        for name, rows in head.obs.items()
        if name != "state"
    )
    meta = StoreMeta(robot=robot, control_hz=20.0, cameras=cameras)
    with EpisodeStore.create(part, meta) as store:
        for episode in (head, *found):
            store.append(episode)
    part.rename(path)


def rendered(task: str, path: Path) -> Iterator[Trajectory]:
    """The same episodes in pixel form: the same actions from the same starts.

    Raises:
        DataError: An episode came out differently.
    """
    plain = make_env(f"{task}/pixels")
    settling = Settling(make_env(f"{task}/pixels"), GOES_ON_S)
    for episode in EpisodeStore.open(path):
        env = settling if SETTLED_S in episode.attrs else plain
        driver = _Again(episode.requested)
        seed = int(episode.attrs["seed"])
        again = run_episode(env, driver, None, seed=seed, source="scripted", attrs=episode.attrs)
        if (len(again), again.success) != (len(episode), episode.success):
            raise DataError(f"{path}: the episode of seed {seed} came out differently in pixels.")
        yield replace(again, base=None, next_base=None)
    plain.close()
    settling.close()


class _Again:
    """Acts as an episode did."""

    def __init__(self, actions: F32) -> None:
        self._actions, self._step = actions, 0

    def reset(self) -> None:
        """From the first action on."""
        self._step = 0

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """The next action."""
        self._step += 1
        return self._actions[self._step - 1]


def true_progress(path: Path, task: str) -> dict[str, dict[int, float]]:
    """True progress of a store's episodes at a few frames, by name and frame."""
    env = make_twin_env(task, difficulty={"horizon": 400})
    truth = {}
    store = EpisodeStore.open(path)
    for info in store.infos():
        episode = store.read(info.id)
        frames = np.linspace(0, len(episode), TRUE_FRAMES + 1).round().astype(int)
        left = steps_to_go(env, task, episode, frames.tolist())
        if left[0]:
            truth[info.id] = {
                int(frame): float(np.clip(1 - steps / left[0], 0, 1))
                for frame, steps in zip(frames, left, strict=True)
                if steps is not None
            }
    env.close()
    return truth
