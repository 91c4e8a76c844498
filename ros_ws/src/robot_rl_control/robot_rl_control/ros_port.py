"""The ROS graph as a robot: what `RobotEnv` needs to learn on a real arm, or on the twin node.

command:   camera, arm → **observe** → policy (base + residual) → decode → safety → **send**

States come through `StateReader`, targets go to the arm bridge, which alone commands the arm. All
callbacks run in one thread of the port's own; learning happens elsewhere.
"""

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from robot_rl.clock import Clock, WallClock
from robot_rl.control.calibrated import RobotCalibration
from robot_rl.control.robot_file import load_robot
from robot_rl.env.port import TakenOver
from robot_rl.errors import ConfigError, NonFiniteError, PortError, ShapeError
from robot_rl.types import CameraSpec, Command, RobotSpec, RobotState
from robot_rl_control.bridge_link import BridgeLink
from robot_rl_control.episode_start import EpisodeStart
from robot_rl_control.state_reader import Feed, Reading, StateReader, StateReaderCfg

__all__ = ["OwnCameras", "RosPort", "RosPortCfg"]

_JOIN_S = 5.0
_SPIN_S = 0.1
_FRESH_S = 0.1  # that `stop` waits for joints newer than those of the last command


@dataclass(frozen=True, kw_only=True)
class RosPortCfg:
    """Which robot, and where on the graph."""

    robot: Path | str | RobotSpec
    """Robot file, the same as the arm bridge's, or a spec whose names are the contract's."""
    namespace: str = "/robot"
    """Of driver, cameras and arm bridge."""
    tracked: tuple[str, ...] = ()
    """Poses to read, beside those of a spec."""
    signals: Mapping[str, int] = field(default_factory=dict)
    """Signals to read and their lengths, beside those of a spec."""
    cameras: tuple[CameraSpec, ...] | None = None
    """Cameras to read and the sizes wanted of them; None for those of the robot."""
    image_topics: Mapping[str, str] = field(default_factory=dict)
    """Topic by camera, where it is not `<camera>/color/image_raw`; `.../compressed` is JPEG."""
    reset: Literal["auto", "twin", "home"] = "auto"
    """How an episode begins: the twin draws a scene; or the arm goes home, and a person restores
    the scene and says go. auto: the twin if there is one."""
    connect_timeout_s: float = 20.0
    """For driver, cameras and bridge to report."""
    state_timeout_s: float = 1.0
    """A robot whose state is older has gone. Shorter gaps are for the environment to judge."""
    bridge_timeout_s: float = 1.0
    """An active bridge that says nothing for longer has gone."""
    reset_timeout_s: float = 60.0
    """For the arm to come to rest at the start."""
    operator_timeout_s: float = 900.0
    """For a person to restore the scene and say go."""

    def __post_init__(self) -> None:
        """Refuse times that are not positive, and a relative namespace."""
        for key in (
            "connect_timeout_s",
            "state_timeout_s",
            "bridge_timeout_s",
            "reset_timeout_s",
            "operator_timeout_s",
        ):
            if not getattr(self, key) > 0:
                raise ConfigError(
                    f"ros port: {key} is {getattr(self, key)}, but must be positive."
                )
        if not self.namespace.startswith("/"):
            raise ConfigError(
                f"ros port: namespace is '{self.namespace}', but must begin with '/'."
            )


class OwnCameras(Feed, Protocol):
    """Cameras of this process, as `robot_rl.cameras.CameraFeed`: no image crosses the graph."""

    def open(self) -> None:
        """Start them, and wait until each delivers; raises `PortError` if one does not."""
        ...

    def close(self) -> None:
        """Stop them."""
        ...


