"""`robot-rl demo`: the whole job in the twin, from demonstrations to a skill and its report.

    OUT/demos.zarr   scripted demonstrations
        base/        the best behavior cloning can make of them
        residual/    what was learned on top: logs, policy, videos, report.html

Each part is kept when it is done, so that a demo that was stopped goes on when it is called again.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from robot_rl.apps import bc, collect, train
from robot_rl.apps.summary import summarize
from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.record import RunRecord
from robot_rl.policy.saved import CONFIG_FILE
from robot_rl.replay.store import EpisodeStore

__all__ = ["Cfg", "main"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl demo`."""

    env: str = "peg"
    """Task of the twin."""
    out: Path = Path("runs/demo")
    """Folder of all that is made; called again, the demo goes on there."""
    episodes: int = 20
    """Demonstrations to learn from."""
    selection_episodes: int = 40
    """Episodes in which a checkpoint of the base is measured."""
    eval_episodes: int = 100
    """Frozen evaluation seeds on which base and residual are measured."""
    videos: int = 4
    """Episodes to film at the end."""
    bc: BCCfg = field(default_factory=BCCfg)
    """The base."""
    learn: Annotated[ResidualCfg, tyro.conf.arg(name="")] = field(default_factory=ResidualCfg)
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse a demo without demonstrations."""
        if self.episodes < 1:
            raise ConfigError(f"episodes is {self.episodes}, but must be at least 1.")


def main(cfg: Cfg) -> int:
    """Collect, clone, learn and report; whatever is there already is not done again."""
    store, base, run = cfg.out / "demos.zarr", cfg.out / "base", cfg.out / "residual"
    _collect(cfg, store)
    if not (base / "policy" / CONFIG_FILE).exists():
        print(f"2 of 3: a base of {cfg.bc.members} networks, cloned from them")
        cloning = bc.Cfg(
            env=cfg.env,
            demos=str(store),
            out=base,
            seed=cfg.learn.seed,
            selection_episodes=cfg.selection_episodes,
            bc=cfg.bc,
        )
        bc.main(cloning)
    print(f"3 of 3: learn on top of it for {cfg.learn.steps} steps; follow it in {run}")
    learning = train.Cfg(
        env=cfg.env,
        base=base,
        demos=str(store),
        out=run,
        resume=True,
        eval_episodes=cfg.eval_episodes,
        videos=cfg.videos,
        learn=cfg.learn,
    )
    train.main(learning)
    found = summarize(RunRecord.read(run))
    assert found.base is not None and found.final is not None  # every run evaluates both
    print(
        f"demo: base {found.base.mean:.2f} -> residual {found.final.mean:.2f} "
        f"in {found.steps} steps, report: {run / 'report.html'}"
    )
    return 0


def _collect(cfg: Cfg, path: Path) -> None:
    """Record what is missing of the demonstrations."""
    have = 0
    if path.exists():
        with EpisodeStore.open(path) as store:
            have = len(store)
    if have < cfg.episodes:
        missing = cfg.episodes - have
        print(f"1 of 3: {missing} demonstrations of '{cfg.env}' by its scripted expert")
        asked = collect.Cfg(env=cfg.env, out=path, episodes=missing, append=True)
        print(f"{path}: {collect.collect(asked)}")
