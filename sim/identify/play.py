"""A motion on a simulated arm, through the command path of every robot, as a measurement.

**motion → measurement** → parameters → fit → posterior → twins drawn from it

Target → `SafetyFilter` → `Drive` (the driver of the twin) → physics. What is recorded as the
command is what the drive was told after all limits. A hidden twin plays through this very code.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from robot_rl.control.safety import SafetyFilter
from robot_rl.errors import ConfigError, DataError
from robot_rl.types import F64, Command, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.drive import Drive
from sim.identify.measurement import Measurement
from sim.identify.motion import Motion
from sim.twin import Layout

__all__ = ["SOFT_SHARE", "EncoderCfg", "play_motion"]

SOFT_SHARE = 0.1
"""Of the drives' gains while exciting: a stiff drive hides what the joint does behind its own."""


@dataclass(frozen=True, kw_only=True)
class EncoderCfg:
    """How well joints are measured."""

    position_std_rad: float = 3e-4
    """White noise of angles."""
    velocity_std_rad_s: float = 5e-3
    """White noise of velocities."""

    def __post_init__(self) -> None:
        """Refuse noise that is not positive: weights are its inverse."""
        for key in ("position_std_rad", "velocity_std_rad_s"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"encoders: {key} is {getattr(self, key)}, must be positive.")


def play_motion(
    model: mujoco.MjModel,
    robot: RobotSpec,
    motion: Motion,
    *,
    encoders: EncoderCfg | None = None,
    seed: int | None = 0,
    source: str = "twin",
) -> Measurement:
    """Move the arm of a model, at rest where the motion begins, and measure it.

    Args:
        model: Compiled; its timestep must divide 10 ms.
        robot: Its arms and limits.
        motion: What to do.
        encoders: How well it is measured.
        seed: Of the noise; None measures without any.
        source: What the measurement is called.

    Raises:
        DataError: Safety would change the motion, so that it is not what was asked for.
    """
    encoders = encoders or EncoderCfg()
    layout, data = Layout(model, robot), mujoco.MjData(model)
    substeps = round(BRIDGE_PERIOD_S / model.opt.timestep)
    widths = np.array([arm.gripper.max_width_m for arm in robot.arms if arm.gripper is not None])
    _stand(model, data, layout, motion.q_rad[0], widths)
    safety, drive = SafetyFilter(robot, period_s=BRIDGE_PERIOD_S), Drive(robot.arms, timeout_s=0.1)
    drive.start(motion.q_rad[0], widths)
    sent = Command(q_rad=motion.q_rad[0], gripper_m=widths, stamp_s=0.0)
    commands, states = [], [(data.qpos[layout.qpos].copy(), data.qvel[layout.dof].copy())]
    for tick, target in enumerate(motion.q_rad):
        stamp_s = tick * BRIDGE_PERIOD_S
        asked = Command(q_rad=target, gripper_m=widths, stamp_s=stamp_s)
        sent, flags = safety.filter(asked, sent)
        if any(flags):
            acted = [name for name, flag in flags._asdict().items() if flag]
            raise DataError(
                f"{source}: safety ({', '.join(acted)}) changed the motion at {stamp_s:.2f} s. "
                "Give it a smaller amplitude, or another middle."
            )
        drive.aim(sent.q_rad)
        setpoint, _ = drive.step()
        commands.append(setpoint.copy())
        data.ctrl[layout.ctrl] = setpoint
        mujoco.mj_step(model, data, nstep=substeps)
        states.append((data.qpos[layout.qpos].copy(), data.qvel[layout.dof].copy()))
    position, velocity = (np.stack(column) for column in zip(*states, strict=True))
    if not (np.isfinite(position).all() and np.abs(velocity).max() < 1e3):
        raise DataError(f"{source}: the simulated arm became unstable. Use stiffer damping.")
    return _measured(motion, commands, position, velocity, encoders, seed, source)


def _measured(
    motion: Motion,
    commands: list[F64],
    position: F64,
    velocity: F64,
    encoders: EncoderCfg,
    seed: int | None,
    source: str,
) -> Measurement:
    """What encoders say of states (k, dof)."""
    shape = np.ones(len(motion.joints))
    if seed is not None:
        rng = np.random.default_rng(seed)
        position = position + encoders.position_std_rad * rng.normal(size=position.shape)
        velocity = velocity + encoders.velocity_std_rad_s * rng.normal(size=velocity.shape)
    return Measurement(
        channels=motion.joints,
        command_s=BRIDGE_PERIOD_S * np.arange(len(commands), dtype=np.float64),
        command=np.stack(commands),
        state_s=BRIDGE_PERIOD_S * np.arange(len(position), dtype=np.float64),
        position=position,
        velocity=velocity,
        position_std=encoders.position_std_rad * shape,
        velocity_std=encoders.velocity_std_rad_s * shape,
        source=source,
    )


def _stand(
    model: mujoco.MjModel, data: mujoco.MjData, layout: Layout, q_rad: F64, widths: F64
) -> None:
    """Put the arm at rest, grippers open, and its delayed drives at what they hold."""
    mujoco.mj_resetData(model, data)
    data.qpos[layout.qpos], data.ctrl[layout.ctrl] = q_rad, q_rad
    data.qpos[layout.finger] = widths[:, None] / 2
    data.ctrl[layout.gripper_ctrl] = widths
    for row in range(model.nu):
        samples = int(model.actuator_history[row, 0])
        if samples:
            mujoco.mj_initCtrlHistory(
                model, data, row, None, np.full((samples, 1), data.ctrl[row])
            )
