"""Joints and one camera on the ROS graph, pushed into the guide that records a session.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send

Stamps are those of the messages' headers, for their difference is what the delay is about. Nothing
is commanded: the arm is moved by hand, or by a teleoperation device through its bridge.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import Any

import numpy as np

from calibration.guide import Guide
from robot_rl.apps.ros import graph_node, ros_module
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import PortError, UnknownNameError
from robot_rl.types import F64, U8

__all__ = ["CameraAndArm", "follow"]

_KEPT_JOINTS = 2000
_SPIN_S = 0.02


class CameraAndArm:
    """Hears one arm's joints, all of them, and a camera's newest image; a context manager.

    Args:
        file: The robot.
        arm: Which arm.
        camera: Name of the camera, or its whole topic.
        namespace: Of the robot.
        context: The rclpy context; by default one of its own.

    Raises:
        UnknownNameError: The robot has no such arm.
        MissingRosError: There is no ROS.
    """

    def __init__(
        self, file: RobotFile, arm: str, camera: str, namespace: str, context: Any = None
    ) -> None:
        arms = [spec.name for spec in file.spec.arms]
        if arm not in arms:
            raise UnknownNameError(f"arm in {file.path}", arm, arms)
        self._names = file.spec.arms[arms.index(arm)].joint_names
        self._joint_topic = file.drivers[arms.index(arm)].joint_states
        names = ros_module("robot_rl_control.names")
        self._image_topic = camera if "/" in camera else names.color_image(camera)
        self._namespace, self._given = namespace, context
        self._joints: deque[tuple[float, F64]] = deque(maxlen=_KEPT_JOINTS)
        self._image: Any = None
        self._stack = ExitStack()
        self._executor: Any = None

    def __enter__(self) -> "CameraAndArm":
        """Join the graph."""
        messages, qos = import_module("sensor_msgs.msg"), ros_module("robot_rl_control.qos")
        node, self._executor = self._stack.enter_context(
            graph_node("calibrate", self._namespace, self._given)
        )
        is_compressed = self._image_topic.endswith("/compressed")
        kind = messages.CompressedImage if is_compressed else messages.Image
        node.create_subscription(
            messages.JointState, self._joint_topic, self._on_joints, qos.STATE
        )
        node.create_subscription(kind, self._image_topic, self._on_image, qos.SENSOR)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the graph."""
        self._stack.close()

    def spin(self) -> tuple[list[tuple[float, F64]], tuple[float, U8] | None]:
        """Listen for a moment: all joints (stamp, (n,)) since the last time, and a new image."""
        self._executor.spin_once(_SPIN_S)
        while len(self._joints) < _KEPT_JOINTS and self._more():
            pass
        joints = list(self._joints)
        self._joints.clear()
        message, self._image = self._image, None
        if message is None:
            return joints, None
        convert = ros_module("robot_rl_control.convert")
        stamp_s = 1e-9 * convert.ns_from_stamp(message.header.stamp)
        return joints, (stamp_s, convert.rgb_from_message(message))

    def _more(self) -> bool:
        """Take what has already arrived; returns whether there was something."""
        before = (len(self._joints), id(self._image))
        self._executor.spin_once(0.0)
        return before != (len(self._joints), id(self._image))

    def _on_joints(self, message: Any) -> None:
        """Drivers order joints as they like, and may report others in between."""
        place = {name: i for i, name in enumerate(message.name)}
        if not set(self._names) <= place.keys():
            return
        q = np.array([message.position[place[name]] for name in self._names], np.float64)
        stamp = message.header.stamp
        self._joints.append((stamp.sec + 1e-9 * stamp.nanosec, q))

    def _on_image(self, message: Any) -> None:
        self._image = message


def follow(
    source: CameraAndArm,
    guide: Guide,
    tell: Callable[[str], None],
    *,
    silence_s: float = 10.0,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Push what is heard into the guide until it is done, and tell what it says.

    Raises:
        PortError: Joints or images have been silent for `silence_s`.
        DataError: The camera shows another board.
    """
    heard = {"joints": now_s(), "images": now_s()}
    while not guide.is_done:
        joints, image = source.spin()
        for stamp_s, q in joints:
            guide.on_joints(stamp_s, q)
            heard["joints"] = now_s()
        if image is not None:
            heard["images"] = now_s()
            if words := guide.on_image(*image):
                tell(words)
        for name, last_s in heard.items():
            if now_s() - last_s > silence_s:
                raise PortError(
                    f"no {name} have come for {silence_s:g} s. Start driver and cameras (for "
                    "one: ros2 launch robot_rl_bringup calibrate.launch.py), in this namespace."
                )
