"""The recording session as a pure state machine: events and time in, acts for the recorder out.

learning:  **person's verdicts** → transition → episode store → progress model → ...

    idle → countdown → recording → (success | failure | discard | timeout) → reset → idle

It does no I/O and asks for no time. Whoever carries the acts out is `recording.RecordingDesk`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from robot_rl.errors import ConfigError
from robot_rl.teleop.devices.device import Event

__all__ = ["Act", "Do", "Session", "SessionCfg", "State"]


class State(StrEnum):
    """Where a session is."""

    IDLE = "idle"
    COUNTDOWN = "countdown"
    RECORDING = "recording"
    RESET = "reset"
    DONE = "done"


class Do(StrEnum):
    """What the recorder has to do."""

    BEGIN = "begin"
    SEAL = "seal"
    DISCARD = "discard"
    DELETE = "delete"
    RESTORE = "restore"
    LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing to do; DELETE, RESTORE and LABEL are about the last episode that ended."""

    do: Do
    outcome: str = "unknown"
    source: str = "human"
    terminated: bool = True


@dataclass(frozen=True, kw_only=True)
class SessionCfg:
    """Times and counts of a recording session."""

    episodes: int = 20
    """How many successes to record; failures are kept and labelled beside them."""
    countdown_s: float = 1.0
    """Between start and the first recorded step."""
    timeout_s: float = 120.0
    """Longest episode; then it is sealed as a failure by timeout."""
    reset_s: float = 3.0
    """After an episode: to restore the scene, and to undo or relabel; start cuts it short."""
    auto_start: bool = False
    """Whether the next episode starts by itself."""
    auto_tries: int = 10
    """Episodes in a row without a success after which `auto_start` gives up."""

    def __post_init__(self) -> None:
        """Refuse counts and times that mean nothing."""
        if self.episodes < 1 or self.auto_tries < 1 or not self.timeout_s > 0:
            raise ConfigError(
                f"session: episodes is {self.episodes} and auto_tries {self.auto_tries}, which "
                f"must be at least 1; timeout_s is {self.timeout_s} and must be positive."
            )
        if self.countdown_s < 0 or self.reset_s < 0:
            raise ConfigError(
                f"session: countdown_s {self.countdown_s} and reset_s {self.reset_s} must be at "
                "least 0."
            )


@dataclass(frozen=True)
class _Last:
    """The last episode that ended: what it is called, and what undo would go back to."""

    outcome: str
    is_kept: bool
    before: "_Last | None" = None


