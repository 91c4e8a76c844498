"""`robot-rl record`: a person (or a script) demonstrates through the real environment.

learning:  **transition → episode store** → progress model → replay → residual agent → weights

    device → mapping → RobotEnv (decode → safety → send) → gate → crash-safe store

The same session, gate and store stand behind the recorder node on a robot workstation.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robot_rl.apps.ports import PortCfg, PortName, make_env
from robot_rl.apps.record_screen import RecordScreen, Shown
from robot_rl.errors import ConfigError, DataError, NonFiniteError, PortError
from robot_rl.teleop.devices.device import Device, Sample
from robot_rl.teleop.mapping import MappingCfg, Takeover, TeleopMapper
from robot_rl.teleop.quality import JOINTS, EpisodeGate, QualityCfg
from robot_rl.teleop.recording import RecordingDesk
from robot_rl.teleop.session import Act, Do, Session, SessionCfg, State
from robot_rl.types import F32

__all__ = ["Cfg", "main"]

DEMO_SEED = 700_000
"""First start of demonstrations; no evaluation and no choice is ever made on those."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl record`."""

    env: str
    """Task, such as peg or peg/pixels; on the ROS graph a task file too."""
    out: Path
    """The episode store to write, such as data/peg.zarr."""
    device: Literal["keyboard", "gamepad", "spacemouse", "scripted"] = "keyboard"
    """What you hold; the keyboard's recorder keys work beside each. scripted: the task's own
    expert demonstrates, unattended."""
    port: PortName = "sim"
    """The twin in this process, or the robot (or twin) on the ROS graph."""
    ros: PortCfg = field(default_factory=PortCfg)
    """Which robot on the graph."""
    episodes: int = 20
    """How many successes to record; failures are kept and labelled beside them."""
    append: bool = False
    """Add to the store if it is there."""
    policy: Path | None = None
    """A trained policy that drives until you take over: records corrections."""
    view: int = 0
    """Port of a local web page that shows the scene while you steer; 0 for none."""
    operator: str = ""
    """Who demonstrates; kept with each episode."""
    seed: int = DEMO_SEED
    """Seed of the first start; the next ones follow."""
    countdown_s: float | None = None
    """From start to the first step; by default 1, or 0 for a script."""
    reset_s: float | None = None
    """After an episode, to undo or relabel it; by default 3, or 0 for a script."""
    timeout_s: float = 120.0
    """Longest episode by the clock on the wall; the task's horizon may end it before."""
    teleop: MappingCfg = field(default_factory=MappingCfg)
    """How a hand's motion becomes the robot's."""
    gate: QualityCfg = field(default_factory=QualityCfg)
    """What an episode must keep to be stored."""

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded."""
        if self.seed < 0 or not 0 <= self.view < 65536:
            raise ConfigError(
                f"seed is {self.seed} and must be at least 0; view is {self.view} and must be a "
                "port, or 0."
            )
        _ = self.session

    @property
    def is_unattended(self) -> bool:
        """Whether nobody has to press start, and nobody watches."""
        return self.device == "scripted"

    @property
    def session(self) -> SessionCfg:
        """The times of the session."""
        scripted = self.is_unattended
        countdown_s = (0.0 if scripted else 1.0) if self.countdown_s is None else self.countdown_s
        reset_s = (0.0 if scripted else 3.0) if self.reset_s is None else self.reset_s
        return SessionCfg(
            episodes=self.episodes,
            countdown_s=countdown_s,
            reset_s=reset_s,
            timeout_s=self.timeout_s,
            auto_start=scripted,
        )


def main(cfg: Cfg) -> int:
    """Record until enough episodes are kept or somebody quits, and say what there is."""
    from robot_rl.apps.collect import open_store
    from robot_rl.replay.recorder import Recorder

    if cfg.out.exists() and not cfg.append:
        raise DataError(f"{cfg.out} exists already. Add to it by --append, or give another --out.")
    with ExitStack() as stack:
        env = _make_env(cfg)
        stack.callback(env.close)
        hands = make_hands(cfg, env)
        stack.callback(hands.device.close)
        hands.device.open()  # before there is a store: a missing device leaves nothing behind
        stack.enter_context(_ended_by_signals())
        with open_store(cfg.out, cfg.env, env) as store:
            used = [int(info.facts.get("seed", -1)) for info in store.infos()]
        recorder = stack.enter_context(Recorder(cfg.out))
        session = Session(cfg.session)
        desk = RecordingDesk(recorder, session, _gate(cfg, env))
        stack.callback(_leave_nothing_open, desk, session)
        sitting = Sitting(cfg, env, hands, session, desk)
        sitting.seed = max([cfg.seed, *(seed + 1 for seed in used)])
        title = f"robot-rl record {cfg.env} by {hands.device.name} into {cfg.out}"
        screen = RecordScreen(hands.device.name, title=title, has_keys=hands.has_keys)
        stack.enter_context(screen)
        if cfg.view:
            from robot_rl.apps.live_view import LiveView

            sitting.view = stack.enter_context(LiveView(env, cfg.view))
        sitting.run(screen)
    print(f"{cfg.out}: {session.successes} successes and {session.failures} failures recorded")
    return 0 if session.successes else 1


@dataclass(kw_only=True)
class Hands:
    """Who steers, and who must be told when a scene is drawn anew."""

    device: Device
    has_keys: bool = True
    on_scene: Callable[[int], None] = lambda seed: None


def make_hands(cfg: Cfg, env: Any) -> Hands:
    """The device that the options name, beside the keyboard where there is a terminal."""
    import sys

    from robot_rl.teleop.devices.combined import WithKeys
    from robot_rl.teleop.devices.gamepad import Gamepad
    from robot_rl.teleop.devices.keyboard import Keyboard
    from robot_rl.teleop.devices.spacemouse import SpaceMouse

    arms = len(env.port.spec.arms)
    keyboard = Keyboard(arms=arms)
    if cfg.device == "keyboard":
        return Hands(device=keyboard)
    if cfg.device == "scripted":
        hands = _scripted(cfg, env)
    else:
        hands = Hands(device={"gamepad": Gamepad, "spacemouse": SpaceMouse}[cfg.device](arms=arms))
    hands.has_keys = sys.stdin.isatty()
    if hands.has_keys:
        hands.device = WithKeys(hands.device, keyboard)
    return hands


def _scripted(cfg: Cfg, env: Any) -> Hands:
    """The task's expert with the faults of a person, as `robot-rl collect` uses it."""
    from importlib import import_module

    from robot_rl.teleop.devices.scripted import Scripted

    tasks, faults = import_module("sim.tasks"), import_module("sim.tasks.demonstrator")
    expert = faults.Demonstrator(tasks.make_twin(cfg.env.split("/")[0]))
    return Hands(device=Scripted(lambda: expert.act(env.port.read())), on_scene=expert.reset)


