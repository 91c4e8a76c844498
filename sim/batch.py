"""Many twins of one task in step: evaluation and collection at the speed of `mujoco.batch`.

command:   camera, arm → **observe → policy (base + residual) → decode → safety → send**

The same decoder, safety filter, bridge, features and success as `RobotEnv` over `SimPort`, on
arrays with a leading dimension; a test holds the two together.
"""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from mujoco.batch import Batch

from robot_rl.control.decode import ActionDecoder
from robot_rl.control.safety import SafetyFilter
from robot_rl.env.robot_env import RobotEnvCfg
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import F32, I64, RobotState
from sim.bridge import BRIDGE_PERIOD_S, Bridge
from sim.randomize import parameters_of
from sim.scene import TIMESTEP_S
from sim.twin import Layout, ModelFields, Start, Twin

__all__ = ["BatchedTwin"]

_SUBSTEPS = round(BRIDGE_PERIOD_S / TIMESTEP_S)


class BatchedTwin:
    """`num_envs` episodes of one task side by side, without autoreset.

    An episode that has ended stands still and costs nothing, until `reset` starts another in its
    place: an evaluation gives every seed one episode and steps until none is `active`.

    Args:
        twin: The task.
        num_envs: How many scenes.
        num_threads: Threads that step physics.
        cfg: As for `RobotEnv`; the state form without added delays or proprioception.
    """

    def __init__(
        self, twin: Twin, num_envs: int, *, num_threads: int = 1, cfg: RobotEnvCfg | None = None
    ) -> None:
        self.twin, self.task, self.num_envs = twin, twin.task, num_envs
        self.cfg = cfg or RobotEnvCfg()
        _refuse(self.cfg)
        robot, task = twin.robot, twin.task
        self._decoder = ActionDecoder(robot, task)
        self._safety = SafetyFilter(robot, period_s=1 / task.control_hz)
        self._bridge = Bridge(robot.arms)
        self._ticks = round(1 / (task.control_hz * BRIDGE_PERIOD_S))
        self._hold_steps = int(np.ceil(task.hold_s * task.control_hz - 1e-6))
        self._model: mujoco.MjModel = twin.build().compile()
        self._batch = Batch(self._model, num_envs, num_threads)
        self._layout = Layout(self._model, robot)
        self._scratch = mujoco.MjData(self._model)
        self._rows = {name: self._batch.bind(name) for name in _STATE}
        self._fields = [
            self._batch.expand(name)
            for name in ("actuator_gainprm", "actuator_biasprm", "geom_friction")
        ]
        parameters = parameters_of(twin)
        self._parameters = parameters
        self._writer = parameters.writer(self._model, self._batch) if parameters else None
        self._starts: dict[int, Start] = {}
        self._q_command = np.zeros((num_envs, robot.dof))
        self._gripper_command = np.zeros((num_envs, robot.num_grippers))
        self._bridge.start(self._q_command, self._gripper_command)
        self._step = np.zeros(num_envs, np.int64)
        self._achieved_since = np.zeros(num_envs, np.int64)
        self.active = np.zeros(num_envs, bool)
        """Which episodes are running."""
        frame = task.feature_dim
        self._frames = np.zeros((num_envs, self.cfg.observe.frames, frame), np.float32)
        dim = self._frames[0].size + self.cfg.observe.use_time
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (dim,), np.float32)
        self.single_action_space = spaces.Box(-1, 1, (self._decoder.action_dim,), np.float32)

    @property
    def state(self) -> RobotState:
        """The state of all robots, arrays with a leading `num_envs`; what an expert takes."""
        return self._read(np.arange(self.num_envs))

    def reset(
        self, seeds: Sequence[int], ids: Sequence[int] | I64 | None = None
    ) -> tuple[F32, dict[str, Any]]:
        """Begin one episode a seed, in the scenes `ids` or in the first ones.

        Seeds mean what they mean to `RobotEnv.reset`.

        Returns:
            Observations (num_envs, d) of all scenes, and an empty info.
        """
        return self.place([self.draw(seed) for seed in seeds], ids)

    def draw(self, seed: int) -> Start:
        """The start with which `reset` begins the episode of a seed."""
        drawn = int(seeding.np_random(int(seed))[0].integers(2**31 - 1))
        return self.twin.draw(np.random.default_rng(drawn))

    def place(
        self, starts: Sequence[Start], ids: Sequence[int] | I64 | None = None
    ) -> tuple[F32, dict[str, Any]]:
        """Begin one episode a start, in the scenes `ids` or in the first ones; as `reset`."""
        chosen = np.arange(len(starts)) if ids is None else np.asarray(ids, np.int64)
        if chosen.shape != (len(starts),):
            raise ShapeError("ids of scenes", chosen.shape, (len(starts),))
        self._batch.reset(chosen, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        for i in chosen.tolist():
            self._layout.restore(self._model_fields(i))
        if self._writer is not None and self._parameters is not None:
            nominal = self._parameters.nominal
            values = [nominal if start.values is None else start.values for start in starts]
            self._writer.write(np.stack(values), chosen)
        for i, start in zip(chosen.tolist(), starts, strict=True):
            self._layout.scale(start, self._model_fields(i))
            self._layout.write_start(start, **{k: self._rows[k][i] for k in _START})
            if self._model.nhistory:
                self._rows["history"][i] = self._layout.history(start, self._model, self._scratch)
            self._bridge.restart(i, start.q_rad, start.gripper_m)
            self._starts[i] = start
        state = self._read(chosen)
        q, gripper, _ = self._safety.filter_batch(
            state.q_rad, state.gripper_m, state.q_rad, state.gripper_m
        )
        self._q_command[chosen], self._gripper_command[chosen] = q, gripper
        self._step[chosen], self._achieved_since[chosen] = 0, -1
        self.active[chosen] = True
        self._frames[chosen] = self.task.features(state)[:, None]
        return self._observation(), {}

    def step(self, actions: F32) -> tuple[F32, F32, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every active episode; the rows of others are ignored.

        Args:
            actions: (num_envs, a) in [-1, 1].

        Returns:
            Observations (num_envs, d), rewards, terminated, truncated (num_envs,), and info with
            `executed_action`, `requested_action`, `is_success` and `was_active`.

        Raises:
            NonFiniteError: An action of an active episode holds NaN.
            PortError: No episode is active.
        """
        ids = np.flatnonzero(self.active)
        if not len(ids):
            raise PortError("no episode is active. Call reset() with one seed a scene.")
        requested = np.array(actions, np.float32)
        executed = np.zeros_like(requested)
        executed[ids] = self._send(requested[ids], ids)
        self._roll(ids)
        state = self._read(ids)
        self._step[ids] += 1
        frames = self._frames[ids]
        frames[:, :-1], frames[:, -1] = frames[:, 1:], self.task.features(state)
        if not np.isfinite(frames[:, -1]).all():
            raise NonFiniteError("state of a twin", frames[:, -1], "Check the scene's contacts.")
        self._frames[ids] = frames
        success = np.zeros(self.num_envs, bool)
        success[ids] = self._judge(state, ids)
        truncated = self.active & ~success & (self._step >= self.task.horizon)
        was_active = self.active.copy()
        self.active &= ~(success | truncated)
        info = {
            "requested_action": requested,
            "executed_action": executed,
            "is_success": success.copy(),
            "was_active": was_active,
        }
        return self._observation(), success.astype(np.float32), success, truncated, info

    def _send(self, actions: F32, ids: I64) -> F32:
        """Decode and limit; sets the bridge's targets, returns the executed actions."""
        q_before, gripper_before = self._q_command[ids], self._gripper_command[ids]
        wished = self._decoder.decode_batch(actions, q_before, gripper_before)
        q, gripper, _ = self._safety.filter_batch(
            wished.q_rad, wished.gripper_m, q_before, gripper_before
        )
        q, gripper = self._bridge.clip(q, gripper)
        self._q_command[ids], self._gripper_command[ids] = q, gripper
        return self._decoder.encode_batch(q_before, gripper_before, q, gripper)

    def _roll(self, ids: I64) -> None:
        """Interpolate all ticks of one control step, then step physics in a single call.

        The interpolated commands do not depend on the measured state, so they can be had first;
        `mujoco.batch` only pays with 20 or more substeps a call.
        """
        layout = self._layout
        for i in ids:
            if self._starts[i].forces_n:
                tick = int(self._step[i]) * self._ticks
                layout.push(self._starts[i], tick, self._rows["xfrc_applied"][i])
        self._bridge.aim(self._q_command, self._gripper_command)
        control = np.empty((len(ids), self._ticks, _SUBSTEPS, self._model.nu))
        for tick in range(self._ticks):
            q, gripper = self._bridge.step(ids)
            control[:, tick, :, layout.ctrl] = q.T[..., None]
            control[:, tick, :, layout.gripper_ctrl] = gripper.T[..., None]
        steps = self._ticks * _SUBSTEPS
        self._batch.rollout(steps, control.reshape(len(ids), steps, -1), record=(), ids=ids)

    def _model_fields(self, i: int) -> ModelFields:
        """The fields of scene `i`, live."""
        gain, bias, friction = (values[i] for values in self._fields)
        return ModelFields(gain=gain, bias=bias, friction=friction)

    def _read(self, ids: I64) -> RobotState:
        """The state of some scenes, stamped with the time of the batch's own steps."""
        rows = {name: self._rows[name][ids] for name in _READ}
        return self._layout.read(0.0, **rows)

    def _judge(self, state: RobotState, ids: I64) -> np.ndarray:
        """Whether the goal has held for long enough, without a break: as in `RobotEnv`."""
        achieved, step, since = self.task.achieved(state), self._step[ids], self._achieved_since
        started = np.where(since[ids] < 0, step, since[ids])
        since[ids] = np.where(achieved, started, -1)
        return np.asarray(achieved) & (step - since[ids] >= self._hold_steps)

    def _observation(self) -> F32:
        """(num_envs, d): stacked frames, and the remaining share of the horizon if wished."""
        flat = self._frames.reshape(self.num_envs, -1)
        if not self.cfg.observe.use_time:
            return flat.copy()
        remaining = (1.0 - self._step / self.task.horizon).astype(np.float32)
        return np.concatenate((flat, remaining[:, None]), -1)


_READ = ("qpos", "qvel", "mocap_pos", "mocap_quat")
_START = ("qpos", "ctrl", "mocap_pos", "mocap_quat", "xfrc_applied")
_STATE = ("qpos", "qvel", "ctrl", "history", "mocap_pos", "mocap_quat", "xfrc_applied")


def _refuse(cfg: RobotEnvCfg) -> None:
    """Say which settings only the single environment knows."""
    observe = cfg.observe
    wrong = {
        "observe.pixels": observe.pixels,
        "observe.use_proprioception": observe.use_proprioception,
        "action_delay_steps": cfg.action_delay_steps,
        "observation_delay_steps": cfg.observation_delay_steps,
    }
    if names := [name for name, value in wrong.items() if value]:
        raise ConfigError(f"a batched twin has no {', '.join(names)}. Use RobotEnv over SimPort.")
