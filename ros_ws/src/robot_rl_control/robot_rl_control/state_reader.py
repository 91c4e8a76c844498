"""From the topics of a robot to one `RobotState`: the newest of each stream, with honest ages.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send

The ROS port and the recorder read through this one class, so that what is learned from and what
is acted on cannot differ. What becomes of stamps stands in `stream`, of joints in `joint_intake`,
of images in `image_intake`.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from robot_rl.errors import PortError
from robot_rl.types import RobotSpec, RobotState
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp, pose_from_message
from robot_rl_control.image_intake import Feed, ImageIntake
from robot_rl_control.joint_intake import JointIntake, Joints
from robot_rl_control.reader_cfg import GripperJoints, StateReaderCfg
from robot_rl_control.stream import Intake, Stream, StreamFacts

__all__ = ["Feed", "GripperJoints", "Reading", "StateReader", "StateReaderCfg", "StreamFacts"]

_WORLD = ("", "world")


class Reading(NamedTuple):
    """A state, and the stamp by the system's clock of its joints: what a command quotes."""

    state: RobotState
    stamp_ns: int


class StateReader:
    """Subscribes to all that a `RobotSpec` names, on any executor, and reads from any thread.

    Args:
        node: Who subscribes; topics are relative to its namespace. It must be spun by others.
        spec: What to read. Images of another size than a camera's are scaled to it.
        cfg: Where it comes from.
        feed: The cameras of this process; with it, none is subscribed to.
        now_s: The monotonic clock.
        now_ns: The system's clock.

    Raises:
        UnknownNameError: `cfg` names an arm or camera that the robot does not have.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        cfg: StateReaderCfg | None = None,
        *,
        feed: Feed | None = None,
        now_s: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        cfg = cfg or StateReaderCfg()
        cfg.check(spec)
        self._spec = spec
        self._intake = Intake(node, now_s, now_ns)
        self._changed = self._intake.changed
        self._joints = JointIntake(self._intake, spec, cfg)
        self._poses = {name: self._follow_pose(name) for name in spec.tracked}
        self._signals = {name: self._follow_signal(name) for name in spec.signals}
        self._images = ImageIntake(self._intake, spec.cameras, cfg, feed)

    def missing(self) -> list[str]:
        """What has never come yet, by name and topic.

        Raises:
            PortError: A camera of this process is lost.
        """
        with self._changed:
            absent = [stream.title for stream in self._all() if not stream.received]
        return absent + self._images.missing()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on what was received holds; returns whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    @property
    def joints_stamp_ns(self) -> int:
        """The joints' own stamp, of the arm that reported longest ago; 0 before the first."""
        with self._changed:
            return min(self._joints.arms, key=lambda stream: stream.stamp_s).stamp_ns

    def read(self, *, with_images: bool = True) -> RobotState:
        """The newest of each stream; `stamp_s` is that of the oldest part but images.

        Raises:
            PortError: Some part has never come, or an image cannot be decoded.
        """
        return self.read_stamped(with_images=with_images).state

    def read_stamped(self, *, with_images: bool = True) -> Reading:
        """As `read`, with the joints' own stamp.

        Raises:
            PortError: Some part has never come, or an image cannot be decoded.
        """
        if absent := self.missing():
            raise PortError(
                f"robot '{self._spec.name}' has not reported: {', '.join(absent)}. "
                "Start the driver (or the twin) and the cameras, in this namespace."
            )
        with self._changed:
            stamp_s = min(stream.stamp_s for stream in self._without_images())
            stamp_ns = self.joints_stamp_ns
            joints: list[Joints] = [stream.value for stream in self._joints.arms]
            widths_m = self._joints.widths_m()
            poses = {name: stream.value.copy() for name, stream in self._poses.items()}
            signals = {name: stream.value.copy() for name, stream in self._signals.items()}
        torques = [arm.tau for arm in joints if arm.tau is not None]
        state = RobotState(
            stamp_s=stamp_s,
            q_rad=np.concatenate([arm.q for arm in joints]),
            dq_rad_s=np.concatenate([arm.dq for arm in joints]),
            gripper_m=widths_m,
            tau_nm=np.concatenate(torques) if len(torques) == len(joints) else None,
            poses=poses,
            signals=signals,
            images=self._images.read() if with_images else {},
        )
        return Reading(state, stamp_ns)

    def facts(self) -> dict[str, StreamFacts]:
        """How each subscribed stream has gone, by name and topic."""
        now_s = self._intake.now_s()
        with self._changed:
            return {
                stream.title: StreamFacts(stream.received, stream.repeated, now_s - stream.stamp_s)
                for stream in self._all()
            }

    def close(self) -> None:
        """Unsubscribe; calling it twice is harmless."""
        self._intake.close()

    def _without_images(self) -> list[Stream]:
        return [*self._joints.streams, *self._poses.values(), *self._signals.values()]

    def _all(self) -> list[Stream]:
        return [*self._without_images(), *self._images.streams]

    def _follow_pose(self, name: str) -> Stream:
        stream = Stream(names.tracked(name))

        def take(message: PoseStamped) -> None:
            if message.header.frame_id not in _WORLD:
                self._intake.refuse(
                    f"pose '{name}' is given in frame '{message.header.frame_id}', but must be "
                    "given in 'world'."
                )
                return
            stamp_ns = ns_from_stamp(message.header.stamp)
            self._intake.take(stream, pose_from_message(message), stamp_ns)

        self._intake.subscribe(PoseStamped, names.tracked(name), take)
        return stream

    def _follow_signal(self, name: str) -> Stream:
        stream = Stream(names.signal(name))

        def take(message: Float64MultiArray) -> None:
            value = np.array(message.data, np.float64)
            if value.size != self._spec.signals[name]:
                self._intake.refuse(
                    f"signal '{name}' holds {value.size} numbers, but must hold "
                    f"{self._spec.signals[name]}."
                )
                return
            self._intake.take(stream, value, self._intake.now_ns())  # it carries no stamp

        self._intake.subscribe(Float64MultiArray, names.signal(name), take)
        return stream
