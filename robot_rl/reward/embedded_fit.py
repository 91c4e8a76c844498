"""Trains the embedded progress model: an ensemble, each network of which leaves a part out.

learning:  transition → episode store → **progress model (training)** → replay → residual agent

What a network has left out says how good it is, and is what a detector is fitted on: read
downwards from `fit_embedded`. One network's training is in `training.py`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import DataError
from robot_rl.policy.eyes import Eyes
from robot_rl.reward.corpus import Corpus, Lesson
from robot_rl.reward.detector import Evidence
from robot_rl.reward.embedded import PROPRIO, EmbeddedModel
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.episodes import query_of
from robot_rl.reward.familiarity import Familiarity
from robot_rl.reward.progress import Bool
from robot_rl.reward.training import Scaling, train_member
from robot_rl.types import I64

__all__ = ["Fitted", "fit_embedded"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained model, and what it says of episodes that it was not trained on.

    Attributes:
        model: The model.
        held_out: Judgements by networks that had left the episode out; of all episodes if there
            are as many networks as folds. A detector is fitted on these: on its own training data
            any model is sure.
        cpu_s: What training cost.
    """

    model: EmbeddedModel
    held_out: list[Evidence]
    cpu_s: float


def fit_embedded(
    lessons: Sequence[Lesson],
    cfg: EmbeddedCfg | None = None,
    *,
    eyes: Eyes | None = None,
    seed: int = 0,
    version: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train the model; the same arguments give the same one.

    Args:
        lessons: Demonstrations and failures; at least two successes of every task.
        cfg: How.
        eyes: A frozen encoder of the images; without one the networks learn to see by themselves,
            which takes ten times as long.
        seed: Of weights, windows and disturbances.
        version: Of the model; must rise with every retraining.
        progress: Called with (gradient steps done over all networks, loss).

    Raises:
        DataError: Too few successes, or episodes that do not fit each other.
        NonFiniteError: Training diverged.
    """
    cfg, began = cfg or EmbeddedCfg(), time.process_time()
    corpus = Corpus.of(lessons, cfg, eyes)
    scaling = Scaling.fit(corpus.vector)
    fold = _folds(corpus, cfg.folds)
    nets, goals, ends = [], [], []
    for member in range(cfg.members):
        kept = np.flatnonzero(fold != member % cfg.folds)
        done = member * cfg.steps

        def note(step: int, loss: float, done: int = done) -> None:
            if progress is not None:
                progress(done + step, loss)

        own_seed = seed * 1009 + member
        nets.append(train_member(cfg, corpus, scaling, kept, seed=own_seed, progress=note))
        goals.append(_goal_rows(corpus, kept, own_seed))
        is_end = (corpus.done == 1) & np.isin(corpus.episode, kept)
        ends.append(_gates(corpus, is_end, cfg.like_an_end))
    model = EmbeddedModel(
        cfg=cfg,
        version=version,
        nets=nets,
        eyes=eyes,
        scaling=scaling,
        goals=_goals(corpus, np.array(goals)),
        gates=_gates(corpus, np.ones(len(corpus), bool), cfg.familiar),
        ends=ends,
        tasks=corpus.tasks,
    )
    return Fitted(
        model=model,
        held_out=_held_out(model, corpus, lessons, fold),
        cpu_s=time.process_time() - began,
    )


def _held_out(
    model: EmbeddedModel, corpus: Corpus, lessons: Sequence[Lesson], fold: I64
) -> list[Evidence]:
    """What each network says of the episodes that it was not trained on."""
    found = []
    for k in map(int, np.flatnonzero(fold < model.cfg.members)):
        lesson, rows = lessons[k], corpus.episode == k
        query = query_of(lesson.episode, lesson.task)
        # How far a failure came nobody says, but that it began with nothing.
        known = lesson.success | (corpus.share[rows] == 0)
        found.append(
            Evidence(
                query=query,
                estimate=model.score_by(int(fold[k]), query),
                success=lesson.success,
                done=corpus.done[rows],
                progress=np.where(known, corpus.share[rows], np.nan),
            )
        )
    return found


def _folds(corpus: Corpus, count: int) -> I64:
    """Part (E,) of each episode, 0 ... count - 1, spread over every task's wins and failures.

    Raises:
        DataError: A task has a single success: a network that left it out would know none.
    """
    fold = np.zeros(len(corpus.success), np.int64)
    for task, name in enumerate(corpus.tasks):
        of_task = corpus.task == task
        if (wins := int((of_task & corpus.success).sum())) < 2:
            raise DataError(
                f"reward model: {wins} success of '{name}', but two are needed at least. "
                "Record more demonstrations."
            )
        for part in (of_task & corpus.success, of_task & ~corpus.success):
            fold[part] = np.arange(part.sum()) % count
    return fold


def _goal_rows(corpus: Corpus, kept: I64, seed: int) -> list[int]:
    """For each task, the last row of a success that the network knows."""
    rng = np.random.default_rng(seed)
    known = [
        kept[(corpus.task[kept] == task) & corpus.success[kept]]
        for task in range(len(corpus.tasks))
    ]
    return [int(corpus.last[rng.choice(demos)]) for demos in known]


def _goals(corpus: Corpus, rows: I64) -> dict[str, np.ndarray]:
    """What the goals (members, tasks) look like."""
    images = {name: shots[rows] for name, shots in corpus.images.items()}
    return {PROPRIO: corpus.proprio[rows], **images}


def _gates(corpus: Corpus, rows: Bool, slack: float) -> dict[str, Familiarity]:
    """What these frames (N,) look like to each source: the state vector, and each camera."""
    sources = {name: (thumbs, 0.02) for name, thumbs in corpus.thumbs.items()}
    if corpus.proprio.shape[1]:
        sources[PROPRIO] = (corpus.proprio, 0.01)
    return {
        name: Familiarity.fit(values[rows], corpus.episode[rows], slack=slack, floor=floor)
        for name, (values, floor) in sources.items()
    }
