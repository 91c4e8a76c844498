"""Where a reward comes from when the env has none: a judge, and people who overrule it.

learning:  episode → **verdict, potentials** → replay → **reward, when sampled** → residual agent

The primary reward is 1 where the judge's detector, or a person, saw success. The auxiliary reward
is made of potentials that lie beside the replay, row by row, with version and validity, and is
worked out when a batch is sampled; how much it counts is decided by what has succeeded
(`alignment.py`). After the judge has been trained again, all that was lived through is judged
again. Read downwards: an episode comes in, a batch goes out, the judge learns, the checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.learn.late_labels import LateLabels, LivedEpisode, Reel
from robot_rl.replay.buffer import Batch
from robot_rl.replay.mixing import MixedReplay
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.alignment import AlignmentCfg, alignment_of
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import HUMAN
from robot_rl.reward.episodes import RecordedEpisode
from robot_rl.reward.judge import Judge, Watch
from robot_rl.reward.potentials import UNLABELLED, FramePotentials, PotentialTable
from robot_rl.reward.retraining import Retrainer, is_trusted
from robot_rl.reward.shaping import NaiveShaper, PotentialShaper, ShapingCfg

__all__ = ["Lived", "RewardCfg", "RewardSource"]


@dataclass(frozen=True, kw_only=True)
class RewardCfg:
    """How a judge's word becomes a reward."""

    auxiliary: Literal["potential", "none", "naive"] = "potential"
    """What is paid beside success: potentials, nothing, or the plain difference of progress."""
    shaping: ShapingCfg = field(default_factory=ShapingCfg)
    """How much progress pays."""
    alignment: AlignmentCfg = field(default_factory=AlignmentCfg)
    """How own episodes decide whether progress can be trusted."""
    late: bool = False
    """Judge episodes in a thread once they are over: for judges that take longer than a step. They
    then end by time-out, or by a person's word."""
    ask_every: int = 0
    """Of every so many episodes a person (in the twin: the task) is asked how it ended; 0: none.
    What was asked is the only thing that the judge is trained on again."""


@dataclass(kw_only=True)
class Lived:
    """An own episode: its rows in the replay, and what is held of it.

    Attributes:
        start, stop: Rows of `MixedReplay.own`, the last observation included.
        behaviour, noisy: Who acted, and whether otherwise than it would be deployed.
        success: The verdict in force.
        stopped: Whether it ended by a safety stop.
        source: Who gave the verdict, see `Verdict.label_source`.
        seen: Whether the judge itself ended it as a success, so that it ends where it was done.
        uuid: Of the record in a store, if there is one.
        score: How near to success the judge of that time saw it, if it is learned from.
        judged: Share of its frames that the judge could say something about.
        pending: Whether the judge has yet to speak.
    """

    start: int
    stop: int
    behaviour: str
    noisy: bool
    success: bool
    stopped: bool
    source: str
    seen: bool = False
    uuid: str = ""
    score: float | None = None
    judged: float = 0.0
    pending: bool = False

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.start, self.stop)


