"""`robot-rl train`: what is learned on top of a base, or without one, on any environment.

learning:  transition → episode store → replay → **residual agent → weights → policy**
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from robot_rl.apps.admission import admit_demos, admit_policy, admit_pretrained, admit_reward
from robot_rl.apps.envs import eval_seeds, load_demos
from robot_rl.apps.eval import find_policy
from robot_rl.apps.judging import SPARSE, RewardName, source_of, watched_of
from robot_rl.apps.measure import measure
from robot_rl.apps.outcome import finish
from robot_rl.apps.ports import make_env
from robot_rl.apps.reset_free import practise
from robot_rl.apps.sight import EYES_FILE, admit_sight, eyes_of
from robot_rl.apps.split import act_and_learn
from robot_rl.apps.threads import use_one_thread
from robot_rl.apps.train.options import Cfg, run_config
from robot_rl.env.features import FeatureObservation, camera_shapes
from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.learn.bc import fit
from robot_rl.learn.candidates import Candidates
from robot_rl.learn.carry_over import Pretrained
from robot_rl.learn.eyesight import with_features
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.methods import WITHOUT_BASE
from robot_rl.learn.progress import Progress
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.reward_source import RewardSource
from robot_rl.learn.rollout import Driver
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.eyes import Eyes, SeeingPolicy
from robot_rl.policy.saved import CONFIG_FILE, load_policy, save_policy
from robot_rl.replay.trajectory import Trajectory

__all__ = ["main"]

_LEARNER_NICE = 5
"""Lower priority of a learner on the robot's own machine: the arm comes first."""


def main(cfg: Cfg) -> int:
    """Learn, and leave a policy, videos and a report; all can be had again by --resume."""
    use_one_thread()
    env = make_env(cfg.env, cfg.port, cfg.ros)
    try:
        pretrained = None if cfg.pretrained is None else admit_pretrained(cfg.pretrained, cfg.env)
        base, demos = _materials(cfg, env, pretrained)
        config, eyes = run_config(cfg, demos), None
        if camera_shapes(env):
            config |= {"eyes": cfg.eyes}
        keeps = "status" if cfg.engine == "split" else "all"
        run = RunFolder.create(
            cfg.folder,
            config,
            resume=cfg.resume,
            steps=cfg.learn.steps,
            calibration_hash=_calibration(cfg),
            keeps=keeps,
        )
        try:
            reward, shown = RewardName.parse(cfg.reward), demos
            watched = watched_of(reward, cfg.judging, env, cfg.env, run.path, demos)
            env = watched
            if camera_shapes(env):
                eyes = eyes_of(run.path / EYES_FILE, cfg.eyes, base, demos, seed=cfg.learn.seed)
                env = FeatureObservation(env, eyes)
                demos = with_features(eyes, demos)
                base = base.policy if isinstance(base, SeeingPolicy) else base
            if cfg.clones_base:
                base = _cloned(cfg, run, demos)
            if cfg.undo.task:
                done, step = _practise(cfg, run, env, base, demos)
            elif cfg.engine == "split":
                done, step = _split(cfg, run, env, eyes, base, demos, pretrained)
            else:
                source = source_of(
                    reward,
                    cfg.judging,
                    cfg.env,
                    run.path,
                    shown,
                    retrain=cfg.retrain,
                    env=watched,
                )
                done, step = _inline(cfg, run, env, eyes, base, demos, pretrained, source)
        except RobotRLError as error:
            run.stop("failed", str(error))
            raise
        except KeyboardInterrupt:
            run.stop("interrupted", "Ctrl-C")
            raise
        print(finish(done, run, cfg.env, step=step, videos=cfg.videos, eyes=eyes))
    finally:
        env.close()
    return 0


def _calibration(cfg: Cfg) -> str | None:
    """The hash of the calibration in force."""
    if cfg.rig is None:
        return None
    from calibration.store import Rig

    return Rig.load(cfg.rig).hash


def _materials(
    cfg: Cfg, env: gym.Env[Any, Any], pretrained: Pretrained | None
) -> tuple[BasePolicy | None, list[Trajectory]]:
    """Base and demonstrations, if they fit the environment and the method."""
    if len(eval_seeds(cfg.env)) < cfg.eval_episodes:
        raise ConfigError(
            f"eval_episodes is {cfg.eval_episodes}, but '{cfg.env}' has "
            f"{len(eval_seeds(cfg.env))} evaluation seeds."
        )
    if not (cfg.base or cfg.demos or cfg.pretrained) and cfg.method not in ("ours", *WITHOUT_BASE):
        raise ConfigError(
            f"method '{cfg.method}' needs a base. Give --base, or --demos to clone one from. "
            f"Without there are {', '.join(WITHOUT_BASE)}."
        )
    if cfg.port == "ros" and not (cfg.demos or cfg.pretrained):
        raise ConfigError(
            "port ros needs --demos: a robot is not moved at random to learn what its numbers "
            "mean. robot-rl record makes some."
        )
    base = None
    if cfg.base is not None and cfg.method not in WITHOUT_BASE:
        base = load_policy(find_policy(cfg.base, cfg.env)[0])
        admit_policy(env, base, str(cfg.base))
    demos: list[Trajectory] = []
    if cfg.demos:
        demos = load_demos(cfg.demos, cfg.env)
        admit_demos(env, demos, cfg.demos)
    if pretrained is not None:
        admit_demos(env, pretrained.start.demos, str(cfg.pretrained))
        base, demos = pretrained.start.base, [*pretrained.start.demos, *demos]
    admit_sight(env, base, demos, cfg.env)
    is_sparse = cfg.learn.sparse and cfg.reward == SPARSE
    if is_sparse and cfg.port == "sim":  # a robot is not moved at random to find out
        admit_reward(env, cfg.env)
    return base, demos


