"""The whole command path as a `gymnasium.Env`, the same class for twin and robot.

command:   camera, arm → **observe → policy (base + residual) → decode → safety → send**
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.observe import ObservationBuilder, ObserveCfg, Observed
from robot_rl.control.safety import SafetyFilter, SafetyFlags
from robot_rl.env.port import RobotPort, SharedPort
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import F32, U8, Command, RobotState

__all__ = ["RobotEnv", "RobotEnvCfg"]

_NOTHING_ACTED = dict.fromkeys((*SafetyFlags._fields, "unreachable"), False)
_ROUNDING_S = 1e-6  # stamps are sums of periods
_DIGITS = 6  # of times in `info`: equal episodes at other times of day give equal facts


@dataclass(frozen=True, kw_only=True)
class RobotEnvCfg:
    """What a policy sees, and which delays the twin adds to be like the robot."""

    observe: ObserveCfg = field(default_factory=ObserveCfg)
    """What of the robot's state a policy sees."""
    action_delay_steps: int = 0
    """Steps that a command spends on its way to the port, as on a slow bus."""
    observation_delay_steps: int = 0
    """Steps by which observations lag; success is still judged on the newest state."""

    def __post_init__(self) -> None:
        """Refuse delays that would see the future."""
        if self.action_delay_steps < 0 or self.observation_delay_steps < 0:
            raise ConfigError(
                f"env: action_delay_steps {self.action_delay_steps} and observation_delay_steps "
                f"{self.observation_delay_steps} must be at least 0."
            )


