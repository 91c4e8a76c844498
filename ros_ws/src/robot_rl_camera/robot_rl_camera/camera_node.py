"""The cameras of a workstation on the ROS graph, for viewing, recording and other processes.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

Frames are published by the threads that grab them, never by a timer. A camera that is lost
publishes nothing until it is back; one that stays away ends the node with exit code 1.
"""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from robot_rl_control import names
from robot_rl_control.convert import image_message
from robot_rl_control.params import read_params
from robot_rl_control.qos import SENSOR, STATE
from robot_rl_control.running import run_node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robot_rl.cameras.agreement import check_agreement
from robot_rl.cameras.capture import CameraState, Capture
from robot_rl.cameras.cfg import CameraCfg, load_cameras
from robot_rl.cameras.frame import Frame
from robot_rl.cameras.grabber import make_grabber
from robot_rl.control.calibrated import load_calibration
from robot_rl.control.robot_file import load_robot
from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl_camera.messages import (
    compressed_message,
    depth_message,
    health_status,
    info_message,
    optical_frame,
    stamp_of,
)

__all__ = ["CameraNode", "Params", "main"]

_DIAGNOSTICS_S = 1.0
_LOOK_S = 0.1  # between looks for a camera that has failed


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of the node; all that concerns a camera stands in the file."""

    config: str
    """Path of a YAML file with the list `cameras`."""
    cameras: tuple[str, ...] = ()
    """Names of those to open; all if empty."""
    robot: str = ""
    """Path of the robot file that these cameras must agree with; empty for none."""

    def __post_init__(self) -> None:
        """Refuse a missing path."""
        if not self.config:
            raise ConfigError("config is empty. Pass -p config:=<path of a file with cameras>.")


class CameraNode(Node):
    """Captures cameras, and publishes each frame as it comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__("camera", automatically_declare_parameters_from_overrides=True, **options)
        params = read_params(self, Params)
        cfgs = {cfg.name: cfg for cfg in load_cameras(Path(params.config))}
        for name in params.cameras:
            if name not in cfgs:
                raise UnknownNameError(f"camera of {params.config}", name, cfgs)
        self._cfgs = [cfgs[name] for name in params.cameras or cfgs]
        if params.robot:
            self._check(params)
        self._captures = [_CameraTopics(self, cfg).capture for cfg in self._cfgs]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", STATE)
        self.create_timer(_DIAGNOSTICS_S, self.diagnose)

    def _check(self, params: Params) -> None:
        """Refuse cameras that are not those of the robot, or not those that were calibrated."""
        file = load_robot(params.robot)
        wanted = file.spec.cameras
        check_agreement(self._cfgs, wanted, opened=params.config, asked=params.robot)
        if calibration := load_calibration(file):
            calibration.check_devices(self._cfgs)

    def start(self) -> None:
        """Begin to capture."""
        for capture in self._captures:
            capture.start()

    def finish(self) -> None:
        """Release the cameras; no frame is published after it."""
        for capture in self._captures:
            capture.stop()

    def failure(self) -> str:
        """Why a camera has failed for good; empty while none has."""
        for capture in self._captures:
            health = capture.health()
            if health.state is CameraState.FAILED:
                return health.error
        return ""

    def diagnose(self) -> None:
        """Publish the health of every camera."""
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [
            health_status(capture.health(), self.get_fully_qualified_name(), cfg.rate_hz)
            for cfg, capture in zip(self._cfgs, self._captures, strict=True)
        ]
        self._diagnostics.publish(message)


class _CameraTopics:
    """The publishers of one camera, called by the thread that grabs it."""

    def __init__(self, node: Node, cfg: CameraCfg) -> None:
        color = names.color_image(cfg.name)
        self._frame_id = optical_frame(cfg.name)
        self._color = node.create_publisher(Image, color, SENSOR)
        self._compressed = node.create_publisher(CompressedImage, f"{color}/compressed", SENSOR)
        self._depth = node.create_publisher(Image, names.aligned_depth(cfg.name), SENSOR)
        self._info = node.create_publisher(CameraInfo, names.camera_info(cfg.name), SENSOR)
        self.capture = Capture(make_grabber(cfg), cfg.capture, self._publish)

    def _publish(self, frame: Frame) -> None:
        """Publish what somebody listens to: an image costs milliseconds, nobody's too."""
        stamp = stamp_of(frame)
        self._info.publish(info_message(frame, self.capture.intrinsics, stamp))
        if self._color.get_subscription_count():
            self._color.publish(image_message(frame.rgb, stamp, self._frame_id))
        if frame.depth_mm is not None and self._depth.get_subscription_count():
            self._depth.publish(depth_message(frame.depth_mm, stamp, self._frame_id))
        if self._compressed.get_subscription_count():
            self._compressed.publish(compressed_message(frame.rgb, stamp, self._frame_id))


def _capture(node: CameraNode, stop: threading.Event) -> int:
    """Capture until told to stop (0) or until a camera fails for good (1)."""
    node.start()
    try:
        while not stop.wait(_LOOK_S):
            if failure := node.failure():
                node.get_logger().fatal(failure)
                node.diagnose()
                return 1
        return 0
    finally:
        node.finish()


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM or the failure of a camera."""
    return run_node("camera", CameraNode, _capture, args=args)


if __name__ == "__main__":
    sys.exit(main())