class RewardSource:
    """Gives a `ResidualLearner` verdicts and rewards.

    Args:
        cfg: How.
        judge: Who judges.
        watch: The judge at work in the learner's own env, or a `Reel` of what it will be shown;
            None if episodes come from elsewhere.
        shown: The demonstrations as the judge sees them, with images where it looks at some.
        retrainer: Trains the judge again on what was asked; None leaves it as it is.
        folder: Where retrained judges are kept, so that a resumed run finds them.

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
        self._late = LateLabels(judge) if isinstance(watch, Reel) else None
        self._lived: list[Lived] = []
        self._unknown: list[float] = []  # share of transitions without a potential, by batch
        self.trust = 1.0
        self.facts: dict[str, Any] = {}

    def begin(self, replay: MixedReplay, demos: Sequence[Trajectory]) -> tuple[float, float]:
        """Judge the demonstrations; returns the bounds of values."""
        capacity = replay.first_own + replay.own.capacity
        self._replay, self._demos = replay, list(demos)
        self._shown = demos if self._shown is None else self._shown
        self._table = PotentialTable(capacity)
        self._stamps_s = np.zeros(replay.own.capacity)
        shaping, discount = self.cfg.shaping, replay.own.discount
        is_naive = self.cfg.auxiliary == "naive"
        self._shaper = NaiveShaper(shaping, discount) if is_naive else PotentialShaper(shaping)
        self._judge_demos()
        return (0.0, 1.0) if self.cfg.auxiliary == "none" else self._shaper.bounds

    def _judge_demos(self) -> None:
        """Potentials of demonstrations, which are successes because somebody showed them."""
        assert self._shown is not None  # since `begin`
        start = 0
        for demo, shown in zip(self._demos, self._shown, strict=True):
            stop = start + len(demo) + 1
            if demo.success is not False:
                self._replay.demos.correct(slice(start, stop), success=True, terminated=True)
            self._table.write(start, self.judge.judge(shown)[0].carried())
            start = stop

    # An episode -------------------------------------------------------------------------------

    def judged(self, episode: Trajectory) -> Trajectory:
        """The episode with the verdict and the reward of those who may say so.

        A person's word, and what somebody was asked, overrules the judge. What the env itself
        says of success is never looked at.
        """
        attrs = episode.attrs
        source = str(attrs.get("label_source", ""))
        is_judged = source.startswith("reward_model:")
        said = bool(episode.success)
        is_stopped = episode.terminated and not said
        if self._is_asked() and attrs.get("true_success") is not None:
            said, source = bool(attrs["true_success"]), "asked"
        elif not (is_judged or source.startswith("human")):
            verdict = self.judge.judge(episode)[1]
            said, source = verdict.success, verdict.label_source
        reward = np.zeros(len(episode), np.float32)
        reward[-1] = said
        return replace(
            episode,
            reward=reward,
            terminated=said or is_stopped,
            success=said,
            attrs={**attrs, "label_source": source, "seen": is_judged and bool(episode.success)},
        )

    def _is_asked(self) -> bool:
        every = self.cfg.ask_every
        return every > 0 and len(self._lived) % every == 0

    def kept(self, rows: slice, episode: Trajectory) -> list[Lived]:
        """Take note of an episode that `judged` returned and that lies in these own rows.

        Returns:
            Episodes that have been decided on since the last call.
        """
        self._stamps_s[rows] = episode.t_s
        lived = Lived(
            start=rows.start,
            stop=rows.stop,
            behaviour=str(episode.attrs["behaviour"]),
            noisy=bool(episode.attrs["noisy"]),
            success=bool(episode.success),
            stopped=episode.terminated and not episode.success,
            source=str(episode.attrs["label_source"]),
            seen=bool(episode.attrs["seen"]),
            uuid=str(episode.attrs.get("uuid", "")),
        )
        self._lived.append(lived)
        if isinstance(self.watch, Reel):
            self._submit(lived, self.watch.episode())
            decided = [*([] if lived.pending else [lived]), *self._settled()]
        else:
            self._write(lived, self._seen(episode))
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
        lived.pending = not is_trusted(lived.source)
        self._late.submit(len(self._lived) - 1, seen)

    def _settled(self) -> list[Lived]:
        """Take over what the slow judge has said since; returns what it has decided."""
        assert self._late is not None  # it has a reel
        decided = []
        for verdict in self._late.take():
            lived = self._lived[verdict.episode]
            if lived.pending:
                lived.pending, lived.source = False, self.judge.label_source
                self._decide(lived, success=verdict.success)
                decided.append(lived)
            self._write(lived, verdict.potentials)
        return decided

    def _decide(self, lived: Lived, *, success: bool) -> None:
        """Let another verdict be in force."""
        lived.success = success and not lived.stopped
        terminated = lived.success or lived.stopped
        self._replay.own.correct(lived.rows, success=lived.success, terminated=terminated)

    def overrule(self, uuid: str, *, success: bool) -> None:
        """Take a person's word on a recorded episode, however late it comes."""
        for lived in self._lived:
            if lived.uuid == uuid and not lived.source.startswith(HUMAN):
                lived.pending, lived.source = False, HUMAN
                self._decide(lived, success=success)
                if self._retrainer is not None:
                    self._teach(lived)

    def close(self) -> None:
        """Stop the slow judge's thread, if there is one."""
        if self._late is not None:
            self._late.close()

    def _write(self, lived: Lived, potentials: FramePotentials) -> None:
        label = np.full(len(potentials), UNLABELLED, np.int8)
        label[-1] = lived.success
        lived.judged = float(potentials.phi_valid.mean())
        first = self._replay.first_own + lived.start
        self._table.write(first, replace(potentials.carried(), success_label=label))

    def _align(self) -> None:
        """Decide anew how far progress is trusted."""
        count = self.cfg.alignment.episodes
        if count == 0 or self.cfg.auxiliary == "none":
            return
        latest = [lived for lived in self._lived if not lived.pending][-count:]
        episodes = [(self._potential(lived), lived.success) for lived in latest]
        found = alignment_of(episodes, self.cfg.alignment)
        self.trust = found.trust
        self.facts |= {"rises": round(found.rises, 4), "parts": round(found.parts, 4)}

    def _potential(self, lived: Lived) -> np.ndarray:
        """Potentials (T + 1,) of an own episode."""
        rows = self._replay.first_own + np.arange(lived.start, lived.stop)
        return self._table.read(rows).phi

    def _note(self, lived: Lived, episode: Trajectory) -> None:
        """What the log says about this episode's verdict."""
        progress = float(self._potential(lived)[-1])
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
        return [[lived.start, lived.stop] for lived in self._lived if lived.success]

    # A batch ----------------------------------------------------------------------------------

    def rewarded(self, batch: Batch, step: int) -> Batch:
        """The batch with the auxiliary reward on top, as of today's judge and trust."""
        if self.cfg.auxiliary == "none":
            return batch
        gain, known = self._shaper.rewards(
            self._table, batch.row, batch.next_row, batch.discount, step=step, trust=self.trust
        )
        self._unknown.append(1.0 - float(known.mean()))
        owed = self._shaper.owed(self._table, batch.row, step=step, trust=self.trust)
        return replace(batch, reward=batch.reward + gain, to_go=batch.to_go - owed)

    def metrics(self) -> dict[str, float]:
        """Figures of the last episode, and of the batches since the last call."""
        unknown, self._unknown = self._unknown, []
        found = {"judge/judged": self._lived[-1].judged} if self._lived else {}
        if (truth := self.facts.get("true_success")) is not None:
            found["judge/agrees"] = float(self._lived[-1].success == truth)
        if self.cfg.auxiliary != "none":
            found["reward/trust"] = self.trust
        return found | ({"reward/unknown": float(np.mean(unknown))} if unknown else {})

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
        recorded = LivedEpisode(
            obs={"state": self._replay.own.state[lived.rows].copy()},
            t_s=self._stamps_s[lived.rows].copy(),
            success=lived.success,
        )
        return Lesson(episode=recorded, task=self.judge.task, success=lived.success)

    def _install(self, judge: Judge) -> None:
        self.judge = judge
        if self.watch is not None:
            self.watch.judge = judge

    def _judge_again(self) -> None:
        """New potentials for every row, and new verdicts where only a judge had spoken."""
        self._judge_demos()
        for lived in self._lived:
            potentials, verdict = self.judge.judge(self._lesson(lived).episode)
            if not is_trusted(lived.source):
                lived.source = verdict.label_source
                self._decide(lived, success=verdict.success)
            self._write(lived, potentials)

    # The checkpoint ---------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps beside `state`."""
        used = self._table.arrays(self._replay.rows)
        return {**used, "stamps_s": self._stamps_s[: self._replay.own.rows].copy()}

    def state(self) -> dict[str, Any]:
        """The JSON-able rest."""
        return {
            "version": self.judge.model.version,
            "lived": [asdict(lived) for lived in self._lived],
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
        self._lived = [Lived(**kept) for kept in state["lived"]]
        self.trust = state["trust"]
        stamps_s = arrays["stamps_s"]
        self._stamps_s[: len(stamps_s)] = stamps_s
        self._table.load_arrays(arrays)
        for number, lived in enumerate(self._lived):
            # What it saw in images has gone with the process; without, the replay has it all.
            if lived.pending and self._late is not None and not self.judge.cameras:
                self._late.submit(number, self._lesson(lived).episode)
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
