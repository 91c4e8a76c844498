"""`robot-rl reward finetune`: teach a judge's model by one's own episodes.

learning:  episode store → lessons → **fine-tuned judge** → progress model → replay

What is taught depends on the judge: hops between moments (grm), scores with negatives
(roboreward), or heads on hidden states (robometer). The checkpoint stays as it is; a low-rank
adapter, or the heads, lie beside the new judge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.reward.configure import ADAPTER
from robot_rl.apps.reward.data import instruction_of, judged_episodes
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import save_config, to_plain
from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.learn.progress import Progress
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.episodes import query_of
from robot_rl.reward.vlm.counterfactual import wrong_instructions
from robot_rl.reward.vlm.finetune import FinetuneCfg, finetune
from robot_rl.reward.vlm.hops import HopLessonsCfg, hop_lessons
from robot_rl.reward.vlm.judge import JUDGE_FILE
from robot_rl.reward.vlm.lessons import ChatLesson
from robot_rl.reward.vlm.local import LocalEngine
from robot_rl.reward.vlm.robometer_training import HeadsCfg, fit_heads
from robot_rl.reward.vlm.saved import load_judge, make_engine, make_judge
from robot_rl.reward.vlm.scores import ScoreLessonsCfg, score_lesson, score_lessons
from robot_rl.reward.vlm.views import chosen_camera, film_until

__all__ = ["Cfg", "main"]

TAUGHT = ("grm", "roboreward", "robometer")
"""Judges whose models can be taught here."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward finetune`."""

    judge: Annotated[Path, tyro.conf.Positional]
    """Folder that robot-rl reward configure wrote, with a local checkpoint."""
    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Episode stores with images; successes, and failures if there are some."""
    out: Path
    """Folder of the taught judge, its adapter or heads, and training.json."""
    task: str = ""
    """The instruction; by default that of the task which the episodes name."""
    counterfactual: bool = False
    """Have the model itself write wrong instructions for right films (roboreward)."""
    hops: HopLessonsCfg = field(default_factory=HopLessonsCfg)
    """What a grm is taught."""
    scores: ScoreLessonsCfg = field(default_factory=ScoreLessonsCfg)
    """What a roboreward is taught."""
    heads: HeadsCfg = field(default_factory=HeadsCfg)
    """What a robometer is taught."""
    train: FinetuneCfg = field(default_factory=FinetuneCfg)
    """How long and how fast an adapter is trained."""


def main(cfg: Cfg) -> int:
    """Make lessons, train, write the taught judge, and say how it went."""
    use_one_thread()
    judge: Any = load_judge(cfg.judge)  # of one of three classes, each with engine and cfg
    _admit(cfg, judge)
    episodes = _episodes(cfg)
    out, version = Output(), judge.version + 1
    if judge.kind == "robometer":
        report = _teach_heads(cfg, judge, episodes)
        settings, engine = replace(judge.cfg, heads=(cfg.out / "heads").resolve()), judge.engine
    else:
        lessons = _lessons(cfg, judge, episodes)
        report = _teach(cfg, judge, lessons)
        settings = replace(judge.cfg, adapter=ADAPTER)
        adapters = {**judge.engine.cfg.adapters, ADAPTER: (cfg.out / "adapter").resolve()}
        engine = make_engine(replace(judge.engine.cfg, adapters=adapters))
    make_judge(judge.kind, engine, settings, version).save(cfg.out)
    save_config(cfg.out / "training.json", {"cfg": to_plain(cfg), **report})
    out.table(
        f"{judge.kind}, taught by {len(episodes)} episodes",
        ("what", "value"),
        [(name, value) for name, value in report.items() if isinstance(value, int | float)],
    )
    out.line(
        f"{cfg.out}: version {version}. Next: robot-rl reward eval {cfg.out} <other episodes>"
    )
    return 0


def _admit(cfg: Cfg, judge: Any) -> None:
    """Refuse what cannot be taught here, before anything is loaded."""
    if judge.kind not in TAUGHT:
        raise ConfigError(
            f"{cfg.judge} is a judge of kind '{judge.kind}', but only {', '.join(TAUGHT)} can be "
            "taught."
        )
    if not isinstance(judge.engine, LocalEngine):
        raise ConfigError(
            f"{cfg.judge} asks a server, whose weights are not here. Configure it with "
            "--checkpoint, teach it, and have the server load the adapter."
        )
    if cfg.counterfactual and judge.kind != "roboreward":
        raise ConfigError(f"counterfactual is for roboreward, but the judge is '{judge.kind}'.")
    if cfg.out.resolve() == cfg.judge.resolve() or (cfg.out / JUDGE_FILE).exists():
        raise CheckpointError(
            f"{cfg.out} holds a judge, which is not written over. Give another --out."
        )


def _episodes(cfg: Cfg) -> dict[str, Trajectory]:
    """Judged episodes with images, each under the instruction that a judge is asked by.

    Raises:
        DataError: There are none.
    """
    found = {
        name: replace(
            episode, attrs={**episode.attrs, "task": instruction_of(info.task, cfg.task)}
        )
        for name, info, episode in judged_episodes(cfg.data)
        if len(episode.obs) > 1
    }
    if not found:
        raise DataError(
            f"{', '.join(map(str, cfg.data))}: no episode has images and an outcome that a person "
            "or the environment gave. Record with cameras, such as robot-rl collect --env "
            "peg/pixels."
        )
    return found


def _lessons(cfg: Cfg, judge: Any, episodes: Mapping[str, Trajectory]) -> list[ChatLesson]:
    """What the judge's model is taught by these episodes."""
    rng = np.random.default_rng(cfg.train.seed)
    if judge.kind == "grm":
        return hop_lessons(episodes, cfg.hops, judge.cfg, rng)
    lessons = score_lessons(episodes, cfg.scores, judge.cfg, rng)
    return [*lessons, *_counterfactual(judge, episodes)] if cfg.counterfactual else lessons


