"""From what a port reads to what a policy sees; the recorder uses the same builder.

command:   camera, arm → **observe** → policy (base + residual) → decode → safety → send

In state form the policy sees the task's features; in pixel form it sees joints and cameras only,
never a privileged pose.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from robot_rl.control.kinematics import forward
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import F32, F64, U8, RobotSpec, RobotState

__all__ = ["ObservationBuilder", "ObserveCfg", "Observed", "ObservedTask", "proprioception"]


class ObservedTask(Protocol):
    """The part of a `Task` that observing reads."""

    @property
    def features(self) -> Callable[[RobotState], F32]:
        """State observation (feature_dim,)."""
        ...

    @property
    def feature_dim(self) -> int:
        """Length of `features`."""
        ...

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        ...


@dataclass(frozen=True, kw_only=True)
class ObserveCfg:
    """What of the robot's state a policy sees."""

    pixels: bool = False
    """Whether cameras and proprioception take the place of the task's features."""
    use_proprioception: bool = False
    """Whether joints and tool poses precede the features; pixel form always has them."""
    frames: int = 1
    """How many of the last state vectors are stacked, oldest first; images are not stacked."""
    use_time: bool = False
    """Whether the remaining share of the horizon is appended."""
    max_age_s: float = 0.2
    """Older observations are refused."""
    hold_when_stale: bool = False
    """Whether a stale observation is flagged, and the arm held, instead of raising an error."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.frames < 1 or not self.max_age_s > 0:
            raise ConfigError(
                f"observe: frames is {self.frames} and must be at least 1; max_age_s is "
                f"{self.max_age_s} and must be positive."
            )


class Observed(NamedTuple):
    """One observation: float32 (d,), or a dict with "state" and uint8 (h, w, 3) cameras."""

    obs: F32 | dict[str, F32 | U8]
    age_s: float  # of its oldest part
    is_stale: bool


def proprioception(spec: RobotSpec, state: RobotState) -> F32:
    """What the robot feels: joints, grippers and, per arm, tool position and two axes in base.

    Returns:
        (2 * dof + num_grippers + 9 * arms,) [rad, rad/s, m, m, -].
    """
    parts = [state.q_rad, state.dq_rad_s, state.gripper_m]
    joint = 0
    for arm in spec.arms:
        T = forward(arm, state.q_rad[joint : joint + arm.dof])
        # Two axes of the rotation matrix: continuous, unlike quaternions (Zhou et al. 2019).
        parts += [T[:3, 3], T[:3, 0], T[:3, 1]]
        joint += arm.dof
    return np.concatenate(parts).astype(np.float32)


class ObservationBuilder:
    """Builds observations of one robot and task, and remembers the last frames of an episode."""

    def __init__(self, spec: RobotSpec, task: ObservedTask, cfg: ObserveCfg) -> None:
        if cfg.pixels and not spec.cameras:
            raise ConfigError(
                f"observe: pixels need a camera, but robot '{spec.name}' has none. "
                "Add a CameraSpec, or use the state form."
            )
        self._spec, self._task, self._cfg = spec, task, cfg
        self._feels = cfg.pixels or cfg.use_proprioception
        self._frames: deque[F32] = deque(maxlen=cfg.frames)
        felt = 2 * spec.dof + spec.num_grippers + 9 * len(spec.arms)
        frame = self._feels * felt + (not cfg.pixels) * task.feature_dim
        self.state_dim = cfg.frames * frame + cfg.use_time
        self.image_shapes: dict[str, tuple[int, int, int]] = {}
        if cfg.pixels:
            self.image_shapes = {c.name: (c.height_px, c.width_px, 3) for c in spec.cameras}

    def reset(self) -> None:
        """Forget the last episode's frames."""
        self._frames.clear()

    def age_s(self, state: RobotState, now_s: float) -> float:
        """Age [s] of the oldest part of a state that the policy sees."""
        stamp_s = state.stamp_s
        for name in self.image_shapes:
            if name not in state.images:
                raise PortError(
                    f"camera '{name}' gave no image; the state has "
                    f"{sorted(state.images) or 'none'}. Check that it streams."
                )
            stamp_s = min(stamp_s, state.images[name].stamp_s)
        return now_s - stamp_s

    def observe(self, state: RobotState, *, now_s: float, step: int) -> Observed:
        """Add one state to the episode, and return what the policy sees of it.

        Args:
            state: What the port read.
            now_s: Time by the port's clock.
            step: Steps done in this episode.

        Raises:
            PortError: The state is older than `max_age_s`, or an image is missing.
            NonFiniteError: The state holds NaN or infinity.
            ShapeError: Features or an image have another shape than task and spec say.
        """
        age_s = self.age_s(state, now_s)
        is_stale = age_s > self._cfg.max_age_s
        if is_stale and not self._cfg.hold_when_stale:
            raise PortError(
                f"observation is {age_s:.3f} s old, but at most {self._cfg.max_age_s} s is "
                "allowed. Check that arm and cameras still stream, or raise max_age_s."
            )
        frame = self._frame(state)
        while len(self._frames) < self._cfg.frames - 1:  # the first frame stands for the past
            self._frames.append(frame)
        self._frames.append(frame)
        vector = frame if self._cfg.frames == 1 else np.concatenate(self._frames)
        if self._cfg.use_time:
            remaining = np.float32(1.0 - step / self._task.horizon)
            vector = np.append(vector, remaining)
        if not self._cfg.pixels:
            return Observed(vector, age_s, is_stale)
        obs: dict[str, F32 | U8] = {"state": vector}
        for name, shape in self.image_shapes.items():
            rgb = state.images[name].rgb
            if rgb.shape != shape:
                raise ShapeError(f"image of camera '{name}'", rgb.shape, shape)
            obs[name] = rgb
        return Observed(obs, age_s, is_stale)

    def _frame(self, state: RobotState) -> F32:
        """One state vector, (frame,), checked: nothing later looks for NaN."""
        vector: F32 | F64 = np.empty(0, np.float32)
        if self._feels:
            vector = proprioception(self._spec, state)
        if not self._cfg.pixels:
            features = np.asarray(self._task.features(state), np.float32)
            if features.shape != (self._task.feature_dim,):
                raise ShapeError("task features", features.shape, (self._task.feature_dim,))
            vector = np.concatenate([vector, features]) if self._feels else features
        if not np.isfinite(vector).all():
            raise NonFiniteError("robot state", vector, "Stop the robot and check its sensors.")
        return vector.astype(np.float32)