class RosPort:
    """A `RobotPort` over topics and services.

    While an operator intervenes, `send` returns what the operator does, and `taken_over` tells it:
    that is what happened, and what is to be learned from.

    Args:
        cfg: The robot. A robot file is read here, the graph is joined by `connect`.
        context: The rclpy context to use; by default the port has its own.
        feed: Cameras of this process in place of image topics, opened and closed with the port.

    Raises:
        ConfigError: The robot file cannot be used.
    """

    def __init__(
        self,
        cfg: RosPortCfg,
        *,
        context: rclpy.Context | None = None,
        feed: OwnCameras | None = None,
    ) -> None:
        self._cfg, self._given_context, self._feed = cfg, context, feed
        if isinstance(cfg.robot, RobotSpec):
            spec, self._reader_cfg = cfg.robot, StateReaderCfg(image_topics=cfg.image_topics)
        else:
            file = load_robot(cfg.robot)
            spec = file.spec
            self._reader_cfg = replace(
                StateReaderCfg.of_robot(file), image_topics=cfg.image_topics
            )
        self._spec = replace(
            spec,
            cameras=spec.cameras if cfg.cameras is None else cfg.cameras,
            tracked=(*spec.tracked, *cfg.tracked),
            signals={**spec.signals, **cfg.signals},
        )
        arms = spec.arms
        self._lower = np.concatenate([arm.joint_lower_rad for arm in arms])
        self._upper = np.concatenate([arm.joint_upper_rad for arm in arms])
        self._width = np.array([a.gripper.max_width_m for a in arms if a.gripper is not None])
        self._clock = WallClock()
        self._link: _Link | None = None
        self._read_ns = self._sent_ns = 0  # stamps of the joints last read and last answered
        self._is_commanding = False

    @property
    def spec(self) -> RobotSpec:
        """See `RobotPort.spec`."""
        return self._spec

    @property
    def calibration(self) -> RobotCalibration | None:
        """What the robot file has measured of joints and cameras; None if it names nothing."""
        return self._reader_cfg.calibration

    @property
    def camera_hashes(self) -> Mapping[str, str]:
        """The hash of what was measured of each camera, by name."""
        places = self.calibration.cameras if self.calibration else {}
        return {name: place.hash for name, place in places.items()}

    @property
    def clock(self) -> Clock:
        """The workstation's monotonic clock."""
        return self._clock

    def connect(self) -> None:
        """Join the graph, and wait until driver, cameras and arm bridge have reported.

        Raises:
            PortError: One of them has not in time; says which, and what to start.
        """
        if self._link is not None:
            return
        with contextlib.ExitStack() as stack:  # whatever happens, no thread stays behind
            if self._feed is not None:
                self._feed.open()
                stack.callback(self._feed.close)
            link = _Link(self._cfg, self._spec, self._reader_cfg, self._given_context, self._feed)
            stack.callback(link.close)
            link.wait_until_ready()
            stack.pop_all()
        self._link = link

    def reset(self, seed: int) -> None:
        """Begin an episode; see `RosPortCfg.reset`.

        Raises:
            PortError: Not connected, or arm, twin or person have not done their part in time.
        """
        link = self._connected()
        self.stop()
        link.start.begin(seed)

    def read(self) -> RobotState:
        """The newest of each stream.

        Raises:
            PortError: Not connected, or the robot has been silent for too long.
        """
        reading = self._reading(self._connected())
        self._read_ns = reading.stamp_ns
        return reading.state

    def send(self, command: Command) -> Command:
        """Hand the target to the arm bridge, within the ranges of joints and grippers.

        Raises:
            PortError: Not connected, or the arm bridge does not take commands; says what to do.
            ShapeError: The command is of another robot.
            NonFiniteError: It holds NaN or infinity.
        """
        link = self._connected()
        for name, value, length in (
            ("command: q_rad", command.q_rad, self._spec.dof),
            ("command: gripper_m", command.gripper_m, self._spec.num_grippers),
        ):
            if np.shape(value) != (length,):
                raise ShapeError(name, np.shape(value), (length,))
            # The array inside a checked command may have been edited since.
            if not np.isfinite(value).all():
                raise NonFiniteError(name, value, "Stop what produced it.")
        if problem := link.bridge.problem():
            raise PortError(problem)
        q_rad = np.minimum(np.maximum(command.q_rad, self._lower), self._upper)
        gripper_m = np.minimum(np.maximum(command.gripper_m, 0.0), self._width)
        self._sent_ns, self._is_commanding = self._read_ns, True
        link.bridge.send(q_rad, gripper_m, self._read_ns)
        executed = link.bridge.executed
        if link.bridge.mode == "teleop" and executed is not None:
            q_rad, gripper_m = executed.q_rad, executed.gripper_m
        return Command(q_rad=q_rad, gripper_m=gripper_m, stamp_s=command.stamp_s)

    def taken_over(self) -> TakenOver | None:
        """See `SharedPort.taken_over`.

        Raises:
            PortError: Not connected.
        """
        bridge = self._connected().bridge
        share, executed = bridge.human_share(), bridge.executed
        if share == "none" or executed is None:
            return None
        stamp_s = self._clock.now()
        command = Command(q_rad=executed.q_rad, gripper_m=executed.gripper_m, stamp_s=stamp_s)
        return TakenOver("human" if share == "all" else "blend", command)

    def stop(self) -> None:
        """Ask the bridge to go no further than the arm is; it holds when its watchdog runs out."""
        if self._link is None or not self._is_commanding:
            return
        self._is_commanding = False
        reader = self._link.reader
        # The bridge takes a target only if it answers a newer state than the last one did.
        reader.wait_for(lambda: reader.joints_stamp_ns > self._sent_ns, _FRESH_S)
        with contextlib.suppress(PortError):  # without a state the bridge is blind, and holds
            state, self._sent_ns = reader.read_stamped(with_images=False)
            self._link.bridge.send(state.q_rad, state.gripper_m, self._sent_ns)

    def close(self) -> None:
        """Hold, and leave the graph."""
        self.stop()
        if self._link is not None:
            self._link.close()
            self._link = None
            if self._feed is not None:
                self._feed.close()

    def _reading(self, link: "_Link") -> Reading:
        reading = link.reader.read_stamped()
        age_s = self._clock.now() - reading.state.stamp_s
        if age_s > self._cfg.state_timeout_s:
            ages = link.reader.facts()
            oldest = max(ages, key=lambda title: ages[title].age_s)
            raise PortError(
                f"robot '{self._spec.name}' has been silent for {age_s:.1f} s; oldest is "
                f"{oldest}. Look whether its driver (or the twin) still runs."
            )
        return reading

    def _connected(self) -> "_Link":
        if self._link is None:
            raise PortError(f"robot '{self._spec.name}' is not connected. Call connect() first.")
        return self._link


