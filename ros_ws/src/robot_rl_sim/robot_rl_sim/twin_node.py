"""The twin in place of a robot's driver and cameras: same topics, and faults on demand.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → **send**

Physics ticks in a thread of its own, in real time as far as the machine keeps up; where it does
not, time slips, which `/diagnostics` tells. Images are rendered in another thread. `twin/reset`
puts the scene at the start of a seed, and `twin/episode` says that it stands there.
"""

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from robot_rl_camera.messages import compressed_message, info_message, optical_frame
from robot_rl_control import names
from robot_rl_control.convert import image_message, pose_message, stamp_from_ns
from robot_rl_control.params import read_params
from robot_rl_control.qos import COMMAND, LATCHED, SENSOR, STATE
from robot_rl_control.running import run_node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, Int64, String

from robot_rl.cameras.frame import Frame, HostInstant, StampDomain
from robot_rl.errors import NonFiniteError, RobotRLError, ShapeError
from robot_rl.types import F64, U8, CameraSpec, RobotSpec, RobotState
from robot_rl_sim.outbox import Outbox
from robot_rl_sim.render import RenderThread, pinhole
from robot_rl_sim.twin_params import FAULT, TwinParams
from sim.live import Episode, LiveTwin, Pacer
from sim.tasks import make_twin

__all__ = ["GRIPPER_COMMANDS", "JOINT_COMMANDS", "TwinNode", "main"]

JOINT_COMMANDS = "forward_position_controller/commands"
GRIPPER_COMMANDS = "gripper_controller/commands"
_LOOK_S = 0.2  # between looks at the renderer
_JOIN_S = 10.0


