"""The twin as a robot: the same commands, limits and stamps, and time that physics makes.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

Waiting on the clock steps the scene. Between policy and drives stands the same 100 Hz
interpolation as in the arm bridge of the real robot.
"""

from collections import deque
from dataclasses import replace

import mujoco
import numpy as np

from robot_rl.clock import Clock
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import F64, U8, CameraSpec, Command, Image, RobotSpec, RobotState
from sim.bridge import BRIDGE_PERIOD_S, Bridge
from sim.cameras import CameraRig
from sim.simulation import Simulation
from sim.twin import Start, Twin

__all__ = ["SimPort"]


class _SimClock:
    """Time of the twin; whole bridge ticks, so that it never drifts."""

    def __init__(self, port: "SimPort") -> None:
        self._port = port
        self.ticks = 0

    def now(self) -> float:
        """See `robot_rl.clock.Clock.now`."""
        return self.ticks * BRIDGE_PERIOD_S

    def sleep_until(self, time_s: float) -> None:
        """Step physics, in ticks of 10 ms, until `time_s` is reached."""
        for _ in range(int(np.ceil((time_s - self.now()) / BRIDGE_PERIOD_S - 1e-6))):
            self._port.tick()
            self.ticks += 1


class SimPort:
    """A `RobotPort` over one MuJoCo scene.

    Args:
        twin: The task whose scene this is.
        delay_s: How long a command travels before the bridge acts on it.
        cameras: Which cameras to read; each image is rendered once a tick, when it is read.
    """

    def __init__(
        self, twin: Twin, *, delay_s: float = 0.0, cameras: tuple[CameraSpec, ...] = ()
    ) -> None:
        if delay_s < 0:
            raise ConfigError(f"delay_s is {delay_s}, but must be >= 0.")
        self._twin, self._spec = twin, replace(twin.robot, cameras=cameras)
        self._rigs: dict[tuple[int, int], CameraRig] = {}
        self._images: dict[str, Image] = {}
        self._frame = 0
        self._delay_ticks = round(delay_s / BRIDGE_PERIOD_S)
        self._clock = _SimClock(self)
        self._bridge = Bridge(twin.robot.arms)
        self._pending: deque[tuple[int, F64, F64]] = deque()
        self._simulation: Simulation | None = None

    @property
    def spec(self) -> RobotSpec:
        """See `RobotPort.spec`."""
        return self._spec

    @property
    def twin(self) -> Twin:
        """The task whose scene this is."""
        return self._twin

    @property
    def clock(self) -> Clock:
        """See `RobotPort.clock`."""
        return self._clock

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled scene, for rendering and identification."""
        return self._connected().model

    @property
    def data(self) -> mujoco.MjData:
        """The scene's state, for rendering and identification."""
        return self._connected().data

    def connect(self) -> None:
        """Compile the scene and put it at its first start (seed 0)."""
        if self._simulation is None:
            self._simulation = Simulation(self._twin)
            self.reset(0)

    def reset(self, seed: int) -> None:
        """Redraw the scene from `seed`; time goes on."""
        self.place(self._connected().draw(seed))

    def place(self, start: Start) -> None:
        """Put the scene at a given start."""
        self._connected().place(start)
        self._pending.clear()
        self._images.clear()
        self._bridge.start(start.q_rad, start.gripper_m)

    def read(self) -> RobotState:
        """See `RobotPort.read`."""
        state = self._connected().read(self._clock.now())
        return replace(state, images=self._read_images()) if self._spec.cameras else state

    def render(self, camera: str = "front", width_px: int = 320, height_px: int = 240) -> U8:
        """What a camera sees now, in any size (height, width, 3): for videos and reports."""
        simulation = self._connected()
        size = (width_px, height_px)
        if size not in self._rigs:
            self._rigs[size] = CameraRig(simulation.model, *size)
        return self._rigs[size].render(simulation.data, camera)

    def send(self, command: Command) -> Command:
        """Hand the target to the bridge, which clips it to the joint limits."""
        self._connected()
        q_rad, gripper_m = command.q_rad, command.gripper_m
        if q_rad.shape != (self.spec.dof,):
            raise ShapeError("command: q_rad", q_rad.shape, (self.spec.dof,))
        if gripper_m.shape != (self.spec.num_grippers,):
            raise ShapeError("command: gripper_m", gripper_m.shape, (self.spec.num_grippers,))
        if not (np.isfinite(q_rad).all() and np.isfinite(gripper_m).all()):
            raise NonFiniteError("command", (q_rad, gripper_m), "Stop what produced it.")
        q_rad, gripper_m = self._bridge.clip(q_rad, gripper_m)
        self._pending.append((self._clock.ticks + self._delay_ticks, q_rad, gripper_m))
        return Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=command.stamp_s)

    def stop(self) -> None:
        """Hold the present position until the next `send`."""
        self._pending.clear()
        if self._simulation is not None:
            self._bridge.hold()

    def close(self) -> None:
        """Let the scene and its cameras go; `connect` builds them anew."""
        for rig in self._rigs.values():
            rig.close()
        self._rigs.clear()
        self._images.clear()
        self._simulation = None

    def tick(self) -> None:
        """One period of the bridge: take what has arrived, move the command, step physics."""
        simulation = self._connected()
        while self._pending and self._pending[0][0] <= self._clock.ticks:
            self._bridge.aim(*self._pending.popleft()[1:])
        simulation.step(*self._bridge.step())
        self._images.clear()

    def _read_images(self) -> dict[str, Image]:
        """One image a camera, rendered anew when the scene has moved."""
        if not self._images:
            self._frame += 1
            for camera in self._spec.cameras:
                rgb = self.render(camera.name, camera.width_px, camera.height_px)
                self._images[camera.name] = Image(
                    rgb=rgb, stamp_s=self._clock.now(), frame_number=self._frame
                )
        return dict(self._images)

    def _connected(self) -> Simulation:
        if self._simulation is None:
            raise PortError(f"the twin of '{self.spec.name}' is not connected. Call connect().")
        return self._simulation