class Session:
    """One sitting at the robot. Every method takes the time [s] and returns acts, in order.

    Attributes:
        state: Where it is.
        reason: Why the last episode is not kept, or what cannot be done now; for the screen.
        successes, failures: Episodes that are kept.
        trashed: Episodes that went to the trash and did not come back.
        repeats: Whether the next episode replaces the last one: same index, same start.
        is_intervening: Whether the person has taken over from a policy.
    """

    def __init__(self, cfg: SessionCfg | None = None) -> None:
        self.cfg = cfg or SessionCfg()
        self.state = State.IDLE
        self.reason = ""
        self.successes = self.failures = self.trashed = 0
        self.repeats = self.is_intervening = False
        self._since_s = 0.0
        self._last: _Last | None = None
        self._goes_on = False  # start again without being asked: a re-record
        self._in_vain = 0  # episodes since the last success

    # ---------------------------------------------------------------- what drives it

    def on(self, event: Event, now_s: float) -> list[Act]:
        """Take one event; one that means nothing in this state does nothing."""
        if event is Event.QUIT:
            return self._quit(now_s)
        if event is Event.INTERVENE:
            if self.state is State.RECORDING:
                self.is_intervening = not self.is_intervening
            return []
        if self.state is State.RECORDING:
            return self._on_recording(event, now_s)
        if self.state is State.COUNTDOWN:
            if event in (Event.DISCARD, Event.UNDO):
                self._enter(State.IDLE, now_s)
                self._goes_on = False
            return []
        return self._on_between(event, now_s)

    def tick(self, now_s: float) -> list[Act]:
        """Let time act: countdown, timeout, end of the reset, automatic start.

        At most one change a call, so that whoever calls can make the next start in between.
        """
        if self.state is State.IDLE and self._is_complete:
            self._enter(State.DONE, now_s)
        elif self.state is State.IDLE and (self.cfg.auto_start or self._goes_on):
            self._start_by_itself(now_s)
        elif self.remaining_s(now_s) > 0:
            pass
        elif self.state is State.RESET:
            self._enter(State.IDLE, now_s)
        elif self.state is State.COUNTDOWN:
            self._enter(State.RECORDING, now_s)
            self._goes_on = False
            self.reason = ""
            return [Act(do=Do.BEGIN)]
        elif self.state is State.RECORDING:
            return self.out_of_time(now_s)
        return []

    def achieved(self, now_s: float) -> list[Act]:
        """The environment says that the task is done."""
        if self.state is not State.RECORDING:
            return []
        return self._seal("success", now_s, source="env")

    def out_of_time(self, now_s: float) -> list[Act]:
        """The horizon or the timer has run out: a failure by timeout, which may be relabelled."""
        if self.state is not State.RECORDING:
            return []
        self.reason = "time ran out"
        return self._seal("failure", now_s, source="timeout", terminated=False)

    def abort(self, reason: str, now_s: float) -> list[Act]:
        """Something broke (a frozen camera, for one): the episode goes to the trash."""
        if self.state is not State.RECORDING:
            return []
        self.reason = reason
        return self._discard(now_s)

    def refused(self, reason: str) -> None:
        """The quality gate refused what was to be sealed; it went to the trash instead."""
        assert self._last is not None  # a seal came before
        self._count(self._last, -1)
        self._last = _Last(self._last.outcome, is_kept=False)
        self._count(self._last, 1)
        self._in_vain += 1
        self.reason = reason
        self.repeats = True

    def was_empty(self) -> None:
        """What was discarded had no step: it is not in the trash, and nothing can be undone."""
        if self._last is not None and not self._last.is_kept:
            self._count(self._last, -1)
        self._last = None

    # ---------------------------------------------------------------- what is shown

    def remaining_s(self, now_s: float) -> float:
        """Time left of the present state; infinite where only a person ends it."""
        return max(self._length_s() - (now_s - self._since_s), 0.0)

    def remaining_share(self, now_s: float) -> float | None:
        """The same as a share of the state's time; None where only a person ends it."""
        length_s = self._length_s()
        if length_s == float("inf"):
            return None
        return self.remaining_s(now_s) / length_s if length_s > 0 else 0.0

    @property
    def index(self) -> int:
        """Which success is being recorded, from 0."""
        return self.successes

    def status(self, now_s: float) -> dict[str, Any]:
        """All of it as JSON-able facts."""
        remaining_s = self.remaining_s(now_s)
        return {
            "state": str(self.state),
            "episode": self.index,
            "episodes": self.cfg.episodes,
            "successes": self.successes,
            "failures": self.failures,
            "trashed": self.trashed,
            "remaining_s": None if remaining_s == float("inf") else round(remaining_s, 2),
            "intervening": self.is_intervening,
            "reason": self.reason,
        }

    # ---------------------------------------------------------------- within

    def _length_s(self) -> float:
        return {
            State.COUNTDOWN: self.cfg.countdown_s,
            State.RECORDING: self.cfg.timeout_s,
            State.RESET: self.cfg.reset_s,
        }.get(self.state, float("inf"))

    def _on_recording(self, event: Event, now_s: float) -> list[Act]:
        if event in (Event.SUCCESS, Event.FAILURE):
            return self._seal(str(event), now_s)
        if event in (Event.DISCARD, Event.RERECORD):
            self.reason = "discarded" if event is Event.DISCARD else "recording it again"
            acts = self._discard(now_s)
            self.repeats = self._goes_on = event is Event.RERECORD
            return acts
        return []

    def _on_between(self, event: Event, now_s: float) -> list[Act]:
        """Idle, reset and done: start, or a second thought about the last episode."""
        last = self._last
        if event is Event.START:
            if self.state is not State.DONE and not self._is_complete:
                self._enter(State.COUNTDOWN, now_s)
        elif event is Event.UNDO:
            return self._undo(now_s)
        elif last is None or not last.is_kept:
            return []
        elif event is Event.DISCARD:
            return self._decide(_Last(last.outcome, is_kept=False, before=last), now_s)
        elif event is Event.RERECORD:
            acts = self._decide(_Last(last.outcome, is_kept=False, before=last), now_s)
            self.reason = "recording it again"
            self.repeats = self._goes_on = True
            return acts
        elif event in (Event.SUCCESS, Event.FAILURE) and str(event) != last.outcome:
            return self._decide(_Last(str(event), is_kept=True, before=last), now_s)
        return []

    def _undo(self, now_s: float) -> list[Act]:
        """Take the last decision back; a second undo takes the undo back."""
        last = self._last
        if last is None:
            self.reason = "nothing to undo"
            return []
        before = last.before or replace(last, is_kept=not last.is_kept)
        self._goes_on = False
        return self._decide(replace(before, before=replace(last, before=None)), now_s)

    def _decide(self, wished: _Last, now_s: float) -> list[Act]:
        """Go from the last episode as it is to how it is wished, and count anew."""
        now = self._last
        assert now is not None
        self._count(now, -1)
        self._count(wished, 1)
        self._last = wished
        self.repeats = not wished.is_kept
        acts = []
        if wished.is_kept != now.is_kept:
            do = Do.RESTORE if wished.is_kept else Do.DELETE
            acts.append(Act(do=do, outcome=wished.outcome))
            self.reason = "brought back" if wished.is_kept else "moved to the trash"
        elif wished.outcome != now.outcome:
            acts.append(Act(do=Do.LABEL, outcome=wished.outcome))
            self.reason = f"now a {wished.outcome}"
        if self.state is State.DONE and self.successes < self.cfg.episodes:
            self._enter(State.IDLE, now_s)
        return acts

    def _seal(
        self, outcome: str, now_s: float, *, source: str = "human", terminated: bool = True
    ) -> list[Act]:
        self._last = _Last(outcome, is_kept=True)
        self._count(self._last, 1)
        self._in_vain = 0 if outcome == "success" else self._in_vain + 1
        self.repeats = False
        self._enter(State.RESET, now_s)
        return [Act(do=Do.SEAL, outcome=outcome, source=source, terminated=terminated)]

    def _discard(self, now_s: float) -> list[Act]:
        self._last = _Last("unknown", is_kept=False)
        self._count(self._last, 1)
        self._in_vain += 1
        self.repeats = False
        self._enter(State.RESET, now_s)
        return [Act(do=Do.DISCARD)]

    def _quit(self, now_s: float) -> list[Act]:
        acts = self.abort("quit while recording", now_s)
        self._enter(State.DONE, now_s)
        return acts

    def _count(self, last: _Last, by: int) -> None:
        if not last.is_kept:
            self.trashed += by
        elif last.outcome == "success":
            self.successes += by
        elif last.outcome == "failure":
            self.failures += by

    @property
    def _is_complete(self) -> bool:
        return self.successes >= self.cfg.episodes and not self._goes_on

    def _start_by_itself(self, now_s: float) -> None:
        if self._goes_on or self._in_vain < self.cfg.auto_tries:
            self._enter(State.COUNTDOWN, now_s)
            return
        self.reason = f"{self._in_vain} episodes in a row without a success: {self.reason}"
        self._enter(State.DONE, now_s)

    def _enter(self, state: State, now_s: float) -> None:
        self.state = state
        self._since_s = now_s
        self.is_intervening = False
