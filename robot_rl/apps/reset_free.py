"""Practice without anybody who puts the scene back: what `robot-rl train --undo` runs.

learning:  **there, back, there ...** → transition → replay → two residual agents → weights
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robot_rl.apps.admission import admit_demos
from robot_rl.apps.envs import GYM, PIXELS, load_demos, make_env, twin_task
from robot_rl.apps.measure import measure
from robot_rl.apps.ports import PortName, is_task_file
from robot_rl.config import config_hash
from robot_rl.env.robot_env import RobotEnv
from robot_rl.env.standing_port import StandingPort
from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.progress import Progress
from robot_rl.learn.reset_free import ResetFree, ResetFreeCfg
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.saved import CONFIG_FILE, load_policy, save_policy
from robot_rl.replay.trajectory import Trajectory

__all__ = ["BACK", "UndoCfg", "practise", "undo_task"]

BACK = "back"
"""Folder, in the run's, of the run that learns the way back."""


@dataclass(frozen=True, kw_only=True)
class UndoCfg:
    """Learning without resets: a second policy undoes what the first has done."""

    task: str = ""
    """Task that undoes the run's own, such as push-back; on a robot its .yaml file. Given, the
    two take turns, and a person is asked to put the scene back only when they are stuck."""
    demos: str = ""
    """Episode store with demonstrations of it."""
    patience: int = ResetFreeCfg.patience
    """Ways back that fail in a row before a person is asked."""

    def __post_init__(self) -> None:
        """Refuse a way back that nobody has shown."""
        if bool(self.task) != bool(self.demos):
            raise ConfigError(
                f"undo.task is '{self.task}' and undo.demos '{self.demos}': give both, or neither."
            )
        if self.patience < 1:
            raise ConfigError(f"undo.patience is {self.patience}, but must be at least 1.")


def undo_task(name: str, env: str) -> Any:
    """The `Task` that undoes the task of `env`.

    Raises:
        ConfigError: One of the two is no task of a robot in its state form.
        UnknownNameError: No such task.
    """
    for word in (name, env):
        if word.startswith(GYM) or word.endswith(PIXELS):
            raise ConfigError(f"'{word}' cannot be learned without resets: give a robot's task.")
    if is_task_file(name):
        from robot_rl.env.task_file import load_task

        return load_task(name).task()
    from importlib import import_module

    return import_module("sim.tasks").make_task(twin_task(name))


def practise(
    undo: UndoCfg,
    learn: ResidualCfg,
    run: RunFolder,
    env: Any,
    base: BasePolicy,
    demos: Sequence[Trajectory],
    *,
    task: str,
    port: PortName,
    bc: BCCfg,
    seeds: Sequence[int],
    resume: bool,
) -> ResetFree:
    """Learn there and back until the steps of both are done.

    Args:
        undo: The way back.
        learn: Of both learners; its steps are those of both together.
        run: Of the way there; that of the way back lies in it.
        env: The task's `RobotEnv`, whose port both share.
        base: Of the way there.
        demos: Of the way there.
        task: What a user calls it.
        port: Whether a person or the twin puts the scene back.
        bc: How the base of the way back is cloned.
        seeds: Evaluation starts.
        resume: Go on from the newest checkpoints.

    Returns:
        The two, at their end.

    Raises:
        ConfigError: The two tasks are not of one robot.
    """
    asked = _ask if port == "ros" else None
    robot = StandingPort(env.port, owns_scene=port == "sim", ask=asked)
    there = RobotEnv(robot, env.task, env.cfg)
    back = RobotEnv(robot, undo_task(undo.task, task), env.cfg)
    back_demos = load_demos(undo.demos, undo.task)
    admit_demos(env, back_demos, undo.demos)
    back_run = RunFolder.create(
        run.path / BACK,
        {"env": undo.task, "demos": undo.demos, "bc": bc, "learn": learn},
        resume=resume,
        steps=learn.steps,
    )
    progress = Progress("there and back", learn.steps)
    evaluate = _judge(run, task, port, there, seeds, progress)
    forward = ResidualLearner(learn, there, base, demos, run=run)
    other = replace(learn, seed=learn.seed + 1)
    backward = ResidualLearner(
        other, back, _base(back_run, bc, back_demos, other.seed), back_demos, run=back_run
    )
    both = ResetFree(
        ResetFreeCfg(steps=learn.steps, patience=undo.patience),
        forward,
        backward,
        request_reset=robot.request_reset,
        control_hz=env.task.control_hz,
        evaluate=lambda step, name: evaluate(forward, step, name),
    )
    if resume:
        both.resume()
    if both.step < learn.steps:
        progress.start = both.step
        with progress:
            both.train(progress)
    back_run.finish({"resets": both.resets})
    return both


def _judge(
    run: RunFolder,
    task: str,
    port: PortName,
    there: RobotEnv,
    seeds: Sequence[int],
    progress: Progress,
) -> Callable[[ResidualLearner, int, str], float]:
    """Measures on the evaluation seeds: in a twin of its own, where every episode is reset."""

    def evaluate(learner: ResidualLearner, step: int, name: str) -> float:
        progress.update(step, stage=f"evaluating {name}")
        env = make_env(task) if port == "sim" else there
        driver = learner.driver(name, explore=False)
        with run.off_the_clock():
            found = measure(env, driver, learner.anchor, seeds)
        run.log_eval(step, name, found.seeds, found.successes, found.lengths)
        progress.update(step, success=found.rate.mean)
        if env is not there:
            env.close()
        return found.rate.mean

    return evaluate


def _base(run: RunFolder, cfg: BCCfg, demos: Sequence[Trajectory], seed: int) -> BasePolicy:
    """The base of the way back, cloned once."""
    folder = Path(run.path) / f"base-{config_hash(cfg)}"
    if not (folder / CONFIG_FILE).exists():
        save_policy(fit(cfg, [d for d in demos if d.success is not False], seed=seed), folder)
    return load_policy(folder)


def _ask() -> None:
    """Wait for a person."""
    print("\nPut the scene back to its start, then press Enter.", file=sys.stderr, flush=True)
    sys.stdin.readline()
