"""A measured motion played again in many twins at once: what each would have done.

motion → measurement → parameters → **fit** → posterior → twins drawn from it

The drives get the commands that were measured. A state is compared with the simulated one at its
own stamp, from positions and velocities after each step: sensors of a rollout are of the time
before it, and would bias the delay by a step.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco.batch import Batch

from robot_rl.errors import DataError, UnknownNameError
from robot_rl.types import F64, I64
from sim.identify.measurement import Measurement
from sim.identify.parameters import ParameterSet

__all__ = ["MotionReplay", "Plan", "Prediction"]

_ROWS = 64  # simulations at once; more would only take memory
_REST_SAMPLES = 5
_SETTLE_S = 0.2  # of a motion that is under way where the measurement begins
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What twins do in one measured motion, at the stamps of its states."""

    position: F64  # (n, k, c)
    velocity: F64  # (n, k, c)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Channel:
    """Where a channel lies: its drive, and the joints whose positions add up to it."""

    actuator: int
    qpos: list[int]
    dof: list[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One measurement on the grid of the simulation."""

    measured: Measurement
    control: F64  # (steps, nu)
    history: F64  # (nhistory,)
    position: F64  # (c,) at the start
    velocity: F64  # (c,)
    step: I64  # (k,) the last simulated state before each measured one
    share: F64  # (k,) of the step after it
    counts: np.ndarray  # (k,) which states are compared


class MotionReplay:
    """Plays measurements in twins that differ in some parameters.

    Args:
        spec: The nominal scene; it is prepared for the parameters.
        parameters: What differs.
        measurements: The motions.
        threads: That step physics.

    Attributes:
        model: The nominal twin, compiled.
        plans: Each measurement on the grid of the simulation.

    Raises:
        UnknownNameError: The scene has no drive of the name of a channel.
        DataError: A command lies outside the range of its drive, which would clip it.
    """

    def __init__(
        self,
        spec: mujoco.MjSpec,
        parameters: ParameterSet,
        measurements: Sequence[Measurement],
        *,
        threads: int = 1,
    ) -> None:
        if not measurements:
            raise DataError("there is no measurement to play. Give at least one file.")
        self.parameters, self.measurements = parameters, tuple(measurements)
        parameters.prepare(spec)
        self.model: mujoco.MjModel = spec.compile()
        self._batch = Batch(self.model, _ROWS, threads)
        self._writer = parameters.writer(self.model, self._batch)
        self._rows = {name: self._batch.bind(name) for name in ("qpos", "qvel", "ctrl", "history")}
        self._data = mujoco.MjData(self.model)
        self._rest()
        self.plans = [self._plan(measured) for measured in self.measurements]
        self.rollouts = 0
        """Motions simulated so far."""

    @property
    def num_residuals(self) -> int:
        """How many numbers are compared."""
        kinds = [1 + (plan.measured.velocity is not None) for plan in self.plans]
        return sum(
            kind * int(plan.counts.sum()) * len(plan.measured.channels)
            for kind, plan in zip(kinds, self.plans, strict=True)
        )

    def predict(self, values: F64) -> list[Prediction]:
        """What twins with values (n, p) [SI] do, in each measurement."""
        parts = [
            [self._roll(plan, values[first : first + _ROWS]) for plan in self.plans]
            for first in range(0, len(values), _ROWS)
        ]
        return [
            Prediction(
                position=np.concatenate([part[i].position for part in parts]),
                velocity=np.concatenate([part[i].velocity for part in parts]),
            )
            for i in range(len(self.plans))
        ]

    def residuals(self, coordinates: F64) -> F64:
        """(n, r) differences between simulated and measured, in deviations of the noise."""
        rows = []
        for plan, found in zip(
            self.plans, self.predict(self.parameters.to_values(coordinates)), strict=True
        ):
            measured, counts, n = plan.measured, plan.counts, len(coordinates)
            gap = (found.position - measured.position)[:, counts] / measured.position_std
            rows.append(gap.reshape(n, -1))
            if measured.velocity is not None and measured.velocity_std is not None:
                gap = (found.velocity - measured.velocity)[:, counts] / measured.velocity_std
                rows.append(gap.reshape(n, -1))
        return np.concatenate(rows, 1)

    def position_rms(self, values: F64) -> list[F64]:
        """(c,) RMS difference of positions [rad or m] in each motion, for values (p,)."""
        return [
            np.sqrt(((found.position[0] - plan.measured.position)[plan.counts] ** 2).mean(0))
            for plan, found in zip(self.plans, self.predict(values[None]), strict=True)
        ]

    def start(self, plan: Plan) -> mujoco.MjData:
        """The nominal twin where a measurement begins."""
        data = copy.copy(self._data)
        for column, channel in enumerate(self._channel(name) for name in plan.measured.channels):
            share = len(channel.qpos)
            data.qpos[channel.qpos] = plan.position[column] / share
            data.qvel[channel.dof] = plan.velocity[column] / share
        data.history[:] = plan.history
        return data

    def read(self, plan: Plan, qpos: F64, qvel: F64) -> Prediction:
        """Channels at measured stamps, from states (n, steps + 1, nq), (n, steps + 1, nv)."""
        channels = [self._channel(name) for name in plan.measured.channels]
        position = np.stack([qpos[..., channel.qpos].sum(-1) for channel in channels], -1)
        velocity = np.stack([qvel[..., channel.dof].sum(-1) for channel in channels], -1)
        dt = float(self.model.opt.timestep)
        return _interpolate(position, velocity, plan.step, plan.share, dt)

    def _rest(self) -> None:
        """What nobody measures stands still: grippers open, joints within their ranges."""
        model, data = self.model, self._data
        mujoco.mj_resetData(model, data)
        for i in range(model.nu):
            channel, (low, high) = (
                self._channel(model.actuator(i).name),
                model.actuator_ctrlrange[i],
            )
            is_joint = len(channel.qpos) == 1
            data.ctrl[i] = np.clip(data.qpos[channel.qpos[0]], low, high) if is_joint else high
            data.qpos[channel.qpos] = data.ctrl[i] / len(channel.qpos)

    def _channel(self, name: str) -> _Channel:
        model = self.model
        row = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_ACTUATOR.value, name)
        if row < 0:
            names = [model.actuator(i).name for i in range(model.nu)]
            raise UnknownNameError("drive of the twin for channel", name, names)
        target = int(model.actuator_trnid[row, 0])
        joints = [target]
        if model.actuator_trntype[row] == mujoco.mjtTrn.mjTRN_TENDON.value:
            first = int(model.tendon_adr[target])
            joints = model.wrap_objid[first : first + int(model.tendon_num[target])].tolist()
        return _Channel(
            actuator=row,
            qpos=[int(model.jnt_qposadr[joint]) for joint in joints],
            dof=[int(model.jnt_dofadr[joint]) for joint in joints],
        )

    def _plan(self, measured: Measurement) -> Plan:
        """Put commands, start and stamps of a measurement on the grid of the simulation."""
        channels = [self._channel(name) for name in measured.channels]
        dt = float(self.model.opt.timestep)
        self._refuse_clipping(measured, channels)
        begin_s = float(measured.state_s[0])
        after = (measured.state_s - begin_s) / dt
        step = np.floor(after + _ROUNDING).astype(np.int64)
        steps = int(step[-1]) + 1
        control = np.tile(self._data.ctrl, (steps, 1))
        grid_s = begin_s + dt * np.arange(steps, dtype=np.float64)
        held = _held_mean(measured.command_s, measured.command, grid_s, dt)
        for column, channel in enumerate(channels):
            control[:, channel.actuator] = held[:, column]
        is_resting = measured.rest_s > 0 and int(
            (measured.state_s <= begin_s + measured.rest_s).sum()
        )
        if is_resting >= _REST_SAMPLES:
            position = measured.position[:is_resting].mean(0)
            velocity, settle_s = np.zeros_like(position), 0.0
        else:
            position, velocity = _at_start(measured)
            settle_s = _SETTLE_S
        return Plan(
            measured=measured,
            control=control,
            history=self._history(measured, channels, begin_s),
            position=position,
            velocity=velocity,
            step=step,
            share=np.where(np.abs(after - step) < 1e-4, 0.0, after - step),
            counts=measured.state_s >= begin_s + settle_s,
        )

    def _refuse_clipping(self, measured: Measurement, channels: Sequence[_Channel]) -> None:
        for column, channel in enumerate(channels):
            low, high = self.model.actuator_ctrlrange[channel.actuator]
            limited = bool(self.model.actuator_ctrllimited[channel.actuator])
            asked = measured.command[:, column]
            if limited and (asked.min() < low - _ROUNDING or asked.max() > high + _ROUNDING):
                raise DataError(
                    f"{measured.source}: commands of {measured.channels[column]} lie in "
                    f"[{asked.min():.4f}, {asked.max():.4f}], but its drive takes [{low:.4f}, "
                    f"{high:.4f}] and clips the rest. Record what the drives were really told."
                )

    def _history(self, measured: Measurement, channels: Sequence[_Channel], begin_s: float) -> F64:
        """The commands before the start, for delays; time itself stays as a reset leaves it."""
        model, data, dt = self.model, self._data, float(self.model.opt.timestep)
        if not len(data.history):
            return np.zeros(0)
        values = {channel.actuator: column for column, channel in enumerate(channels)}
        for row in range(model.nu):
            samples = int(model.actuator_history[row, 0])
            if samples:
                before_s = begin_s - dt * np.arange(samples, 0, -1, dtype=np.float64)
                past = np.full((samples, 1), data.ctrl[row])
                if row in values:
                    held = _held_mean(measured.command_s, measured.command, before_s, dt)
                    past[:, 0] = held[:, values[row]]
                mujoco.mj_initCtrlHistory(model, data, row, None, past)
        return data.history.copy()

    def _roll(self, plan: Plan, values: F64) -> Prediction:
        """Simulate one motion in up to `_ROWS` twins."""
        n, measured, steps = len(values), plan.measured, len(plan.control)
        channels = [self._channel(name) for name in measured.channels]
        bias = self.parameters.encoder_bias(values, measured.channels)
        ids = np.arange(n)
        self._writer.write(values, ids)
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        rows = self._rows
        rows["qpos"][:n], rows["ctrl"][:n] = self._data.qpos, self._data.ctrl
        if len(plan.history):
            rows["history"][:n] = plan.history
        for column, channel in enumerate(channels):
            share = len(channel.qpos)
            for qpos, dof in zip(channel.qpos, channel.dof, strict=True):
                rows["qpos"][:n, qpos] = (plan.position[column] - bias[:, column]) / share
                rows["qvel"][:n, dof] = plan.velocity[column] / share
        start = {name: rows[name][:n, None].copy() for name in ("qpos", "qvel")}
        control = np.broadcast_to(plan.control, (n, *plan.control.shape))
        done = self._batch.rollout(steps, control, record=("qpos", "qvel"), ids=ids)
        self.rollouts += n
        states = {name: np.concatenate((start[name], done[name]), 1) for name in start}
        found = self.read(plan, states["qpos"], states["qvel"])
        return Prediction(position=found.position + bias[:, None], velocity=found.velocity)


def _held_mean(stamps: F64, commands: F64, grid_s: F64, dt: float) -> F64:
    """(steps, c) mean of held commands over each step that begins at `grid_s`.

    A command that comes between two steps counts for its share, so that neither rounding biases
    the delay; on the grid this is the command itself.
    """
    area = np.concatenate(
        (np.zeros((1, commands.shape[1])), np.cumsum(commands[:-1] * np.diff(stamps)[:, None], 0))
    )

    def integral(time_s: F64) -> F64:
        i = np.clip(np.searchsorted(stamps, time_s + _ROUNDING * dt, side="right") - 1, 0, None)
        return area[i] + commands[i] * (time_s - stamps[i])[:, None]

    return (integral(grid_s + dt) - integral(grid_s)) / dt


def _at_start(measured: Measurement) -> tuple[F64, F64]:
    """Position and velocity (c,) where a motion under way begins, from a line through a few."""
    few = min(5, len(measured.state_s))
    time_s = measured.state_s[:few] - measured.state_s[0]
    slope, position = np.polyfit(time_s, measured.position[:few], 1)
    return position, slope if measured.velocity is None else measured.velocity[0]


def _interpolate(position: F64, velocity: F64, step: I64, share: F64, dt: float) -> Prediction:
    """States (n, steps + 1, c) at `step + share`, by cubics through positions and velocities."""
    if not share.any():
        return Prediction(position=position[:, step], velocity=velocity[:, step])
    after = np.minimum(step + 1, position.shape[1] - 1)
    s = share[:, None]
    q0, q1 = position[:, step], position[:, after]
    v0, v1 = velocity[:, step], velocity[:, after]
    h00, h10 = (1 + 2 * s) * (1 - s) ** 2, s * (1 - s) ** 2
    h01, h11 = s**2 * (3 - 2 * s), s**2 * (s - 1)
    return Prediction(
        position=h00 * q0 + h10 * dt * v0 + h01 * q1 + h11 * dt * v1,
        velocity=(1 - s) * v0 + s * v1,
    )