def _counterfactual(judge: Any, episodes: Mapping[str, Trajectory]) -> list[ChatLesson]:
    """Whole films of successes under instructions that they meet only in part."""
    wins = {name: episode for name, episode in episodes.items() if episode.success}
    films = []
    for episode in wins.values():
        query = query_of(episode, str(episode.attrs["task"]))
        camera = chosen_camera(judge.cfg.camera, query.frames)
        films.append((query.task, film_until(query, camera, len(query) - 1, judge.cfg.max_frames)))
    lessons = []
    for (name, episode), wrong in zip(
        wins.items(), wrong_instructions(judge.engine, films), strict=True
    ):
        for score, text in wrong.items():
            made = score_lesson(episode, len(episode.t_s) - 1, text, (score,), judge.cfg)
            lessons.append(replace(made, source=name))
    return lessons


def _teach(cfg: Cfg, judge: Any, lessons: Sequence[ChatLesson]) -> dict[str, Any]:
    """Train the adapter."""
    with Progress("finetune", cfg.train.steps) as progress:
        report = finetune(
            judge.engine,
            lessons,
            cfg.train,
            cfg.out / "adapter",
            lambda step, loss: progress.update(step, loss=loss),
        )
    return {
        "lessons": report.lessons,
        "held_out": report.held_out,
        "first_loss": report.loss[0],
        "last_loss": report.loss[-1],
        "best_check": report.best,
        "checks": report.checks,
    }


def _teach_heads(cfg: Cfg, judge: Any, episodes: Mapping[str, Trajectory]) -> dict[str, Any]:
    """Train the heads."""
    heads = replace(cfg.heads, camera=judge.cfg.camera, max_frames=judge.cfg.max_frames)
    losses = fit_heads(judge.engine, episodes, heads, cfg.out / "heads", adapter=judge.cfg.adapter)
    return {"first_loss": losses[0], "last_loss": losses[-1]}
