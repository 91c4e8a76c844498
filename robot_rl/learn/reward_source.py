"""Where a reward comes from when the env has none: a judge, and people who overrule it.

learning:  episode → **verdict, potentials** → replay → **reward, when sampled** → residual agent

The primary reward is 1 where the judge's detector, or a person, saw success. The auxiliary reward
is made of potentials when a batch is sampled (`auxiliary.py`); how much it counts is decided by
what has succeeded (`alignment.py`). After the judge has been trained again, all that was lived
through is judged again. Read downwards: an episode comes in, a batch goes out, the judge learns,
the checkpoint.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.learn.auxiliary import AuxiliaryReward
from robot_rl.learn.films import Films
from robot_rl.learn.late_labels import LateLabels, Reel
from robot_rl.learn.lived import Ledger, Lived
from robot_rl.learn.reward_cfg import RewardCfg
from robot_rl.learn.verdicts import with_verdict
from robot_rl.replay.buffer import Batch
from robot_rl.replay.mixing import MixedReplay
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.alignment import alignment_of
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import HUMAN
from robot_rl.reward.episodes import RecordedEpisode
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.potentials import FramePotentials
from robot_rl.reward.retraining import Retrainer, is_trusted

__all__ = ["RewardSource"]

_FILMS = "films"


class RewardSource:
    """Gives a `ResidualLearner` verdicts and rewards.

    Args:
        cfg: How.
        judge: Who judges.
        watch: The judge at work in the learner's own env, or a `Reel` of what it will be shown;
            None if episodes come from elsewhere.
        shown: The demonstrations as the judge sees them, with images where it looks at some.
        retrainer: Trains the judge again on what was asked; None leaves it as it is.
        folder: Where retrained judges are kept, and what a slow one has yet to see, so that a
            resumed run finds them.

    Attributes:
        judge: In force now.
        trust: Factor on the auxiliary reward.
    """

    def __init__(
        self,
        cfg: RewardCfg,
        judge: Judge,
        *,
        watch: Watch | Reel | None = None,
        shown: Sequence[RecordedEpisode] | None = None,
        retrainer: Retrainer | None = None,
        folder: Path | None = None,
    ) -> None:
        is_fixed = bool(judge.cameras) or folder is None or isinstance(watch, Reel)
        if retrainer is not None and is_fixed:
            raise ConfigError(
                "reward: a judge can be trained again within a run if it judges state vectors as "
                f"they come, and there is a folder for it; it looks at {list(judge.cameras)}. "
                "Train it between runs: robot-rl reward train."
            )
        self.cfg, self.judge, self.watch = cfg, judge, watch
        self._shown, self._retrainer, self._folder = shown, retrainer, folder
        films = None if folder is None else Films(folder / _FILMS)
        self._late = LateLabels(judge, films=films) if isinstance(watch, Reel) else None
        self.trust = 1.0
        self.facts: dict[str, Any] = {}

    def begin(self, replay: MixedReplay, demos: Sequence[Trajectory]) -> tuple[float, float]:
        """Judge the demonstrations; returns the bounds of values."""
        self._replay, self._demos = replay, list(demos)
        self._shown = demos if self._shown is None else self._shown
        self._auxiliary = AuxiliaryReward(self.cfg, replay)
        self._lived = Ledger(replay.own)
        self._judge_demos()
        return self._auxiliary.bounds

    def _judge_demos(self) -> None:
        """Potentials of demonstrations, which are successes because somebody showed them."""
        assert self._shown is not None  # since `begin`
        start = 0
        for demo, shown in zip(self._demos, self._shown, strict=True):
            stop = start + len(demo) + 1
            if demo.success is not False:
                self._replay.demos.correct(slice(start, stop), success=True, terminated=True)
            self._auxiliary.write_demo(start, self.judge.judge(shown)[0])
            start = stop

    # An episode -------------------------------------------------------------------------------

    def judged(self, episode: Trajectory) -> Trajectory:
        """The episode with the verdict and the reward of those who may say so."""
        every = self.cfg.ask_every
        is_asked = every > 0 and len(self._lived) % every == 0
        return with_verdict(episode, self.judge, is_asked=is_asked)

    def kept(self, rows: slice, episode: Trajectory) -> list[Lived]:
        """Take note of an episode that `judged` returned and that lies in these own rows.

        Returns:
            Episodes that have been decided on since the last call.
        """
        lived = self._lived.add(rows, episode)
        if isinstance(self.watch, Reel):
            self._submit(lived, self.watch.episode())
            decided = [*([] if lived.pending else [lived]), *self._settled()]
        else:
            self._auxiliary.write(lived, self._seen(episode))
            decided = [lived]
        if self._retrainer is not None:
            self._learn(lived)
        self.facts = {}
        self._align()
        self._note(lived, episode)
        return decided

    def _seen(self, episode: Trajectory) -> FramePotentials:
        """An episode's potentials, as the judge gave them while it watched, or gives them now."""
        if isinstance(self.watch, Watch) and len(self.watch) == len(episode) + 1:
            return self.watch.potentials()
        return self.judge.judge(episode)[0]

    def _submit(self, lived: Lived, seen: RecordedEpisode) -> None:
        """Let the slow judge look at an episode; until then its verdict is open, or a person's."""
        assert self._late is not None  # it has a reel
        lived.pending, lived.waits = not is_trusted(lived.source), True
        self._late.submit(len(self._lived) - 1, seen)

    def _settled(self) -> list[Lived]:
        """Take over what the slow judge has said since; returns what it has decided."""
        assert self._late is not None  # it has a reel
        decided = []
        for verdict in self._late.take():
            lived = self._lived[verdict.episode]
            lived.waits = False
            if lived.pending:
                lived.pending, lived.source = False, self.judge.label_source
                self._lived.decide(lived, success=verdict.success)
                decided.append(lived)
            self._auxiliary.write(lived, verdict.potentials)
        return decided

    def overrule(self, uuid: str, *, success: bool) -> None:
        """Take a person's word on a recorded episode, however late it comes."""
        for lived in self._lived:
            if lived.uuid == uuid and not lived.source.startswith(HUMAN):
                lived.pending, lived.source = False, HUMAN
                self._lived.decide(lived, success=success)
                if self._retrainer is not None:
                    self._teach(lived)

    def close(self) -> None:
        """Stop the slow judge's thread, if there is one."""
        if self._late is not None:
            self._late.close()

    def _align(self) -> None:
        """Decide anew how far progress is trusted."""
        count = self.cfg.alignment.episodes
        if count == 0 or self.cfg.auxiliary == "none":
            return
        latest = [lived for lived in self._lived if not lived.pending][-count:]
        episodes = [(self._auxiliary.potential(lived), lived.success) for lived in latest]
        found = alignment_of(episodes, self.cfg.alignment)
        self.trust = found.trust
        self.facts |= {"rises": round(found.rises, 4), "parts": round(found.parts, 4)}

    def _note(self, lived: Lived, episode: Trajectory) -> None:
        """What the log says about this episode's verdict."""
        progress = float(self._auxiliary.potential(lived)[-1])
        self.facts |= {
            "label_source": lived.source,
            "judged": round(lived.judged, 4),
            "pending": sum(one.pending for one in self._lived),
            "judge_version": self.judge.model.version,
            "progress": None if np.isnan(progress) else round(progress, 4),
            "trust": round(self.trust, 4),
        }
        if (truth := episode.attrs.get("true_success")) is not None:
            self.facts["true_success"] = bool(truth)

    @property
    def successes(self) -> list[list[int]]:
        """Own successes as the verdicts in force have it, as rows [start, stop)."""
        return self._lived.successes

    # A batch ----------------------------------------------------------------------------------

    def rewarded(self, batch: Batch, step: int) -> Batch:
        """The batch with the auxiliary reward on top, as of today's judge and trust."""
        return self._auxiliary.rewarded(batch, step, self.trust)

    def metrics(self) -> dict[str, float]:
        """Figures of the last episode, and of the batches since the last call."""
        found = {"judge/judged": self._lived[-1].judged} if self._lived else {}
        if (truth := self.facts.get("true_success")) is not None:
            found["judge/agrees"] = float(self._lived[-1].success == truth)
        if self.cfg.auxiliary != "none":
            found["reward/trust"] = self.trust
        return found | self._auxiliary.metrics()

    # The judge learns -------------------------------------------------------------------------

    def _learn(self, lived: Lived) -> None:
        """Keep what was asked, and train the judge again when enough came together."""
        assert self._retrainer is not None and self._folder is not None  # see __init__
        self._retrainer.count()
        self._teach(lived)
        if self._retrainer.is_due():
            self._install(self._retrainer.retrain())
            self.judge.save(self._folder / f"v{self.judge.model.version:04d}")
            self._judge_again()

    def _teach(self, lived: Lived) -> None:
        """Let the next judge learn from an episode, if somebody who can be trusted judged it.

        Not from a success that the judge missed: it went on after it was done, nobody has said
        when that was, and the judge would be taught that what is done is not. On the drawer that
        took it from 6 successes in 11 to none.
        """
        assert self._retrainer is not None  # see `_learn`
        if lived.success and not lived.seen:
            return
        lived.score = self._retrainer.add(self._lesson(lived), lived.source)

    def _lesson(self, lived: Lived) -> Lesson:
        recorded = self._lived.recorded(lived)
        return Lesson(episode=recorded, task=self.judge.task, success=lived.success)

    def _install(self, judge: Judge) -> None:
        self.judge = judge
        if self.watch is not None:
            self.watch.judge = judge

    def _judge_again(self) -> None:
        """New potentials for every row, and new verdicts where only a judge had spoken."""
        self._judge_demos()
        for lived in self._lived:
            potentials, verdict = self.judge.judge(self._lived.recorded(lived))
            if not is_trusted(lived.source):
                lived.source = verdict.label_source
                self._lived.decide(lived, success=verdict.success)
            self._auxiliary.write(lived, potentials)

    # The checkpoint ---------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps beside `state`."""
        return {**self._auxiliary.arrays(), **self._lived.arrays()}

    def state(self) -> dict[str, Any]:
        """The JSON-able rest; what it needs no more is let go."""
        if self._late is not None:
            self._late.checkpoint(self._lived.waiting)
        return {
            "version": self.judge.model.version,
            "lived": self._lived.state(),
            "trust": self.trust,
            "since": None if self._retrainer is None else self._retrainer.since,
            "news": None if self._retrainer is None else self._retrainer.news,
        }

    def load(self, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any] | None) -> None:
        """Go on from a checkpoint, once the replay has been loaded.

        Raises:
            CheckpointError: The run had no judge, or the judge of that time is not there.
        """
        if state is None:
            raise CheckpointError("the run was begun without a judge. Go on without one.")
        self._lived.load(arrays, state["lived"])
        self.trust = state["trust"]
        self._auxiliary.load_arrays(arrays)
        if self._late is not None:
            self._late.submit_again(self._lived.waiting)
        if state["version"] != self.judge.model.version:
            if self._folder is None or self._retrainer is None:
                raise CheckpointError(
                    f"the run's judge was at version {state['version']}, this one is at "
                    f"{self.judge.model.version}. Give the judge that the run began with."
                )
            folder = self._folder / f"v{state['version']:04d}"
            self._install(Judge.load(folder, self.judge.task))
        if self._retrainer is not None:
            learned = [(self._lesson(lived), lived.score) for lived in self._lived]
            self._retrainer.restore(
                [(lesson, score) for lesson, score in learned if score is not None],
                self.judge,
                since=state["since"],
                news=state["news"],
            )
