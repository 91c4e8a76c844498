"""Learning before there is a robot: from data that lie about, then in many twins side by side.

learning:  demonstrations, prior episodes, twins → **pretraining** → weights, replay → robot

    gather    the base acts in the twins, every other episode with noise: what it fails at
    offline   critics and residual learn from all of it by calibrated offline RL (`calql.py`)
    twin      all candidates act and learn in the twins, exactly as they will on the robot

Twins may differ from scene to scene and from episode to episode; the learner is never told how.
What is left in the run's folder is taken over by `carry_over.py`. Killed at any moment, it goes on
from its last checkpoint, in any of the three.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.learn.calql import CalQL, CalQLCfg
from robot_rl.learn.fleet import Scenes, Turn, run_fleet
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.progress import Progress
from robot_rl.learn.relabel import relabel
from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.buffer import TransitionBuffer
from robot_rl.replay.trajectory import Trajectory

__all__ = ["PretrainCfg", "Pretrainer", "graded"]

LOG_EVERY = 100
"""Offline updates that one row of the log is the mean of."""


def _in_twins() -> ResidualCfg:
    """Steps in a twin cost little and updates as much as ever: many steps, few updates a step."""
    return ResidualCfg(
        steps=40_000,
        utd=1.0,
        chunk_utd=0.25,
        refresh_every=8_000,
        eval_every=10_000,
        checkpoint_every=4_000,
    )


@dataclass(frozen=True, kw_only=True)
class PretrainCfg:
    """What is learned before there is a robot, and how."""

    learn: ResidualCfg = field(default_factory=_in_twins)
    """The learner as it acts in the twins; its warm-up is what the base gathers there."""
    calql: CalQLCfg = field(default_factory=CalQLCfg)
    """The conservative term of the offline updates."""
    offline_updates: int = 3_000
    """Updates from demonstrations, prior episodes and what the base gathered, before acting."""
    prior_share: float = 0.5
    """Share of prior episodes in what is not drawn from demonstrations."""

    def __post_init__(self) -> None:
        """Refuse counts and shares that mean nothing."""
        if self.offline_updates < 0 or not 0 <= self.prior_share <= 1:
            raise ConfigError(
                f"pretraining: offline_updates {self.offline_updates} must be >= 0, prior_share "
                f"{self.prior_share} in [0, 1]."
            )
        if not self.learn.utd > 0:
            raise ConfigError(f"pretraining: utd is {self.learn.utd}, but must be positive.")
        if self.learn.always is None and "residual" not in self.learn.candidates:
            raise ConfigError(
                f"pretraining: candidates {self.learn.candidates} hold no residual, and it is its "
                "critics that learn offline. Add it."
            )


class Pretrainer(ResidualLearner):
    """The same learner, with twins in place of an env and data in place of a warm-up.

    Args:
        cfg: The configuration.
        scenes: Twins side by side; None to learn from data alone.
        base: The frozen base.
        demos: Demonstrations.
        prior: Other episodes of the task, failures included.
        norm: Of states and actions.
        run: Where logs and checkpoints go; None keeps nothing.
        seeds: Starts on which what is deployed is measured in the twins.
    """

    def __init__(
        self,
        cfg: PretrainCfg,
        scenes: Scenes | None,
        base: BasePolicy,
        demos: Sequence[Trajectory],
        prior: Sequence[Trajectory] = (),
        *,
        norm: Normaliser,
        run: RunFolder | None = None,
        seeds: Sequence[int] = (),
    ) -> None:
        super().__init__(cfg.learn, None, base, demos, run=run, norm=norm)
        self.pretrain_cfg, self.scenes, self._seeds = cfg, scenes, seeds
        if prior:
            self._take(prior)

    def _take(self, prior: Sequence[Trajectory]) -> None:
        """Put other people's episodes into the replay, with what the anchor would have done."""
        rows = sum(len(episode) + 1 for episode in prior)
        own = self.replay.own
        buffer = TransitionBuffer(
            rows,
            state_dim=own.state.shape[1],
            action_dim=own.executed.shape[1],
            n_step=own.n_step,
            discount=own.discount,
        )
        successes = []
        for episode in prior:
            taken = buffer.add(relabel(self.anchor, graded(episode)), chunk=self.anchor.chunk)
            if episode.success:
                successes.append([taken.start, taken.stop])
        self.remember(buffer, successes, share=self.pretrain_cfg.prior_share)

    # The three stages ---------------------------------------------------------------------------

    def pretrain(self, progress: Progress | None = None) -> dict[str, Any]:
        """Run to the end, from wherever it stands; returns the headline figures."""
        if self.scenes is not None:
            if self.step == 0:
                self._evaluate_candidate("base")
            self._act_until(self.cfg.warmup_steps, "gathering", progress)
        self._learn_offline(progress)
        if self.scenes is not None:
            self._act_until(self.cfg.steps, "twins", progress)
        rate = self._evaluate_candidate(self.deployed())
        self.save()
        return {"steps": self.step, "deployed": self.deployed(), "success": rate}

    def _act_until(self, steps: int, stage: str, progress: Progress | None) -> None:
        """Act in all twins, and learn from what came of it, until so many steps are done."""
        assert self.scenes is not None
        while self.step < steps:
            before = self.step
            turns = [self._turn(self.episode + k) for k in range(self.scenes.num_envs)]
            for episode in run_fleet(self.scenes, turns, self.anchor):
                self.absorb(episode)
            if progress is not None:
                progress.update(self.step, deployed=self.deployed(), stage=stage)
            is_due = self.passed(before, self.cfg.eval_every) and self.step < steps
            if self.is_warm and is_due:
                self._evaluate_candidate(self.deployed())
            if self.passed(before, self.cfg.checkpoint_every):
                self.save()

    def _turn(self, episode: int) -> Turn:
        driver, seed, attrs = self.turn(step=self.step, episode=episode)
        return Turn(driver=driver, seed=seed, attrs=attrs)

    def _learn(self, steps: int) -> None:
        """Nothing until the offline updates are done: they are the warm-up."""
        if self.is_warm:
            super()._learn(steps)

    def _learn_offline(self, progress: Progress | None) -> None:
        """The offline updates that are left; the agent counts them."""
        total, agent = self.pretrain_cfg.offline_updates, self.agent
        ratio = self.cfg.chunk_utd / self.cfg.utd if "chosen" in self.cfg.candidates else 0.0
        agent.conservatism = CalQL(self.pretrain_cfg.calql, seed=self.cfg.seed)
        while not self.is_warm and agent.updates < total:
            self._note(agent.update(self._batch()))
            for _ in range(self._due("chunk", ratio)):
                self._note(self._update_chooser())
            if agent.updates % LOG_EVERY == 0:
                self._log_offline(progress)
            if agent.updates % (5 * LOG_EVERY) == 0:
                self.save()
        agent.conservatism = None
        if not self.is_warm:
            self.is_warm = True
            self.save()

    def _log_offline(self, progress: Progress | None) -> None:
        means = {key: float(np.mean(values)) for key, values in self._metrics.items()}
        self._metrics.clear()
        if self.run is not None:
            self.run.log_offline(self.agent.updates, means)
        if progress is not None:
            stage = f"offline {self.agent.updates}/{self.pretrain_cfg.offline_updates}"
            progress.update(self.step, stage=stage, dataset_q=means["dataset_q"])

    def _evaluate_candidate(self, name: str) -> float:
        """Measure a candidate in the twins, on all seeds side by side."""
        if self.scenes is None or not self._seeds:
            return float("nan")
        turns = [Turn(driver=self.driver(name, explore=False), seed=seed) for seed in self._seeds]
        episodes = run_fleet(self.scenes, turns, self.anchor)
        successes = [bool(episode.success) for episode in episodes]
        if self.run is not None:
            lengths = [len(episode) for episode in episodes]
            self.run.log_eval(self.step, name, self._seeds, successes, lengths)
        return float(np.mean(successes))


def graded(episode: Trajectory) -> Trajectory:
    """An episode with the sparse reward that its label means: 1 at the end of a success.

    People label episodes whose recorded rewards say nothing.
    """
    reward = np.zeros(len(episode), np.float32)
    reward[-1] = float(bool(episode.success))
    return replace(episode, reward=reward, terminated=bool(episode.success))