class RobotEnv(gymnasium.Env[Any, F32]):
    """One task on one robot.

    Actions are float32 in [-1, 1]; observations float32 (state form) or a dict of "state" and
    cameras (pixel form). The reward is 1 on the step that completes the task, else 0. Success
    terminates, the horizon truncates: a time-out is no failure, and is bootstrapped.

    `info` holds `is_success`, `requested_action`, `executed_action` (what was sent on after
    limits and the port's own, in action units: what critics learn), `safety` (for each limit
    whether it acted; "unreachable" if IK found no pose), `obs_age_s`, `is_stale`, `is_late` (the
    caller took longer than a period) and `t_s` (stamp of the newest state since `start_s`, which
    is the start of the episode by the port's clock).
    With an action delay, `executed_action` is the action as accepted at this step.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (gymnasium's own class attribute)

    def __init__(self, port: RobotPort, task: Task, cfg: RobotEnvCfg | None = None) -> None:
        self.port, self.task, self.cfg = port, task, cfg or RobotEnvCfg()
        self.decoder = ActionDecoder(port.spec, task)
        self._period_s = 1.0 / task.control_hz
        self._safety = SafetyFilter(port.spec, period_s=self._period_s)
        self._builder = ObservationBuilder(port.spec, task, self.cfg.observe)
        self.action_space = spaces.Box(-1.0, 1.0, (self.decoder.action_dim,), np.float32)
        self.observation_space = _observation_space(self._builder)
        self.metadata = {**self.metadata, "render_fps": round(task.control_hz)}
        self.render_mode = "rgb_array" if port.spec.cameras else None
        self._on_the_way: deque[Command] = deque()
        self._states: deque[RobotState] = deque(maxlen=self.cfg.observation_delay_steps + 1)
        self._command: Command | None = None  # the last accepted; None until `reset`
        self.start_s = self._tick_s = 0.0
        self._step = 0
        self._achieved_since_s: float | None = None
        self._is_stale = False
        self._shared = port if isinstance(port, SharedPort) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Connect if need be, begin an episode drawn from `seed`, and observe it."""
        super().reset(seed=seed)
        self.port.connect()
        self.port.reset(int(self.np_random.integers(2**31 - 1)))
        self._builder.reset()
        self._on_the_way.clear()
        self._states.clear()
        self._step, self._achieved_since_s = 0, None
        state = self.port.read()
        self.start_s = state.stamp_s
        hold = Command(q_rad=state.q_rad, gripper_m=state.gripper_m, stamp_s=state.stamp_s)
        self._command, _ = self._safety.filter(hold, hold)
        self._on_the_way.extend([self._command] * self.cfg.action_delay_steps)
        self._tick_s = self.port.clock.now()
        observed = self._observe(state)
        held = self.decoder.encode(self._command, self._command)
        return observed.obs, self._info(
            state, observed, held, held, dict(_NOTHING_ACTED), is_late=False
        )

    def step(self, action: F32) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Send one action, wait for the next tick, and observe.

        Raises:
            NonFiniteError: The action or the robot's state holds NaN; the robot has been stopped
                and nothing of this step was sent on.
            ShapeError: The action is of another length; the robot has been stopped.
            PortError: Not reset, the robot has gone, or the observation is too old.
        """
        if self._command is None:
            raise PortError("step() before reset(). Call reset() to begin an episode.")
        requested = np.array(action, np.float32)
        try:
            previous = self._command
            executed, flags = self._act(requested, previous)
            is_late = self._wait()
            taken = self._shared.taken_over() if self._shared is not None else None
            if taken is not None:  # what a person did is what happened, and what is learned from
                self._command = taken.command
                executed = self.decoder.encode(previous, taken.command)
            state = self.port.read()
            self._step += 1
            observed = self._observe(state)
        except (NonFiniteError, ShapeError, PortError):
            self.port.stop()  # whatever went wrong, the arm must not move on
            raise
        is_success = self._judge(state)
        is_over = self._step >= self.task.horizon and not is_success
        info = self._info(state, observed, requested, executed, flags, is_late=is_late)
        info["is_success"] = is_success
        if taken is not None:
            info["control_source"] = taken.source
        return observed.obs, float(is_success), is_success, is_over, info

    @property
    def command(self) -> Command:
        """The last accepted command: what the next action is integrated on.

        Raises:
            PortError: Not reset.
        """
        if self._command is None:
            raise PortError("no command before reset(). Call reset() to begin an episode.")
        return self._command

    def render(self) -> U8 | None:
        """The newest image of the first camera, or None without one."""
        cameras = self.port.spec.cameras
        if not cameras or not self._states:
            return None
        return self._states[-1].images[cameras[0].name].rgb

    def close(self) -> None:
        """Hold and release the robot."""
        self.port.close()

    def _act(self, requested: F32, previous: Command) -> tuple[F32, dict[str, bool]]:
        """Decode, limit and send; returns the executed action and the limits that acted."""
        wished = self.decoder.decode_batch(requested, previous.q_rad, previous.gripper_m)
        q_rad, gripper_m = wished.q_rad, wished.gripper_m
        if self._is_stale:  # blind: hold what was commanded last
            q_rad, gripper_m = previous.q_rad, previous.gripper_m
        q_rad, gripper_m, flags = self._safety.filter_batch(
            q_rad, gripper_m, previous.q_rad, previous.gripper_m
        )
        stamp_s = self.port.clock.now()
        accepted = Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=stamp_s)
        facts = {name: bool(acted) for name, acted in flags._asdict().items()}
        facts["workspace"] |= bool(wished.clipped)
        facts["unreachable"] = not wished.reached
        if self.cfg.action_delay_steps == 0:
            accepted = self.port.send(accepted)
        else:
            self._on_the_way.append(accepted)
            self.port.send(self._on_the_way.popleft())
        self._command = accepted
        return self.decoder.encode(previous, accepted), facts

    def _wait(self) -> bool:
        """Wait for the next tick; returns whether the caller was late for this one."""
        now_s = self.port.clock.now()
        is_late = now_s > self._tick_s + self._period_s
        # Late ticks are not made up for: a burst of short steps would be worse than one long.
        self._tick_s = (now_s if is_late else self._tick_s) + self._period_s
        self.port.clock.sleep_until(self._tick_s)
        return is_late

    def _observe(self, state: RobotState) -> Observed:
        """What the policy sees; freshness is judged on what was just read, delay or not."""
        now_s = self.port.clock.now()
        while len(self._states) < self.cfg.observation_delay_steps:
            self._states.append(state)
        self._states.append(state)
        delay_s = state.stamp_s - self._states[0].stamp_s
        observed = self._builder.observe(self._states[0], now_s=now_s - delay_s, step=self._step)
        self._is_stale = observed.is_stale
        return observed._replace(age_s=observed.age_s + delay_s)

    def _judge(self, state: RobotState) -> bool:
        """Whether the goal has held for long enough, without a break."""
        if not self.task.achieved(state):
            self._achieved_since_s = None
            return False
        if self._achieved_since_s is None:
            self._achieved_since_s = state.stamp_s
        return state.stamp_s - self._achieved_since_s >= self.task.hold_s - _ROUNDING_S

    def _info(
        self,
        state: RobotState,
        observed: Observed,
        requested: F32,
        executed: F32,
        flags: dict[str, bool],
        *,
        is_late: bool,
    ) -> dict[str, Any]:
        """The facts of a step that are neither observation nor reward."""
        return {
            "is_success": False,
            "requested_action": requested,
            "executed_action": executed,
            "safety": flags,
            "obs_age_s": round(observed.age_s, _DIGITS),
            "is_stale": observed.is_stale,
            "is_late": is_late,
            "t_s": round(state.stamp_s - self.start_s, _DIGITS),
        }


def _observation_space(builder: ObservationBuilder) -> spaces.Box | spaces.Dict:
    """The space of what a builder builds."""
    state = spaces.Box(-np.inf, np.inf, (builder.state_dim,), np.float32)
    if not builder.image_shapes:
        return state
    images = {k: spaces.Box(0, 255, shape, np.uint8) for k, shape in builder.image_shapes.items()}
    return spaces.Dict({"state": state, **images})