class _Link:
    """All that a connected port has open."""

    def __init__(
        self,
        cfg: RosPortCfg,
        spec: RobotSpec,
        reader_cfg: StateReaderCfg,
        context: rclpy.Context | None,
        feed: Feed | None,
    ) -> None:
        self._cfg, self._is_own = cfg, context is None
        self._context = context or rclpy.Context()
        if self._is_own:
            rclpy.init(args=[], context=self._context)
        self._node: Node = rclpy.create_node(
            "ros_port", namespace=cfg.namespace, context=self._context
        )
        self.reader = StateReader(self._node, spec, reader_cfg, feed=feed)
        self.bridge = BridgeLink(self._node, spec, timeout_s=cfg.bridge_timeout_s)
        self.start = EpisodeStart(
            self._node,
            spec,
            self.reader,
            self.bridge,
            how=cfg.reset,
            timeout_s=cfg.reset_timeout_s,
            operator_timeout_s=cfg.operator_timeout_s,
        )
        self._executor: Any = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="ros_port", daemon=True)
        self._thread.start()

    def wait_until_ready(self) -> None:
        """Return when state and bridge are there.

        Raises:
            PortError: They are not, in time.
        """
        end_s = time.monotonic() + self._cfg.connect_timeout_s
        while absent := self.reader.missing():
            if not self.reader.wait_for(
                lambda: not self.reader.missing(), end_s - time.monotonic()
            ):
                raise PortError(
                    f"nothing has come in {self._cfg.connect_timeout_s} s from: "
                    f"{'; '.join(absent)}, in namespace '{self._cfg.namespace}'. Start driver and "
                    "cameras (or the twin): ros2 launch robot_rl_bringup real.launch.py (or "
                    "twin.launch.py), and look whether ROS_DOMAIN_ID is the same."
                )
        while problem := self.bridge.problem():
            if time.monotonic() > end_s:
                raise PortError(problem)
            self.bridge.wait_for(lambda: not self.bridge.problem(), 0.1)

    def close(self) -> None:
        """Leave the graph."""
        # An executor that is shut down while it spins may trip over what it has just destroyed.
        self._stop.set()
        self._executor.wake()
        self._thread.join(_JOIN_S)
        self._executor.shutdown(timeout_sec=_JOIN_S)
        self._node.destroy_node()
        if self._is_own:
            self._context.try_shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._stop.is_set():
                self._executor.spin_once(timeout_sec=_SPIN_S)
