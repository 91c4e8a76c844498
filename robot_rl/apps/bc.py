"""`robot-rl bc`: a base policy from demonstrations, the best of its checkpoints.

learning:  episode store → **behavior cloning** → frozen base policy → residual learning on top
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro

from robot_rl.apps.admission import admit_demos
from robot_rl.apps.envs import load_demos, make_env
from robot_rl.apps.measure import Measured, measure
from robot_rl.apps.threads import use_one_thread
from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.progress import Progress
from robot_rl.learn.rollout import PolicyDriver
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.saved import CONFIG_FILE, save_policy

__all__ = ["SELECTION_SEEDS", "Cfg", "main"]

SELECTION_SEEDS = range(600_000, 601_000)
"""Starts on which checkpoints are chosen; evaluation never uses them."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl bc`."""

    env: str
    """Task, or gym:<id>."""
    demos: str
    """Episode store with the demonstrations, or builtin."""
    out: Path
    """Folder of the base, such as runs/peg-base; the policy lies in it under policy/."""
    seed: int = 0
    """Of the initial weights, the resampling and the batches."""
    select: Literal["success", "error"] = "success"
    """Keep the checkpoint with the most successes on selection seeds, or the least held-out
    error."""
    selection_episodes: int = 50
    """Episodes in which a checkpoint is measured."""
    bc: Annotated[BCCfg, tyro.conf.arg(name="")] = field(default_factory=BCCfg)
    """What is trained, and how."""

    def __post_init__(self) -> None:
        """Refuse a number of episodes that there are no seeds for."""
        if not 1 <= self.selection_episodes <= len(SELECTION_SEEDS):
            raise ConfigError(
                f"selection_episodes is {self.selection_episodes}, but must be within 1 and "
                f"{len(SELECTION_SEEDS)}."
            )


def main(cfg: Cfg) -> int:
    """Train, save, and say how often the base succeeds."""
    use_one_thread()
    if (cfg.out / "policy" / CONFIG_FILE).exists():
        raise ConfigError(f"{cfg.out} holds a base already. Give another --out.")
    env = make_env(cfg.env)
    try:
        demos = [d for d in load_demos(cfg.demos, cfg.env) if d.success is not False]
        admit_demos(env, demos, cfg.demos)
        config = {name: getattr(cfg, name) for name in ("env", "demos", "seed", "select")}
        config |= {"selection_episodes": cfg.selection_episodes, "method": "bc", "learn": cfg.bc}
        # What was cut short is done again from the start: it takes minutes.
        run = RunFolder.create(cfg.out, config, resume=True)
        run.rewind(None)
        try:
            found = _train(cfg, env, demos, run)
        except RobotRLError as error:
            run.stop("failed", str(error))
            raise
        except KeyboardInterrupt:
            run.stop("interrupted", "Ctrl-C")
            raise
        run.finish({"success": found.rate.mean})
    finally:
        env.close()
    print(f"base: {found} on selection seeds, saved: {cfg.out / 'policy'}")
    return 0


def _train(cfg: Cfg, env: gym.Env[Any, Any], demos: Any, run: RunFolder) -> Measured:
    """Fit, choose, save, and measure what was saved on the selection seeds."""
    seeds = SELECTION_SEEDS[: cfg.selection_episodes]
    done = 0
    with Progress("bc", cfg.bc.steps) as progress:

        def note(step: int, loss: float) -> None:
            nonlocal done
            done = step
            run.log(step, {"loss": loss})
            progress.update(step, loss=loss)

        def score(policy: BasePolicy) -> float:
            rate = measure(env, PolicyDriver(policy), None, seeds).rate.mean
            progress.update(done, success=rate)
            return rate

        chosen = score if cfg.select == "success" else None
        policy = fit(cfg.bc, demos, seed=cfg.seed, score=chosen, progress=note)
    found = measure(env, PolicyDriver(policy), None, seeds)
    run.log_eval(cfg.bc.steps, "base", found.seeds, found.successes, found.lengths)
    save_policy(policy, run.path / "policy")  # last: a folder with a policy is done
    return found