class TwinNode(Node):
    """A robot without hardware; `start` begins its time."""

    def __init__(self, **options: Any) -> None:
        super().__init__("twin", automatically_declare_parameters_from_overrides=True, **options)
        params = self._params = read_params(self, TwinParams)
        twin = make_twin(params.task)
        self._live = LiveTwin(
            twin,
            delay_s=params.delay_s,
            command_timeout_s=params.command_timeout_s,
            seed=params.seed,
        )
        self._robot = twin.robot
        self._offset_rad = _offset(params, twin.robot)
        self._pacer: Pacer | None = None
        self._told_slip_s = 0.0
        self._rng = np.random.default_rng(params.seed)
        self._outbox = Outbox(params.seed)
        self._counts: Counter[str] = Counter()
        self._frozen_stamp: Any = None
        self._last_images: dict[str, list[tuple[Any, Any]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="physics", daemon=True)
        self._renderer = RenderThread(
            self._live.model, params.camera_specs, self._is_watched, self._on_image
        )
        self._open()
        self._take_faults(params)
        self.add_on_set_parameters_callback(self._on_parameters)

    @property
    def error(self) -> RobotRLError | None:
        """What has ended the node's work, if anything has."""
        return self._renderer.error

    def start(self) -> None:
        """Let time begin."""
        self._thread.start()
        if self._params.camera_names:
            self._renderer.start()

    def finish(self) -> None:
        """End both threads; calling it twice is harmless."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._renderer.close()

    def _open(self) -> None:
        """Topics, all relative to the namespace."""
        robot = self._robot
        self._joint_names = [name for arm in robot.arms for name in arm.joint_names]
        self._joint_names += [names.gripper_name(arm.name) for arm in robot.arms if arm.gripper]
        self._joints = self.create_publisher(JointState, names.JOINT_STATES, STATE)
        self._poses = {
            name: self.create_publisher(PoseStamped, names.tracked(name), STATE)
            for name in robot.tracked
        }
        self._signals = {
            name: self.create_publisher(Float64MultiArray, names.signal(name), STATE)
            for name in robot.signals
        }
        self._images = {name: self._open_camera(name) for name in self._params.camera_names}
        self._episode = self.create_publisher(String, names.TWIN_EPISODE, LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", STATE)
        for topic, take in (
            (JOINT_COMMANDS, self._command),
            (GRIPPER_COMMANDS, self._live.grip),
        ):
            self.create_subscription(
                Float64MultiArray, topic, partial(self._on_command, take), COMMAND
            )
        self.create_subscription(Int64, names.TWIN_RESET, self._on_reset, COMMAND)
        self.create_timer(1.0, self._diagnose)

    def _open_camera(self, name: str) -> tuple[Any, Any, Any]:
        """Publishers of image, intrinsics and compressed image."""
        topic = names.color_image(name)
        return (
            self.create_publisher(Image, topic, SENSOR),
            self.create_publisher(CameraInfo, names.camera_info(name), SENSOR),
            self.create_publisher(CompressedImage, f"{topic}/compressed", SENSOR),
        )

    def _on_command(self, take: Any, message: Float64MultiArray) -> None:
        try:
            take(np.array(message.data, np.float64))
        except (ShapeError, NonFiniteError) as error:
            self._counts["refused"] += 1
            self.get_logger().warning(f"refused: {error}", throttle_duration_sec=1.0)

    def _command(self, q_rad: F64) -> None:
        """Take a joint command as the encoders have it."""
        if q_rad.shape == self._offset_rad.shape:
            q_rad = q_rad + self._offset_rad
        self._live.command(q_rad)

    def _on_reset(self, message: Int64) -> None:
        if message.data < 0:
            self.get_logger().warning(f"refused: seed {message.data} is negative")
            return
        self._live.reset(message.data)

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        """Faults come and go; all else stays as it was started."""
        fixed = [p.name for p in changed if not p.name.startswith(FAULT)]
        if fixed:
            reason = f"{', '.join(fixed)} cannot change while the twin runs; only {FAULT}* can."
            return SetParametersResult(successful=False, reason=reason)
        try:
            params = replace(self._params, **{p.name: p.value for p in changed})
        except RobotRLError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._take_faults(params)
        return SetParametersResult(successful=True)

    def _take_faults(self, params: TwinParams) -> None:
        if not params.fault_frozen_stamps:
            self._frozen_stamp = None
        self._outbox.slow_down(params.fault_latency_s, params.fault_jitter_s)
        self._params = params

    def _run(self) -> None:
        """Physics in real time."""
        self._pacer = Pacer()
        said: Episode | None = None
        tick = 0
        while not self._stop.is_set():
            self._pacer.wait()
            state = self._live.tick()
            now = self.get_clock().now()
            is_new = self._live.episode != said
            if tick % self._params.ticks_a_state == 0 or is_new:
                self._publish(state, now.to_msg())
            if self._images:
                self._renderer.show(self._live.pose(), now.nanoseconds)
            if is_new:
                said = self._live.episode
                text = json.dumps({"seed": said.seed, "count": said.count})
                self._outbox.put(self._episode, String(data=text), time.monotonic())
            self._outbox.flush(time.monotonic())
            tick += 1

    def _publish(self, state: RobotState, stamp: Any) -> None:
        params, now_s = self._params, time.monotonic()
        if self._rng.random() < params.fault_dropped_share:
            self._counts["dropped"] += 1
        else:
            if params.fault_frozen_stamps:
                self._frozen_stamp = self._frozen_stamp or stamp
            message = JointState(name=self._joint_names)
            message.header.stamp = self._frozen_stamp or stamp
            noise = self._rng.normal(0.0, params.joint_noise_rad, state.q_rad.shape)
            read = state.q_rad - self._offset_rad + noise
            message.position = [*read.tolist(), *state.gripper_m.tolist()]
            message.velocity = [*state.dq_rad_s.tolist(), *[0.0] * len(state.gripper_m)]
            self._outbox.put(self._joints, message, now_s)
        for name, publisher in self._poses.items():
            self._outbox.put(publisher, pose_message(state.poses[name], stamp), now_s)
        for name, publisher in self._signals.items():
            message = Float64MultiArray(data=state.signals[name].tolist())
            self._outbox.put(publisher, message, now_s)

    def _is_watched(self, camera: str) -> bool:
        return any(publisher.get_subscription_count() for publisher in self._images[camera])

    def _on_image(self, camera: CameraSpec, rgb: U8, stamp_ns: int) -> None:
        """Called by the thread that renders."""
        if camera.name not in self._params.frozen or camera.name not in self._last_images:
            self._last_images[camera.name] = self._camera_messages(camera, rgb, stamp_ns)
        for publisher, message in self._last_images[camera.name]:
            self._outbox.put(publisher, message, time.monotonic())
        self._counts[f"images of {camera.name}"] += 1

    def _camera_messages(
        self, camera: CameraSpec, rgb: U8, stamp_ns: int
    ) -> list[tuple[Any, Any]]:
        raw, info, compressed = self._images[camera.name]
        stamp_ns += round(1e9 * self._params.camera_delay_s)
        stamp, place = stamp_from_ns(stamp_ns), optical_frame(camera.name)
        now = HostInstant.now()
        frame = Frame(
            camera=camera.name,
            rgb=rgb,
            depth_mm=None,
            frame_number=self._counts[f"images of {camera.name}"],
            device_stamp_s=stamp_ns * 1e-9,
            domain=StampDomain.WALL,
            arrival=now,
            stamp_s=now.monotonic_s - (now.wall_s - stamp_ns * 1e-9),
        )
        intrinsics = pinhole(self._live.model, camera)
        messages = [
            (raw, image_message(rgb, stamp, place)),
            (info, info_message(frame, intrinsics, stamp)),
        ]
        if compressed.get_subscription_count():
            messages.append((compressed, compressed_message(rgb, stamp, place)))
        return messages

    def _diagnose(self) -> None:
        slip_s = self._pacer.slip_s if self._pacer else 0.0
        new_slip_s, self._told_slip_s = slip_s - self._told_slip_s, slip_s
        params = self._params
        status = DiagnosticStatus(name=self.get_fully_qualified_name(), hardware_id="twin")
        is_slow = new_slip_s > 0.05
        status.level = DiagnosticStatus.WARN if is_slow else DiagnosticStatus.OK
        status.message = f"slower than real time by {new_slip_s:.2f} s" if is_slow else "running"
        values = {
            "task": params.task,
            "episode": json.dumps(self._live.episode._asdict()),
            "holding": self._live.drive.is_holding,
            "slip [s]": f"{slip_s:.3f}",
            "commands ignored": self._live.ignored,
            "commands refused": self._counts["refused"],
            "joint states dropped": self._counts["dropped"],
        }
        values |= {key: n for key, n in self._counts.items() if key.startswith("images")}
        values |= {key: getattr(params, key) for key in vars(params) if key.startswith(FAULT)}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _offset(params: TwinParams, robot: RobotSpec) -> F64:
    """(dof,) [rad] where the joints stand minus what they say."""
    if not params.joint_offset_rad:
        return np.zeros(robot.dof)
    if len(params.joint_offset_rad) != robot.dof:
        raise ShapeError("joint_offset_rad", (len(params.joint_offset_rad),), (robot.dof,))
    return np.array(params.joint_offset_rad)


def _live(node: TwinNode, stop: threading.Event) -> int:
    """Let time pass until told to stop, or until a camera cannot be rendered."""
    node.start()
    try:
        while not stop.wait(_LOOK_S) and node.error is None:
            pass
        error = node.error
    finally:
        node.finish()
    if error is not None:
        raise error
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM, or until its cameras cannot be rendered."""
    return run_node("twin", TwinNode, _live, args=args)


if __name__ == "__main__":
    sys.exit(main())