class Sitting:
    """The loop: reads the hand, steps the environment, and lets the session decide.

    Attributes:
        seed: Of the next new start.
        view: Where a person sees the scene, or None.
    """

    def __init__(
        self, cfg: Cfg, env: Any, hands: Hands, session: Session, desk: RecordingDesk
    ) -> None:
        self._cfg, self._env, self._hands = cfg, env, hands
        self._session, self._desk = session, desk
        self._period_s = 1.0 / env.task.control_hz
        self._mapper = TeleopMapper(env.port.spec, env.task, cfg.teleop)
        self._takeover = Takeover(
            cfg.teleop, period_s=self._period_s, is_width=self._mapper.is_width
        )
        self._policy = _policy(cfg.policy)
        self._scene_seed = -1
        self._is_fresh = False
        self._sample = Sample(stamp_s=0.0)
        self._source = ""
        self.seed = cfg.seed
        self.view: Any = None

    def run(self, screen: RecordScreen) -> None:
        """Record until the session is done."""
        self._new_scene()
        next_s = time.monotonic()
        while self._session.state is not State.DONE:
            was_recording, state = self._desk.is_recording, self._session.state
            self._sample = self._hands.device.read()
            now_s = time.monotonic()
            acts = [a for e in self._sample.events for a in self._session.on(e, now_s)]
            self._carry_out([*acts, *self._session.tick(now_s)])
            if was_recording and self._desk.is_recording:  # the sample is of this scene
                self._step()
                self._carry_out(self._session.tick(time.monotonic()))
            elif self._session.state in (State.IDLE, State.COUNTDOWN) and not self._is_fresh:
                self._new_scene()
            self._desk.check()
            screen.update(self._shown())
            if self.view is not None:
                self.view.show()
            is_busy = self._desk.is_recording or self._session.state is not state
            if not (self._cfg.is_unattended and is_busy):
                next_s = _wait(next_s, self._period_s)

    def _carry_out(self, acts: list[Act]) -> None:
        """Let the desk do it; an episode that begins starts with what is seen now."""
        if any(act.do is Do.BEGIN for act in acts) and not self._is_fresh:
            self._new_scene()
        self._desk.carry_out(acts, self._facts())
        if any(act.do is Do.BEGIN for act in acts):
            self._is_fresh = False
            self._mapper.reset(self._env.command)
            self._takeover.reset()
            self._observe()

    def _new_scene(self) -> None:
        """Draw the next start, or the same one again where an episode is repeated."""
        if not (self._session.repeats and self._scene_seed >= 0):
            self._scene_seed, self.seed = self.seed, self.seed + 1
        self._obs, self._info = self._env.reset(seed=self._scene_seed)
        self._hands.on_scene(self._scene_seed)
        if self._policy is not None:
            self._policy.reset()
        self._is_fresh = True

    def _step(self) -> None:
        """One step of the episode that is being recorded."""
        action, base = self._action()
        try:
            self._obs, _, success, over, self._info = self._env.step(action)
        except (PortError, NonFiniteError) as error:
            self._carry_out(self._session.abort(str(error), time.monotonic()))
            return
        self._desk.step(
            self._info["executed_action"],
            self._info["requested_action"],
            source=self._source,
            base=base,
        )
        if spoiled := self._observe():
            self._carry_out(self._session.abort(spoiled, time.monotonic()))
        elif success:
            self._carry_out(self._session.achieved(time.monotonic()))
        elif over:
            self._carry_out(self._session.out_of_time(time.monotonic()))

    def _action(self) -> tuple[F32, F32 | None]:
        """What to do, and what the policy wished, if one is there."""
        hold = self._mapper.hold()
        is_held = self._sample.is_held(time.monotonic())
        hand = self._mapper.action(self._sample, self._env.command) if is_held else None
        if self._policy is None:
            self._source = "scripted" if self._cfg.is_unattended else "human"
            return hold if hand is None else hand, None
        if self._session.is_intervening and hand is None:
            hand = hold
        if hand is not None:
            self._policy.reset()  # a plan from before the person took over is worth nothing
        wished = self._policy.next(self._obs)[0]
        action, self._source = self._takeover.blend(wished, hand, hold)
        return action, wished

    def _observe(self) -> str:
        port = self._env.port
        return self._desk.observe(
            self._obs,
            port.read(),
            t_s=float(self._info["t_s"]),
            now_s=port.clock.now(),
            command_rad=self._env.command.q_rad,
        )

    def _facts(self) -> dict[str, Any]:
        cfg = self._cfg
        facts = {"task": cfg.env, "seed": self._scene_seed, "teleop": self._hands.device.name}
        facts |= {"operator": cfg.operator or ("script" if cfg.is_unattended else "unknown")}
        facts |= {"index": self._session.index}
        return facts | ({"policy": str(cfg.policy)} if cfg.policy else {})

    def _shown(self) -> Shown:
        now_s, session = time.monotonic(), self._session
        return Shown(
            status=session.status(now_s),
            remaining_share=session.remaining_share(now_s),
            steps=self._desk.steps if self._desk.is_recording else 0,
            ages_s=self._desk.ages_s(),
            max_age_s=self._cfg.gate.max_age_s,
            note=self._sample.note,
            source=self._source,
            figures={"start": str(self._scene_seed)}
            | ({"view": self.view.url} if self.view else {}),
        )


