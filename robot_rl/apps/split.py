"""Training in two processes: this one acts, and starts the one that learns.

learning:  transition → **episode store → (learner) → weights → policy**
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import gymnasium as gym

from robot_rl.apps.judging import follow_judge
from robot_rl.apps.learner import LearnerProcess
from robot_rl.apps.ports import camera_hashes
from robot_rl.env.features import camera_shapes
from robot_rl.learn.actor import Actor
from robot_rl.learn.candidates import fit_normaliser
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.progress import Progress
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.trajectory import Trajectory

__all__ = ["act_and_learn"]


def act_and_learn(
    cfg: ResidualCfg,
    run: RunFolder,
    env: gym.Env[Any, Any],
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
    *,
    task: str,
    seeds: Sequence[int],
    max_lag: int | None,
    has_own_learner: bool,
    norm: Normaliser | None = None,
    nice: int = 0,
    judged_in: gym.Env[Any, Any] | None = None,
) -> Actor:
    """Run both to the end, from where the run's folder has them.

    Args:
        cfg: The learner's configuration.
        run: Where all goes; this process keeps its status.
        env: Where to act and to evaluate.
        base: The frozen base, if any.
        demos: Demonstrations.
        task: What a user calls the environment.
        seeds: Evaluation starts.
        max_lag: See `Actor`.
        has_own_learner: Start a learner, instead of waiting for one that a user starts.
        norm: Of states and actions (default: fitted on the demonstrations).
        nice: Its lower priority.
        judged_in: Where evaluations run, if not in `env`.

    Returns:
        The actor, by the last weights.
    """
    folder = SplitFolder(run.path)
    if not folder.is_packed:
        norm = norm or fit_normaliser(demos, env)
        folder.pack(Start(base=base, demos=demos, norm=norm))
    start = folder.unpack()
    with (
        LearnerProcess(folder, nice=nice) if has_own_learner else nullcontext() as learner,
        Progress("train", cfg.steps) as progress,
    ):

        def tend(is_waiting: bool) -> None:
            run.reached(actor.step)
            follow_judge(env, run.path)
            if learner is not None:
                learner.tend(is_waiting)

        actor = Actor(
            cfg,
            env,
            start,
            folder,
            _meta(task, env),
            seeds=seeds,
            max_lag=max_lag,
            tend=tend,
            judged_in=judged_in,
        )
        actor.run(progress)
    return actor


def _meta(task: str, env: gym.Env[Any, Any]) -> StoreMeta:
    """What the executed episodes of a run share."""
    port, shapes = getattr(env.unwrapped, "port", None), camera_shapes(env.unwrapped)
    known = camera_hashes(env)
    cameras = tuple(
        CameraMeta(
            name=name, height_px=shape[0], width_px=shape[1], calibration=known.get(name, "")
        )
        for name, shape in shapes.items()
    )
    if port is None:  # its stamps are the numbers of its steps
        return StoreMeta(robot=task, control_hz=1.0, cameras=cameras, notes={"task": task})
    rate_hz = float(env.metadata["render_fps"])
    return StoreMeta(
        robot=port.spec.name, control_hz=rate_hz, cameras=cameras, notes={"task": task}
    )
