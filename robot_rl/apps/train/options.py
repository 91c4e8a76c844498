"""Options of `robot-rl train`, what a method's defaults are, and what makes a run what it is."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from robot_rl.apps.eval import find_policy
from robot_rl.apps.judging import SPARSE, RewardName
from robot_rl.apps.ports import PortCfg, PortName, is_task_file
from robot_rl.apps.reset_free import UndoCfg, undo_task
from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg
from robot_rl.learn.carry_over import CarryOverCfg
from robot_rl.learn.eyesight import EyesightCfg
from robot_rl.learn.methods import WITHOUT_BASE, ResidualCfg, baseline
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.policy.saved import CONFIG_FILE
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.retraining import RetrainCfg

__all__ = ["Cfg", "learner_of", "preset", "run_config"]

Method = Literal["ours", "fast", "filtered-bc", "rlpd", "rlpd-sac", "td3", "sac", "ibrl", "base"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl train`."""

    env: str
    """Task, or gym:<id>; with port ros also the .yaml file of a real robot's task."""
    port: PortName = "sim"
    """Act in the twin, or by the robot (or twin) on the ROS graph."""
    ros: PortCfg = field(default_factory=PortCfg)
    """Which robot on the graph."""
    rig: Path | None = None
    """Folder of the calibration in force, as of robot-rl calibrate; the run keeps its hash."""
    base: Path | None = None
    """Base to learn on: folder of a saved policy, of robot-rl bc, or of another run (default: one
    is cloned from the demonstrations)."""
    demos: str = ""
    """Episode store with demonstrations, or builtin."""
    pretrained: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of robot-rl pretrain: its base, demonstrations, critics, residual and replay are what
    the run begins with."""
    carry: CarryOverCfg = field(default_factory=CarryOverCfg)
    """How far to trust what was learned there."""
    reward: str = SPARSE
    """What is learned from: sparse, the environment's word; judge:DIR, success as the judge in
    that folder sees it, and progress beside; detector:DIR, that success alone; or naive:DIR, with
    the plain difference of progress, to compare."""
    judging: RewardCfg = field(default_factory=RewardCfg)
    """How a judge's word becomes a reward."""
    retrain: RetrainCfg = field(default_factory=RetrainCfg)
    """When a judge is trained again on what was asked (judging.ask-every)."""
    method: Method = "ours"
    """What is learned; ours with neither base nor demonstrations is td3."""
    name: str = ""
    """The run's name; its folder is then runs/NAME."""
    out: Path | None = None
    """The run's folder itself (default: runs/<env>-<method>-s<seed>)."""
    engine: Literal["inline", "split"] = "inline"
    """Act and learn in turn, or in two processes, so that neither waits for the other."""
    own_learner: bool = True
    """With split, start the learner; else it waits for robot-rl learner RUN, here or elsewhere."""
    max_lag: int | None = 1
    """With split, episodes that the learner may be behind before acting waits for it, as it must
    in a simulator; None for never."""
    resume: bool = False
    """Go on with the run in that folder, if there is one."""
    eval_episodes: int = 100
    """How many of the task's frozen evaluation seeds measure the base and what is deployed."""
    videos: int = 4
    """Episodes to film at the end."""
    undo: UndoCfg = field(default_factory=UndoCfg)
    """Learning without resets: a second policy undoes what the first has done."""
    bc: BCCfg = field(default_factory=BCCfg)
    """How a base is cloned where none is given."""
    eyes: EyesightCfg = field(default_factory=EyesightCfg)
    """How seeing is learned from demonstrations, where there are images."""
    learn: Annotated[ResidualCfg, tyro.conf.arg(name="")] = field(default_factory=ResidualCfg)
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse two names, and counts that mean nothing."""
        if self.name and self.out is not None:
            raise ConfigError(f"name is '{self.name}' and out '{self.out}': give one of the two.")
        if self.eval_episodes < 1 or self.videos < 0:
            raise ConfigError(
                f"eval_episodes is {self.eval_episodes} and videos {self.videos}, "
                "but must be at least 1 and 0."
            )
        if self.pretrained is not None and self.base is not None:
            raise ConfigError(
                f"base is '{self.base}', but from is '{self.pretrained}', which brings its own "
                "base: leave out --base."
            )
        if self.pretrained is not None and self.method in WITHOUT_BASE:
            raise ConfigError(
                f"method '{self.method}' uses no base, but from is '{self.pretrained}': a "
                "pretraining is learned on by ours, fast or filtered-bc."
            )
        judge = RewardName.parse(self.reward).judge
        if self.undo.task:
            undo_task(self.undo.task, self.env)
            is_other = self.pretrained or judge or self.method in WITHOUT_BASE
            if self.engine == "split" or is_other or not (self.base or self.demos):
                raise ConfigError(
                    f"undo is '{self.undo.task}': learning without resets is of a method with a "
                    "base, in one process (--engine inline), by the tasks' own predicates."
                )
        if judge is not None and self.pretrained is not None:
            raise ConfigError(
                f"reward is '{self.reward}', but from is '{self.pretrained}', whose critics know "
                "another reward: leave out --from."
            )
        if self.max_lag is not None and self.max_lag < 0:
            raise ConfigError(f"max_lag is {self.max_lag}, but must be at least 0, or None.")
        if self.port == "ros" and self.videos:
            raise ConfigError(
                f"videos is {self.videos}, but a robot does not act for a film: give --videos 0."
            )

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        task = Path(self.env).stem if is_task_file(self.env) else self.env
        task = task.split(":")[-1].replace("/", "-")
        name = self.name or f"{task}-{self.method}-s{self.learn.seed}"
        return self.out or Path("runs") / name

    @property
    def clones_base(self) -> bool:
        """Whether the run makes a base of its own."""
        has_base = self.base is not None or self.pretrained is not None
        return not has_base and bool(self.demos) and self.method not in WITHOUT_BASE


def preset(arguments: Sequence[str]) -> Cfg:
    """The defaults of the method that a command line asks for; its other options change these."""
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--method", "--base", "--demos", "--port"):
        look.add_argument(option, default="")
    look.add_argument("--from", default="", dest="pretrained")
    look.add_argument("--undo.task", default="", dest="undo")
    asked, _ = look.parse_known_args([*arguments])
    method = asked.method if asked.method in Method.__args__ else "ours"
    learn = learner_of(method, has_base=bool(asked.base or asked.demos or asked.pretrained))
    if asked.pretrained:
        learn = replace(learn, warmup_steps=1)  # it was warmed up in the pretraining
    if asked.port != "ros":
        return Cfg(env=tyro.MISSING, learn=learn)
    # A robot goes on while another process learns, and its evaluations take its own time.
    engine = "inline" if asked.undo else "split"
    robot = {"engine": engine, "max_lag": None, "eval_episodes": 20, "videos": 0}
    return Cfg(env=tyro.MISSING, learn=learn, **robot)


def learner_of(method: str, *, has_base: bool) -> ResidualCfg:
    """The configuration of a method, for what there is to learn from."""
    return baseline("td3" if method == "ours" and not has_base else method, ResidualCfg())


def run_config(cfg: Cfg, demos: Sequence[Trajectory]) -> dict[str, Any]:
    """What makes a run what it is, and must be the same when it goes on."""
    base = None
    if cfg.base is not None:
        head = find_policy(cfg.base, cfg.env)[0] / CONFIG_FILE
        base = {"path": str(cfg.base), "sha256": json.loads(head.read_text())["sha256"]}
    digest = hashlib.sha256()
    for demo in demos:
        digest.update(demo.executed.tobytes())
    about = {"path": cfg.demos, "episodes": len(demos), "sha256": digest.hexdigest()}
    apart: dict[str, Any] = {"engine": "split"} if cfg.engine == "split" else {}
    if (reward := RewardName.parse(cfg.reward)).judge is not None:
        apart |= {"reward": cfg.reward, "judge": reward.digest()}
        apart |= {"judging": cfg.judging, "retrain": cfg.retrain}
    if cfg.undo.task:
        apart |= {"undo": cfg.undo}
    if cfg.pretrained is not None:
        apart |= {"from": str(cfg.pretrained), "carry": cfg.carry}
    if cfg.port == "ros":
        apart |= {"port": "ros", "ros": cfg.ros}
    return {
        "env": cfg.env,
        "method": cfg.method,
        "base": base,
        "demos": about if demos else None,
        "bc": cfg.bc if cfg.clones_base else None,
        "eval_episodes": cfg.eval_episodes,
        "learn": cfg.learn,
        **apart,
    }