def _wait(next_s: float, period_s: float) -> float:
    """Wait for the next tick of an absolute schedule; ticks that were missed stay missed."""
    next_s = max(next_s + period_s, time.monotonic())
    time.sleep(max(next_s - time.monotonic(), 0.0))
    return next_s


def _make_env(cfg: Cfg) -> Any:
    env = make_env(cfg.env, cfg.port, cfg.ros)
    if not hasattr(env, "port"):
        env.close()
        raise ConfigError(
            f"environment '{cfg.env}' has no robot to steer. Give a task of the twin, such as peg."
        )
    return env


def _gate(cfg: Cfg, env: Any) -> EpisodeGate:
    spec, hz = env.port.spec, env.task.control_hz
    rates_hz = {JOINTS: hz, **{camera.name: camera.rate_hz for camera in spec.cameras}}
    names = tuple(name for arm in spec.arms for name in arm.joint_names)
    return EpisodeGate(cfg.gate, control_hz=hz, rates_hz=rates_hz, joint_names=names)


def _policy(path: Path | None) -> Any:
    if path is None:
        return None
    from robot_rl.policy.queue import ChunkQueue
    from robot_rl.policy.saved import load_policy

    return ChunkQueue(load_policy(path))


def _leave_nothing_open(desk: RecordingDesk, session: Session) -> None:
    """An interrupted episode goes to the trash, from which `robot-rl data undo` brings it back."""
    if desk.is_recording:
        desk.carry_out(session.abort("interrupted", time.monotonic()), {})


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a hang-up and `kill` end us in order, so that terminal and store are left clean."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
