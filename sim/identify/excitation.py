"""Motions that tell much about an arm and stay within all its limits.

**motion** → measurement → parameters → fit → posterior → twins drawn from it

Each joint follows a sum of a few harmonics (Fourier series) that begins and ends at rest. Some are
drawn; each is made as large as limits and clearances allow; the one is taken from which the
nominal twin says most would be learned.

Ref: Swevers et al. 1997, "Optimal robot excitation and identification".
"""

from collections.abc import Callable

import mujoco
import numpy as np

from robot_rl.errors import DataError, ShapeError
from robot_rl.types import F64, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.clearance import Clearance
from sim.identify.least_squares import jacobian
from sim.identify.measurement import Measurement
from sim.identify.motion import ExcitationCfg, Motion, check_motion, smooth_rise
from sim.identify.parameters import ParameterSet
from sim.identify.replay import MotionReplay

__all__ = ["find_motion", "information", "logdet"]

_HALVINGS = 6
_DRAWS = 20  # for each candidate until one can be made large enough
_LEAST_SCALE = 0.2
_EXPECTED_STD = (3e-4, 5e-3)  # [rad, rad/s] of encoders, to weigh what would be learned


def find_motion(
    spec: mujoco.MjSpec,
    robot: RobotSpec,
    parameters: ParameterSet | None,
    cfg: ExcitationCfg | None = None,
    *,
    seed: int = 0,
    middle_rad: F64 | None = None,
    may_brake: bool = False,
) -> Motion:
    """The most informative of some motions that keep all limits.

    Args:
        spec: The nominal twin.
        robot: Its arms and their limits.
        parameters: What is to be learned; without them the first motion is taken.
        cfg: What the motion is like.
        seed: Draws it.
        middle_rad: (dof,) about which the joints move (default: home).
        may_brake: Keep the limits also where the arm would stand if it braked at any instant.

    Raises:
        DataError: No motion keeps the limits; says what is in the way.
        ShapeError: The middle is of another number of joints.
    """
    cfg = cfg or ExcitationCfg()
    rng = np.random.default_rng(seed)
    home = np.concatenate([arm.home_rad for arm in robot.arms])
    middle = home if middle_rad is None else np.asarray(middle_rad, np.float64)
    if middle.shape != home.shape:
        raise ShapeError("middle of the motion", middle.shape, home.shape)
    clearance = Clearance(spec.copy().compile(), robot)
    joints = tuple(name for arm in robot.arms for name in arm.joint_names)
    motions = [
        Motion(joints=joints, q_rad=_draw(robot, clearance, middle, cfg, rng, may_brake))
        for _ in range(cfg.candidates if parameters is not None else 1)
    ]
    if parameters is None or len(motions) == 1:
        return motions[0]
    scores = [logdet(parameters, information(spec, parameters, motion)) for motion in motions]
    return motions[int(np.argmax(scores))]


def information(spec: mujoco.MjSpec, parameters: ParameterSet, motion: Motion) -> F64:
    """(p, p) what the nominal twin says a motion would tell, J^T J with usual encoders."""
    ticks = len(motion.q_rad)
    stamps = BRIDGE_PERIOD_S * np.arange(ticks, dtype=np.float64)
    shape = np.ones(len(motion.joints))
    expected = Measurement(
        channels=motion.joints,
        command_s=stamps,
        command=motion.q_rad,
        state_s=stamps,
        position=motion.q_rad,
        velocity=np.gradient(motion.q_rad, BRIDGE_PERIOD_S, axis=0),
        position_std=_EXPECTED_STD[0] * shape,
        velocity_std=_EXPECTED_STD[1] * shape,
        source="planned motion",
    )
    replay = MotionReplay(spec.copy(), parameters, [expected])
    J = jacobian(parameters, replay.residuals, parameters.clip(parameters.prior_mean))
    return J.T @ J


def logdet(parameters: ParameterSet, information: F64) -> float:
    """How much is learned of all parameters together [nat], half the log of det(1 + S I S).

    The trace would put all into the parameter that is learned best anyway.
    """
    std = parameters.prior_std
    scaled = np.eye(len(std)) + information * np.outer(std, std)
    return 0.5 * float(np.linalg.slogdet(scaled)[1])


def _draw(
    robot: RobotSpec,
    clearance: Clearance,
    middle: F64,
    cfg: ExcitationCfg,
    rng: np.random.Generator,
    may_brake: bool,
) -> F64:
    """(m, dof) one motion, as large as limits allow."""

    def problem_of(q_rad: F64) -> str | None:
        return check_motion(robot, clearance, q_rad, cfg, may_brake=may_brake)

    problem = problem_of(np.tile(middle, (3, 1)))
    if problem:
        raise DataError(
            f"the middle of the motion, {np.round(middle, 3).tolist()} rad, already violates "
            f"{problem}. Give another --middle-rad, or smaller margins."
        )
    for _ in range(_DRAWS):
        shape = _series(cfg, len(middle), rng)
        scale, problem = _largest_scale(middle, shape, problem_of)
        if scale >= _LEAST_SCALE:
            return middle + scale * shape
    raise DataError(
        f"no motion about {np.round(middle, 3).tolist()} rad keeps all limits: {problem} is in "
        "the way. Give another --middle-rad, a smaller amplitude or a lower frequency."
    )


def _largest_scale(
    middle: F64, shape: F64, problem_of: Callable[[F64], str | None]
) -> tuple[float, str | None]:
    """The largest share of a motion that keeps all limits, and what keeps it from more."""
    problem = problem_of(middle + shape)
    if problem is None:
        return 1.0, None
    low, high = 0.0, 1.0 - 1e-3  # all of it has just failed
    for _ in range(_HALVINGS):
        tried = 0.5 * (low + high)
        found = problem_of(middle + tried * shape)
        low, high = (tried, high) if found is None else (low, tried)
        problem = found or problem
    return low, problem


def _series(cfg: ExcitationCfg, dof: int, rng: np.random.Generator) -> F64:
    """(m, dof) [rad] a Fourier series, from rest to rest, each joint at its full amplitude."""
    ticks = round(cfg.duration_s / BRIDGE_PERIOD_S)
    rest = round(cfg.rest_s / BRIDGE_PERIOD_S)
    time_s = BRIDGE_PERIOD_S * np.arange(ticks - 2 * rest)
    orders = 2 * np.pi * cfg.base_hz * np.arange(1, cfg.harmonics + 1)
    phases = time_s[:, None, None] * orders
    a, b = rng.normal(size=(2, dof, cfg.harmonics))
    wave = (a * np.sin(phases) + b * np.cos(phases)).sum(-1)
    rise = np.clip(np.minimum(time_s, time_s[-1] - time_s) / min(1.0, 0.25 * time_s[-1]), 0, 1)
    wave *= smooth_rise(rise)[:, None]
    wave *= cfg.amplitude_rad / np.abs(wave).max(0)
    still = np.zeros((rest, dof))
    return np.concatenate((still, wave, still))
