"""The main algorithm: a frozen base, and what is learned on top, trusted as far as it worked.

learning:  transition → episode store → progress model → replay → **residual agent** → weights

A base works half the time. Four candidates may act, and each is trusted by what it did on the env:

    base        the frozen policy, as it came
    imitation   an ensemble fitted on demonstrations and own successes, which plans more often
    chosen      of the imitation's proposals, the one that a critic of whole chunks prefers
    residual    the imitation plus a residual, as free as what was executed allows (`trust.py`)

Everyone learns from everyone's episodes. Who acts, and how, is in `candidates.py`. Read downwards:
one run of the loop (`train`), what an episode is worth (`absorb`), what is learned, evaluation.
Its configuration, and the other methods that are configurations of the same loop, are in
`methods.py`; the same loop in two processes is in `actor.py` and `learner.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.learn.candidates import Candidates, Env, fit_normaliser
from robot_rl.learn.imitation import Imitation
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.progress import Progress
from robot_rl.learn.relabel import relabel
from robot_rl.learn.resume import load_learner, save_learner
from robot_rl.learn.reward_source import RewardSource
from robot_rl.learn.rollout import Driver
from robot_rl.learn.run import RunFolder
from robot_rl.learn.trust import Trust
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.replay.buffer import Batch, TransitionBuffer
from robot_rl.replay.mixing import MixedReplay
from robot_rl.replay.trajectory import Trajectory

__all__ = ["ResidualLearner"]

Evaluate = Callable[[int, str, Driver, BasePolicy], float]


class ResidualLearner(Candidates):
    """Learns on one env, or from episodes that others execute. After kill -9, `resume` goes on.

    Args:
        cfg: The configuration.
        env: Any env with Box or Dict("state", ...) observations and Box(-1, 1) actions; None to
            learn by `absorb` alone.
        base: The frozen base, or None to learn without one.
        demos: Demonstrations; may be empty.
        run: Where logs and checkpoints go; None keeps nothing.
        evaluate: Runs a candidate on evaluation seeds and returns its success; called as
            `evaluate(step, name, driver, anchor)`, where the anchor is the episode's base.
        norm: Of states and actions (default: fitted on the demonstrations, or on random actions
            in the env).
        reward: Who says what an episode was worth; None takes the env's word.
    """

    def __init__(
        self,
        cfg: ResidualCfg,
        env: Env | None,
        base: BasePolicy | None,
        demos: Sequence[Trajectory],
        *,
        run: RunFolder | None = None,
        evaluate: Evaluate | None = None,
        norm: Normaliser | None = None,
        reward: RewardSource | None = None,
    ) -> None:
        self.env, self.run, self._evaluate = env, run, evaluate
        if norm is None:
            assert env is not None  # who has none gives the scaling
            norm = fit_normaliser(demos, env)
        imitation = None
        if base is not None and {"imitation", "chosen"} & set(cfg.candidates):
            imitation = Imitation.start(
                cfg.refresh, base, demos, every=cfg.replan, seed=cfg.seed * 1000
            )
        super().__init__(cfg, base, norm, imitation)
        self.demos = [relabel(self.anchor, demo) for demo in demos]
        self.replay = self._empty_replay()
        self.step = self.episode = 0
        self.position = -1  # in the store that episodes come from, if they do: see learner.py
        self.successes: list[list[int]] = []  # own successes, as rows [start, stop) of replay.own
        self.prior_successes: list[list[int]] = []  # and those of replay.prior: see `remember`
        self.credit = {"agent": 0.0, "chunk": 0.0}
        self.trust = Trust(self.agent, cfg.candidates, max_scale=cfg.max_scale)
        self._metrics: dict[str, list[float]] = {}
        self.reward = reward
        if reward is not None:
            self.agent.bounds = self.chooser.bounds = reward.begin(self.replay, self.demos)
        self._plan(0)

    def _empty_replay(self) -> MixedReplay:
        """The demonstrations, and room for the run."""
        cfg = self.cfg
        dims = {"state_dim": self.norm.state_dim, "action_dim": len(self.norm.action_half)}
        returns = {"n_step": cfg.n_step, "discount": cfg.discount}
        rows = sum(len(demo) + 1 for demo in self.demos)
        demos = TransitionBuffer(max(rows, 1), **dims, **returns)
        for demo in self.demos:
            demos.add(demo, chunk=self.anchor.chunk)
        longest = 2 * cfg.steps + 10_000  # the last rows of episodes, and the last episode
        return MixedReplay(demos, TransitionBuffer(longest, **dims, **returns))

    def remember(
        self, prior: TransitionBuffer, successes: Sequence[Sequence[int]], *, share: float
    ) -> None:
        """Learn from what was done elsewhere, too.

        Args:
            prior: Those episodes, with the anchor's actions as their base.
            successes: Rows [start, stop) of those that are worth imitating.
            share: Their share of what is not drawn from demonstrations.
        """
        self.replay = MixedReplay(self.replay.demos, self.replay.own, prior, share)
        self.prior_successes = [list(rows) for rows in successes]
        self._plan(0)

    # The loop ---------------------------------------------------------------------------------

    def train(self, progress: Progress | None = None) -> dict[str, Any]:
        """Run to `cfg.steps`; returns the headline figures."""
        cfg = self.cfg
        assert self.env is not None  # nothing to act in without one
        if self.step == 0:
            self._evaluate_candidate(self.first_judged)
            if self.is_warm and self.deployed() != self.first_judged:  # what it came with
                self._evaluate_candidate(self.deployed())
        while self.step < cfg.steps:
            before = self.step
            episode = self.collect(self.env, step=self.step, episode=self.episode)
            self.absorb(episode)
            if progress is not None:
                who = episode.attrs["behaviour"]
                progress.update(self.step, deployed=self.deployed(), stage=who)
            if self.passed(before, cfg.eval_every) and self.step < cfg.steps:
                self._evaluate_candidate(self.deployed())
            if self.passed(before, cfg.checkpoint_every):
                self.save()
        rate = self._evaluate_candidate(self.deployed())
        self.save()
        return {"steps": self.step, "deployed": self.deployed(), "success": rate}

    def absorb(self, episode: Trajectory) -> None:
        """Keep an executed episode, and learn what its steps pay for.

        Args:
            episode: Of this env or recorded anywhere; `behaviour` and `noisy` in its attributes
                say who acted, and whether with noise that is no evidence (`Candidates.collect`).
        """
        before, name = self.step, episode.attrs["behaviour"]
        if self.reward is not None:
            episode = self.reward.judged(episode)
        self._keep(episode)
        self._learn(len(episode))
        counts = name == "residual" and not episode.attrs["noisy"]
        if counts and self.cfg.always is None and not self.cfg.fixed_trust:
            self.trust.adapt(self.evidence)
        if self.passed(before, self.cfg.refresh_every) and not self.settles(before):
            self._refresh_imitation()
        self._log(name, episode)

    def passed(self, before: int, every: int) -> bool:
        """Whether a multiple of `every` steps lies between `before` and now."""
        return every > 0 and before // every < self.step // every

    def _keep(self, episode: Trajectory) -> None:
        """Put an episode into the replay, and count it as evidence."""
        before = self.replay.rows
        rows = self.replay.own.add(episode, chunk=self.anchor.chunk)
        self._plan(before)
        self.step += len(episode)
        self.episode += 1
        if self.reward is not None:
            for done in self.reward.kept(rows, episode):
                self.count(done.behaviour, success=done.success, noisy=done.noisy)
            self.successes = self.reward.successes
        else:
            if episode.success:
                self.successes.append([rows.start, rows.stop])
            name, is_noisy = episode.attrs["behaviour"], episode.attrs["noisy"]
            self.count(name, success=bool(episode.success), noisy=is_noisy)
        self._share_successes()

    def _share_successes(self) -> None:
        """Let batches draw own successes beside demonstrations."""
        if self.cfg.add_successes:
            spans = [np.arange(start, stop - 1) for start, stop in self.successes]
            self.replay.worked = np.concatenate([np.zeros(0, np.int64), *spans])

    # Learning ---------------------------------------------------------------------------------

    def _learn(self, steps: int) -> None:
        """The updates that `steps` new environment steps pay for."""
        cfg = self.cfg
        if self.step < cfg.warmup_steps:
            return
        agent = "residual" in cfg.candidates
        chunk = "chosen" in cfg.candidates
        if not self.is_warm:
            self.is_warm = True
            for _ in range(cfg.warmup_updates if agent else 0):
                self.agent.update_critic(self._batch())
                self.agent.target_critic.follow(self.agent.critic, self.agent.cfg.tau)
            for _ in range(cfg.warmup_updates if chunk else 0):
                self._note(self._update_chooser())
        for _ in range(self._due("agent", cfg.utd * steps) if agent else 0):
            self._note(self.agent.update(self._batch()))
        for _ in range(self._due("chunk", cfg.chunk_utd * steps) if chunk else 0):
            self._note(self._update_chooser())

    def _batch(self) -> Batch:
        """Transitions for the step critic, part demonstrations."""
        return self._rewarded(self.replay.sample(self.cfg.batch, self.cfg.demo_fraction, self.rng))

    def _rewarded(self, batch: Batch) -> Batch:
        """The batch with the reward that is learned from."""
        return batch if self.reward is None else self.reward.rewarded(batch, self.step)

    def _update_chooser(self) -> dict[str, float]:
        """One update of the chunk critic, against the imitation's proposals."""
        cfg = self.cfg
        batch = self.replay.sample(
            cfg.batch, cfg.chunk_demo_fraction, self.rng, chunk=self.base.chunk
        )
        assert self.imitation is not None  # "chosen" is a candidate only where there is one
        batch = self._rewarded(batch)
        return self.chooser.update(batch, self.imitation.proposals(batch.next_row))

    def _due(self, who: str, more: float) -> int:
        """Whole updates that are due, keeping the fraction."""
        self.credit[who] += more
        whole = int(self.credit[who])
        self.credit[who] -= whole
        return whole

    def _plan(self, start: int) -> None:
        """Let the imitation propose at the rows from `start` on, where a critic will choose."""
        if self.imitation is not None and "chosen" in self.cfg.candidates:
            self.imitation.plan(self.replay, self.chooser.proposer, start, self.replay.rows)

    def _refresh_imitation(self) -> None:
        """Fit the imitation again on demonstrations and own successes."""
        if self.imitation is None:
            return
        own = [self._episode(self.replay.own, start, stop) for start, stop in self.successes]
        prior = self.replay.prior
        if prior is not None:
            own += [self._episode(prior, start, stop) for start, stop in self.prior_successes]
        self.imitation.refresh(self.demos, own)
        self._plan(0)
        if not self._keeps_anchor():
            self._move_anchor(self.imitation)

    def _keeps_anchor(self) -> bool:
        """Whether the residual stays on the imitation that it was learned on.

        Two fits of one imitation differ by half of what a residual may add (LOG.md): on the next
        fit, what was learned on the last is another policy, and often a useless one. So one that
        works stays where it is; one that others surpass had better start from what they learned.
        """
        if not (self.cfg.keep_anchor and self.is_warm and "residual" in self.cfg.candidates):
            return False
        best = self.best_other()
        return best is None or self.residual_beats(best, 0.5)

    def _move_anchor(self, imitation: Imitation) -> None:
        """Put the residual on the newest fit: another policy now, of which nothing is known."""
        imitation.anchor = imitation.ensemble
        for _, buffer in self.replay.parts():
            imitation.rebase(buffer)
        if "residual" in self.cfg.candidates and self.cfg.keep_anchor:
            self.evidence.forget("residual")

    def _episode(self, buffer: TransitionBuffer, start: int, stop: int) -> Trajectory:
        """A successful episode from its rows in the replay."""
        rows, acting = slice(start, stop), slice(start, stop - 1)
        count = stop - start - 1
        executed = buffer.executed[acting]
        return Trajectory(
            obs={"state": buffer.state[rows]},
            executed=executed,
            requested=executed,
            reward=buffer.reward[acting],
            terminated=True,
            success=True,
            control_source=np.zeros(count, np.uint8),
            t_s=np.arange(count + 1.0),
        )

    # Evaluation and logs ----------------------------------------------------------------------

    def _evaluate_candidate(self, name: str) -> float:
        if self._evaluate is None:
            return float("nan")
        return self._evaluate(self.step, name, self.driver(name, explore=False), self.anchor)

    def _note(self, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            self._metrics.setdefault(key, []).append(value)

    def _log(self, name: str, episode: Trajectory) -> None:
        if self.run is None:
            return
        fields = {
            "episode": self.episode,
            "success": bool(episode.success),
            "length": len(episode),
            "behaviour": name,
            "noisy": episode.attrs["noisy"],
            "residual_scale": self.agent.scale,
            "residual_pull": self.agent.pull,
        }
        if "version" in episode.attrs:
            fields["version"] = episode.attrs["version"]  # of the weights that it acted by
        means = {key: float(np.mean(values)) for key, values in self._metrics.items()}
        if self.reward is not None:
            fields |= self.reward.facts
            means |= self.reward.metrics()
        self.run.log_episode(self.step, fields)
        trust = {f"evidence/{who}": self.evidence.rate(who) for who in self.cfg.candidates}
        bonds = {"residual_scale": self.agent.scale, "residual_pull": self.agent.pull}
        self.run.log(self.step, means | trust | bonds)
        self._metrics.clear()

    # Saving -----------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint from which `resume` goes on bit for bit."""
        if self.run is not None:
            save_learner(self, self.run)

    def resume(self) -> bool:
        """Go on from the newest checkpoint of the run; False if there is none.

        Raises:
            CheckpointError: There are checkpoints, but none fits.
        """
        if self.run is None or not load_learner(self, self.run):
            return False
        self._plan(0)
        self._share_successes()
        return True
