"""Motions that tell much about an arm and stay within all its limits.

**motion** → measurement → parameters → fit → posterior → twins drawn from it

Each joint follows a sum of a few harmonics (Fourier series) that begins and ends at rest. Some are
drawn; each is made as large as limits and clearances allow; the one is taken from which the
nominal twin says most would be learned.

Ref: Swevers et al. 1997, "Optimal robot excitation and identification".
"""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from robot_rl.config import from_plain, to_plain
from robot_rl.control.safety import SafetyFilter
from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.types import F64, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.clearance import Clearance
from sim.identify.least_squares import jacobian
from sim.identify.measurement import Measurement
from sim.identify.parameters import ParameterSet
from sim.identify.replay import MotionReplay

__all__ = ["ExcitationCfg", "Motion", "check_motion", "find_motion", "information", "logdet"]

_CHECK_EVERY = 10  # ticks between looks at clearances
_HALVINGS = 6
_DRAWS = 20  # for each candidate until one can be made large enough
_LEAST_SCALE = 0.2
_EXPECTED_STD = (3e-4, 5e-3)  # [rad, rad/s] of encoders, to weigh what would be learned


@dataclass(frozen=True, kw_only=True)
class ExcitationCfg:
    """What the motion is like. Shares are of the limits in the robot's description."""

    duration_s: float = 8.0
    """With the rest at both ends."""
    rest_s: float = 0.5
    """Standing still at the beginning and the end, for the noise and the start."""
    harmonics: int = 5
    """Sines and cosines of each joint."""
    base_hz: float = 0.2
    """The slowest."""
    amplitude_rad: float = 0.5
    """Largest way of a joint from the middle of the motion."""
    velocity_share: float = 0.8
    """Of the joints' velocity limits."""
    acceleration_share: float = 0.8
    """Of the joints' acceleration limits."""
    range_margin_rad: float = 0.1
    """From the ends of the joints' ranges."""
    clearance_m: float = 0.03
    """From the table and from the arm itself."""
    candidates: int = 6
    """Motions among which the most informative is chosen."""

    def __post_init__(self) -> None:
        """Refuse what leaves no time or no room to move."""
        for key in ("harmonics", "candidates"):
            if getattr(self, key) < 1:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be >= 1.")
        for key in ("rest_s", "base_hz", "amplitude_rad", "clearance_m"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be positive.")
        for key in ("velocity_share", "acceleration_share"):
            if not 0 < getattr(self, key) <= 1:
                raise ConfigError(f"excitation: {key} is {getattr(self, key)}, must be in (0, 1].")
        if not self.duration_s >= 2 * self.rest_s + 1.0:
            raise ConfigError(
                f"excitation: duration_s is {self.duration_s}, but must leave a second of motion "
                f"between two rests of {self.rest_s} s."
            )
        if not self.range_margin_rad >= 0:
            raise ConfigError(
                f"excitation: range_margin_rad is {self.range_margin_rad}, must be >= 0."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Joint targets, one a tick of the bridge (10 ms)."""

    joints: tuple[str, ...]
    q_rad: F64  # (m, dof)

    @property
    def duration_s(self) -> float:
        """How long it takes."""
        return len(self.q_rad) * BRIDGE_PERIOD_S

    @property
    def peaks(self) -> dict[str, float]:
        """Largest way, speed and acceleration of any joint."""
        dq = np.diff(self.q_rad, axis=0) / BRIDGE_PERIOD_S
        return {
            "range_rad": float(np.ptp(self.q_rad, axis=0).max()),
            "speed_rad_s": float(np.abs(dq).max()),
            "acceleration_rad_s2": float(np.abs(np.diff(dq, axis=0)).max() / BRIDGE_PERIOD_S),
        }

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return to_plain({"joints": self.joints, "q_rad": self.q_rad})

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> "Motion":
        """What `to_plain` gave.

        Raises:
            ConfigError: It is none.
        """
        plain = from_plain(_PlainMotion, data, "motion")
        return cls(joints=plain.joints, q_rad=np.array(plain.q_rad))


@dataclass(frozen=True, kw_only=True)
class _PlainMotion:
    joints: tuple[str, ...]
    q_rad: list[list[float]]


def find_motion(
    spec: mujoco.MjSpec,
    robot: RobotSpec,
    parameters: ParameterSet | None,
    cfg: ExcitationCfg | None = None,
    *,
    seed: int = 0,
    middle_rad: F64 | None = None,
) -> Motion:
    """The most informative of some motions that keep all limits.

    Args:
        spec: The nominal twin.
        robot: Its arms and their limits.
        parameters: What is to be learned; without them the first motion is taken.
        cfg: What the motion is like.
        seed: Draws it.
        middle_rad: (dof,) about which the joints move (default: home).

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
        Motion(joints=joints, q_rad=_draw(robot, clearance, middle, cfg, rng))
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


def check_motion(
    robot: RobotSpec, clearance: Clearance, q_rad: F64, cfg: ExcitationCfg
) -> str | None:
    """What a motion (m, dof) would violate, in words; None if nothing."""
    lower, upper, velocity, acceleration = _limits(robot)
    if ((q_rad < lower + cfg.range_margin_rad) | (q_rad > upper - cfg.range_margin_rad)).any():
        return "joint ranges"
    dq = np.diff(q_rad, axis=0) / BRIDGE_PERIOD_S
    if (np.abs(dq) > cfg.velocity_share * velocity).any():
        return "joint velocities"
    ddq = np.diff(dq, axis=0) / BRIDGE_PERIOD_S
    if (np.abs(ddq) > cfg.acceleration_share * acceleration).any():
        return "joint accelerations"
    widths = np.zeros((len(q_rad) - 1, robot.num_grippers))
    kept, _, _ = SafetyFilter(robot, period_s=BRIDGE_PERIOD_S).filter_batch(
        q_rad[1:], widths, q_rad[:-1], widths
    )
    if np.abs(kept - q_rad[1:]).max() > 0:
        return "the workspace box of the tool"
    least_m, where = clearance.least_m(q_rad[::_CHECK_EVERY])
    if least_m < cfg.clearance_m:
        return f"the clearance between {where}"
    return None


def _limits(robot: RobotSpec) -> tuple[F64, F64, F64, F64]:
    """Lower, upper [rad], velocity [rad/s] and acceleration [rad/s²] limits (dof,)."""
    arms = robot.arms
    return (
        np.concatenate([arm.joint_lower_rad for arm in arms]),
        np.concatenate([arm.joint_upper_rad for arm in arms]),
        np.concatenate([arm.joint_velocity_limit_rad_s for arm in arms]),
        np.concatenate([arm.joint_acceleration_limit_rad_s2 for arm in arms]),
    )


def _draw(
    robot: RobotSpec,
    clearance: Clearance,
    middle: F64,
    cfg: ExcitationCfg,
    rng: np.random.Generator,
) -> F64:
    """(m, dof) one motion, as large as limits allow."""
    problem = check_motion(robot, clearance, np.tile(middle, (3, 1)), cfg)
    if problem:
        raise DataError(
            f"the middle of the motion, {np.round(middle, 3).tolist()} rad, already violates "
            f"{problem}. Give another --middle-rad, or smaller margins."
        )
    for _ in range(_DRAWS):
        shape = _series(cfg, len(middle), rng)
        scale, problem = _largest_scale(robot, clearance, middle, shape, cfg)
        if scale >= _LEAST_SCALE:
            return middle + scale * shape
    raise DataError(
        f"no motion about {np.round(middle, 3).tolist()} rad keeps all limits: {problem} is in "
        "the way. Give another --middle-rad, a smaller amplitude or a lower frequency."
    )


def _largest_scale(
    robot: RobotSpec, clearance: Clearance, middle: F64, shape: F64, cfg: ExcitationCfg
) -> tuple[float, str | None]:
    """The largest share of a motion that keeps all limits, and what keeps it from more."""
    problem = check_motion(robot, clearance, middle + shape, cfg)
    if problem is None:
        return 1.0, None
    low, high = 0.0, 1.0 - 1e-3  # all of it has just failed
    for _ in range(_HALVINGS):
        tried = 0.5 * (low + high)
        found = check_motion(robot, clearance, middle + tried * shape, cfg)
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
    wave *= (rise**3 * (10 - 15 * rise + 6 * rise**2))[:, None]  # smooth to the second derivative
    wave *= cfg.amplitude_rad / np.abs(wave).max(0)
    still = np.zeros((rest, dof))
    return np.concatenate((still, wave, still))
