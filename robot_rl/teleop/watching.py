"""Recording by watching: who drives is elsewhere, so steps are made of what was seen and executed.

learning:  **executed command → transition → episode store** → progress model → replay → ...

`Watcher` is the pure part of the recorder node: states and executed commands in, steps out. An
observation waits until the commands up to its instant are known; then the step that led to it is
whole.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.observe import ObservationBuilder, ObserveCfg
from robot_rl.env.task import Task
from robot_rl.errors import NonFiniteError
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.executed import Executed, ExecutedLog, GoalHold
from robot_rl.teleop.recording import RecordingDesk
from robot_rl.teleop.session import Act, Do, Session, State
from robot_rl.types import RobotSpec, RobotState

__all__ = ["Watcher"]

_LONGEST_WAIT_S = 1.0  # for the commands of an observation


class _Seen(NamedTuple):
    """One observation that waits for its command."""

    time_s: float
    state: RobotState
    obs: Any


class Watcher:
    """Turns looks at the robot into episodes, as the session decides.

    Attributes:
        facts: Kept with each episode.
        seed: Of the next new start.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: Task,
        observe: ObserveCfg,
        session: Session,
        desk: RecordingDesk,
    ) -> None:
        self._session, self._desk, self._task = session, desk, task
        self._decoder = ActionDecoder(spec, task)
        # Staleness is judged by the gate, which can say of what.
        self._builder = ObservationBuilder(spec, task, replace(observe, hold_when_stale=True))
        self._goal = GoalHold(task)
        self._waiting: deque[_Seen] = deque()
        self._ending: Act | None = None  # until all that was seen is recorded
        self._asked: deque[Event] = deque()
        self._before: Executed | None = None
        self._begun_s = 0.0
        self._looks = 0
        self._has_policy = False
        self._scene_seed = -1
        self._is_fresh = False
        self.facts: Mapping[str, Any] = {}
        self.seed = 0

    @property
    def steps(self) -> int:
        """Steps of the open episode."""
        return self._desk.steps if self._desk.is_recording else 0

    @property
    def needs_scene(self) -> bool:
        """Whether the next start has to be made before an episode can begin."""
        between = self._session.state in (State.IDLE, State.COUNTDOWN)
        return between and not self._is_fresh and not self._ending

    def next_seed(self) -> int:
        """Seed of the start to be made: a new one, or the last again if that is repeated."""
        if not (self._session.repeats and self._scene_seed >= 0):
            self._scene_seed, self.seed = self.seed, self.seed + 1
        self._is_fresh = True
        return self._scene_seed

    def take(self, events: Sequence[Event], now_s: float) -> None:
        """What the person asked for; while an episode ends, it waits."""
        self._asked += events
        while self._asked and not self._ending:
            self._carry_out(self._session.on(self._asked.popleft(), now_s), now_s)

    def abort(self, reason: str, now_s: float) -> None:
        """Trash the open episode, also if it was about to be sealed."""
        self._waiting.clear()
        if self._ending:
            self._ending = None
            self._session.refused(reason)
            self._desk.carry_out([Act(do=Do.DISCARD)], self.facts)
        self._carry_out(self._session.abort(reason, now_s), now_s)

    def tick(
        self, now_s: float, read: Callable[[], RobotState | str], executed: ExecutedLog
    ) -> None:
        """Look at the robot once, at the task's rate, while the scene is ready.

        Args:
            now_s: Monotonic time.
            read: The newest state, or why there is none.
            executed: The commands so far.
        """
        self._desk.check()
        if self._ending:
            self._record(now_s, executed)
            return
        self._carry_out(self._session.tick(now_s), now_s)
        if not self._desk.is_recording or self._ending:
            return
        state = read()
        if isinstance(state, str):
            self.abort(state, now_s)
            return
        try:
            obs = self._builder.observe(state, now_s=now_s, step=self._looks).obs
        except NonFiniteError as error:
            self.abort(str(error), now_s)
            return
        self._waiting.append(_Seen(now_s, state, obs))
        self._looks += 1
        self._record(now_s, executed)
        if not self._desk.is_recording:
            return
        if self._goal.judge(state):
            self._carry_out(self._session.achieved(now_s), now_s)
        elif self._looks > self._task.horizon:
            self._carry_out(self._session.out_of_time(now_s), now_s)

    def _record(self, now_s: float, executed: ExecutedLog) -> None:
        """Record what has its command by now; end the episode once all of it has."""
        while self._waiting and self._desk.is_recording:
            seen = self._waiting[0]
            command = executed.at(seen.time_s)
            if command is None:
                if now_s - seen.time_s > _LONGEST_WAIT_S:
                    waited = f"nothing was executed for {now_s - seen.time_s:.1f} s."
                    self.abort(f"arm bridge: {waited} Check that it runs and is active.", now_s)
                return
            self._waiting.popleft()
            self._record_one(seen, command, now_s)
        if self._ending:
            act, self._ending = self._ending, None
            self._desk.carry_out([act], self.facts)

    def _record_one(self, seen: _Seen, executed: Executed, now_s: float) -> None:
        """The step that led to an observation, and the observation."""
        if executed.source == "home":
            self.abort("the arm went home", now_s)
            return
        if self._before is not None:
            action = self._decoder.encode(self._before.command, executed.command)
            self._desk.step(action, action, source=self._driver(executed.source))
        self._before = executed
        spoiled = self._desk.observe(
            seen.obs,
            seen.state,
            t_s=seen.time_s - self._begun_s,
            now_s=seen.time_s,
            command_rad=executed.command.q_rad,
        )
        if spoiled:
            self.abort(spoiled, now_s)

    def _driver(self, source: str) -> str:
        """Who drove, in the words of the store; without a policy, all is the person's doing."""
        self._has_policy |= source == "policy"
        if self._has_policy and source in ("policy", "blend"):
            return source
        return "scripted" if self.facts.get("teleop") == "scripted" else "human"

    def _carry_out(self, acts: list[Act], now_s: float) -> None:
        """Begin at once; end only after all that was seen is recorded."""
        for act in acts:
            if act.do is Do.BEGIN:
                self._begin(now_s)
            elif act.do is Do.SEAL:
                self._ending = act
                continue
            self._desk.carry_out([act], {**self.facts, "seed": self._scene_seed})

    def _begin(self, now_s: float) -> None:
        self._builder.reset()
        self._goal.reset()
        self._waiting.clear()
        self._before, self._looks, self._begun_s = None, 0, now_s
        self._has_policy = False
        self._is_fresh = False