def _cloned(cfg: Cfg, run: RunFolder, demos: Sequence[Trajectory]) -> BasePolicy:
    """The run's own base, cloned when it is first needed."""
    folder = run.path / "base"
    if not (folder / CONFIG_FILE).exists():
        with Progress("bc", cfg.bc.steps) as progress:
            base = fit(
                cfg.bc,
                [d for d in demos if d.success is not False],
                seed=cfg.learn.seed,
                progress=lambda step, loss: progress.update(step, loss=loss),
            )
        save_policy(base, folder)
    return load_policy(folder)


def _practise(
    cfg: Cfg,
    run: RunFolder,
    env: gym.Env[Any, Any],
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
) -> tuple[Candidates, int]:
    """Learn there and back without resets; see `_split`."""
    assert base is not None  # it was given, or cloned
    both = practise(
        cfg.undo,
        cfg.learn,
        run,
        env.unwrapped,
        base,
        demos,
        task=cfg.env,
        port=cfg.port,
        bc=cfg.bc,
        seeds=eval_seeds(cfg.env)[: cfg.eval_episodes],
        resume=cfg.resume,
    )
    return both.forward, both.step


def _split(
    cfg: Cfg,
    run: RunFolder,
    env: gym.Env[Any, Any],
    eyes: Eyes | None,
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
    pretrained: Pretrained | None,
) -> tuple[Candidates, int]:
    """Act here and learn in another process; returns who can act at the end, and the steps."""
    norm = None if pretrained is None else pretrained.start.norm
    if pretrained is not None:  # what does not fit had better be said here than by the learner
        pretrained.hand_over(ResidualLearner(cfg.learn, None, base, demos, norm=norm), cfg.carry)
    actor = act_and_learn(
        cfg.learn,
        run,
        env,
        base,
        demos,
        task=cfg.env,
        seeds=eval_seeds(cfg.env)[: cfg.eval_episodes],
        max_lag=cfg.max_lag,
        judged_in=None if cfg.reward == SPARSE or cfg.port == "ros" else make_env(cfg.env),
        norm=norm,
        has_own_learner=cfg.own_learner,
        nice=_LEARNER_NICE if cfg.port == "ros" else 0,
    )
    return actor.candidates, actor.step


def _inline(
    cfg: Cfg,
    run: RunFolder,
    env: gym.Env[Any, Any],
    eyes: Eyes | None,
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
    pretrained: Pretrained | None,
    source: RewardSource | None,
) -> tuple[Candidates, int]:
    """Act and learn in turn, from where the folder has it to the end; see `_split`."""
    seeds = eval_seeds(cfg.env)[: cfg.eval_episodes]
    progress = Progress("train", cfg.learn.steps)
    judge_env = env
    if cfg.port == "sim":  # of a robot there is one, which is between episodes when it judges
        judge_env = make_env(cfg.env)
        judge_env = judge_env if eyes is None else FeatureObservation(judge_env, eyes)

    def evaluate(step: int, name: str, driver: Driver, anchor: BasePolicy) -> float:
        progress.update(step, stage=f"evaluating {name}")
        found = measure(judge_env, driver, anchor, seeds)
        run.log_eval(step, name, found.seeds, found.successes, found.lengths)
        progress.update(step, success=found.rate.mean)
        return found.rate.mean

    try:
        norm = None if pretrained is None else pretrained.start.norm
        learner = ResidualLearner(
            cfg.learn, env, base, demos, run=run, evaluate=evaluate, norm=norm, reward=source
        )
        if pretrained is not None:
            pretrained.hand_over(learner, cfg.carry)
        if cfg.resume:
            learner.resume()
        if not _is_over(run, learner):
            progress.start = learner.step
            with progress:
                learner.train(progress)
    finally:
        judge_env.close()
        if source is not None:
            source.close()
    return learner, learner.step


def _is_over(run: RunFolder, learner: ResidualLearner) -> bool:
    """Whether nothing is left to learn and the last evaluation has been made."""
    evals = read_lines(run.path / "evals.jsonl")
    is_judged = bool(evals) and evals[-1]["step"] == learner.step
    return learner.step >= learner.cfg.steps and is_judged
