"""A robot without physics: joints follow their command at first order. For tests and dry runs.

command:   … → decode → safety → **send**

It passes the conformance suite, and its faults are public options, so that everything above the
port can be shown to survive them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_rl.clock import Clock, ManualClock
from robot_rl.control.franka import franka_like_spec
from robot_rl.control.kinematics import forward
from robot_rl.env.task import Task
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import F32, F64, CameraSpec, Command, Image, RobotSpec, RobotState

__all__ = ["FakePort", "FakePortCfg", "fake_reach_task"]

_NEVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class FakePortCfg:
    """How the fake robot moves, and when after `reset` it fails."""

    time_constant_s: float = 0.05
    """Joints and grippers cover 63 % of the way to their command in this time."""
    start_noise_rad: float = 0.05
    """Start joints are drawn this far around home."""
    freeze_after_s: float = _NEVER
    """From then on, reads return the last state with its old stamp."""
    refuse_after_s: float = _NEVER
    """From then on, `read` and `send` raise `PortError`."""
    nan_after_s: float = _NEVER
    """From then on, joint positions read as NaN."""

    def __post_init__(self) -> None:
        """Refuse a robot that could not move."""
        if not self.time_constant_s > 0:
            raise ConfigError(
                f"fake port: time_constant_s is {self.time_constant_s}, but must be positive."
            )


class FakePort:
    """A `RobotPort` over plain arithmetic, in its own manual time.

    Tracked poses are drawn within the first arm's reach at each `reset` and stay there; signals
    are zero; images show the tool of the first arm as a bright square.
    """

    def __init__(self, spec: RobotSpec | None = None, cfg: FakePortCfg | None = None) -> None:
        self._spec = spec or franka_like_spec("fake", tracked=("goal",))
        self._cfg = cfg or FakePortCfg()
        self._clock = ManualClock()
        self._is_connected = False
        arms = self._spec.arms
        self._home = np.concatenate([arm.home_rad for arm in arms])
        self._lower = np.concatenate([arm.joint_lower_rad for arm in arms])
        self._upper = np.concatenate([arm.joint_upper_rad for arm in arms])
        grippers = [arm.gripper for arm in arms if arm.gripper is not None]
        self._max_width_m = np.array([gripper.max_width_m for gripper in grippers])
        self._q = self._q_target = self._home
        self._dq = np.zeros_like(self._home)
        self._gripper = self._gripper_target = self._max_width_m
        self._poses: Mapping[str, F64] = {}
        self._start_s = self._moved_s = 0.0
        self._last: RobotState | None = None
        self._frame_number = 0

    @property
    def spec(self) -> RobotSpec:
        """See `RobotPort.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `RobotPort.clock`."""
        return self._clock

    def connect(self) -> None:
        """See `RobotPort.connect`."""
        if not self._is_connected:
            self._is_connected = True
            self._draw(seed=0)

    def reset(self, seed: int) -> None:
        """See `RobotPort.reset`."""
        self._require_connection()
        self._draw(seed)

    def read(self) -> RobotState:
        """See `RobotPort.read`."""
        self._require_connection()
        elapsed_s = self._clock.now() - self._start_s
        if elapsed_s >= self._cfg.freeze_after_s and self._last is not None:
            return self._last
        self._move()
        q = np.full_like(self._q, np.nan) if elapsed_s >= self._cfg.nan_after_s else self._q
        self._last = RobotState(
            stamp_s=self._clock.now(),
            q_rad=q.copy(),
            dq_rad_s=self._dq.copy(),
            gripper_m=self._gripper.copy(),
            poses=self._poses,
            signals={name: np.zeros(length) for name, length in self._spec.signals.items()},
            images={camera.name: self._image(camera) for camera in self._spec.cameras},
        )
        return self._last

    def send(self, command: Command) -> Command:
        """See `RobotPort.send`; the limits of this port are joint range and gripper width."""
        self._require_connection()
        for name, value, like in (
            ("command: q_rad", command.q_rad, self._q),
            ("command: gripper_m", command.gripper_m, self._gripper),
        ):
            if np.shape(value) != like.shape:
                raise ShapeError(name, np.shape(value), like.shape)
            # The array inside a checked command may have been edited since.
            if not np.isfinite(value).all():
                raise NonFiniteError(name, value, "Stop the policy that produced it.")
        self._move()
        self._q_target = np.minimum(np.maximum(command.q_rad, self._lower), self._upper)
        width = np.minimum(np.maximum(command.gripper_m, 0.0), self._max_width_m)
        self._gripper_target = width
        return Command(
            q_rad=self._q_target.copy(), gripper_m=width.copy(), stamp_s=command.stamp_s
        )

    def stop(self) -> None:
        """See `RobotPort.stop`."""
        self._move()
        self._q_target, self._gripper_target = self._q, self._gripper

    def close(self) -> None:
        """See `RobotPort.close`."""
        self.stop()
        self._is_connected = False

    def _require_connection(self) -> None:
        """Refuse while not connected, and once the refusal fault is due."""
        if not self._is_connected:
            raise PortError(f"robot '{self._spec.name}' is not connected. Call connect() first.")
        if self._clock.now() - self._start_s >= self._cfg.refuse_after_s:
            raise PortError(f"robot '{self._spec.name}' refuses. Call reset() to begin again.")

    def _draw(self, seed: int) -> None:
        """Put robot and scene to the start of the episode that belongs to `seed`."""
        rng = np.random.default_rng(seed)
        noise = rng.uniform(-1.0, 1.0, self._home.shape) * self._cfg.start_noise_rad
        self._q = np.minimum(np.maximum(self._home + noise, self._lower), self._upper)
        self._q_target, self._dq = self._q, np.zeros_like(self._q)
        self._gripper = self._gripper_target = self._max_width_m
        arm = self._spec.arms[0]
        poses: dict[str, F64] = {}
        for name in self._spec.tracked:
            # Drawn through the joints, a pose is within reach.
            q = arm.home_rad + rng.uniform(-0.4, 0.4, arm.dof)
            p_base = forward(arm, q)[:3, 3]
            p_base = np.clip(p_base, arm.workspace_lower_m, arm.workspace_upper_m)
            p_world = arm.T_world_base[:3, :3] @ p_base + arm.T_world_base[:3, 3]
            poses[name] = np.concatenate([p_world, [1.0, 0.0, 0.0, 0.0]])
        self._poses = poses
        self._start_s = self._moved_s = self._clock.now()
        self._last = None

    def _move(self) -> None:
        """Bring joints and grippers to the present, exactly, whatever time has passed."""
        now_s = self._clock.now()
        share = -np.expm1((self._moved_s - now_s) / self._cfg.time_constant_s)
        self._q = self._q + share * (self._q_target - self._q)
        self._gripper = self._gripper + share * (self._gripper_target - self._gripper)
        self._dq = (self._q_target - self._q) / self._cfg.time_constant_s
        self._moved_s = now_s

    def _image(self, camera: CameraSpec) -> Image:
        """The tool seen from above: grey, with a white square where it is."""
        rgb = np.full((camera.height_px, camera.width_px, 3), 64, np.uint8)
        arm = self._spec.arms[0]
        tool = forward(arm, self._q[: arm.dof])[:3, 3]
        share = (tool - arm.workspace_lower_m) / (arm.workspace_upper_m - arm.workspace_lower_m)
        row, column = (np.clip(share[:2], 0.0, 0.9) * rgb.shape[:2]).astype(int)
        size = max(2, camera.height_px // 10)
        rgb[row : row + size, column : column + size] = 255
        self._frame_number += 1
        return Image(rgb=rgb, stamp_s=self._clock.now(), frame_number=self._frame_number)


def fake_reach_task(spec: RobotSpec, *, horizon: int = 60, tolerance_m: float = 0.02) -> Task:
    """Bring the first arm's tool to the first tracked pose, without turning or gripping.

    Raises:
        ConfigError: The robot tracks nothing.
    """
    if not spec.tracked:
        raise ConfigError(f"robot '{spec.name}' tracks no pose to reach. Name one in `tracked`.")
    arm, goal = spec.arms[0], spec.tracked[0]

    def way(state: RobotState) -> F64:
        """From tool to goal, (3,) [m] in world."""
        T_world_tcp = arm.T_world_base @ forward(arm, state.q_rad[: arm.dof])
        return state.poses[goal][:3] - T_world_tcp[:3, 3]

    def features(state: RobotState) -> F32:
        return np.concatenate([way(state), state.q_rad]).astype(np.float32)

    def achieved(state: RobotState) -> bool:
        return bool(np.linalg.norm(way(state)) < tolerance_m)

    return Task(
        name="fake-reach",
        instruction="bring the tool to the goal",
        control_hz=20.0,
        horizon=horizon,
        hold_s=0.1,
        features=features,
        feature_dim=3 + spec.dof,
        achieved=achieved,
        use_rotation=False,
        use_gripper=False,
    )
