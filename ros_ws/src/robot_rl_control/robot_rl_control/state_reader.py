"""From the topics of a robot to one `RobotState`: the newest of each stream, with honest ages.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send

The ROS port and the recorder read through this one class, so that what is learned from and what
is acted on cannot differ. Stamps come from the system's clock and leave on the monotonic one:
receipt minus the age that the message had then. A stamp that does not move on refreshes nothing,
and no jump of the system's clock makes old data new.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Float64MultiArray

from robot_rl.cameras.fit import fit_image
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import ConfigError, DataError, PortError, UnknownNameError
from robot_rl.types import F64, U8, ArmSpec, CameraSpec, Image, RobotSpec, RobotState
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp, pose_from_message, rgb_from_message
from robot_rl_control.qos import SENSOR, STATE

__all__ = ["Feed", "GripperJoints", "Reading", "StateReader", "StateReaderCfg", "StreamFacts"]

_WORLD = ("", "world")


@dataclass(frozen=True, kw_only=True)
class GripperJoints:
    """How the joints of a gripper give its opening: offset plus scale times their sum."""

    joints: tuple[str, ...]
    """Their names."""
    topic: str = names.JOINT_STATES
    """JointState topic that reports them."""
    scale_m: float = 1.0
    """Opening [m] for each unit of the joints' sum (1 if it is the width, negative if closing
    counts upwards)."""
    offset_m: float = 0.0
    """Opening [m] at a sum of zero."""

    def __post_init__(self) -> None:
        """Refuse what gives no opening."""
        if not self.joints or not np.isfinite([self.scale_m, self.offset_m]).all():
            raise ConfigError(
                f"gripper joints {self.joints} with scale_m {self.scale_m} and offset_m "
                f"{self.offset_m}: name at least one joint, and give finite numbers."
            )


@dataclass(frozen=True, kw_only=True)
class StateReaderCfg:
    """Where each part of the state comes from."""

    joint_topics: Mapping[str, str] = field(default_factory=dict)
    """JointState topic by arm; an arm that is not named reports in `joint_states`."""
    grippers: Mapping[str, GripperJoints] = field(default_factory=dict)
    """By arm; an arm that is not named reports its width [m] as the joint `<arm>_gripper`."""
    image_topics: Mapping[str, str] = field(default_factory=dict)
    """By camera; a camera that is not named is read from `<camera>/color/image_raw`. Topics
    ending in `/compressed` carry JPEG."""

    @classmethod
    def of_robot(cls, file: RobotFile) -> "StateReaderCfg":
        """Where the drivers of a robot file report."""
        grippers = {}
        for arm, driver in zip(file.spec.arms, file.drivers, strict=True):
            if (gripper := driver.gripper) is not None:
                share_m = gripper.state_m_per_unit
                grippers[arm.name] = GripperJoints(
                    topic=gripper.state_topic,
                    joints=gripper.state_joints,
                    scale_m=share_m,
                    offset_m=-share_m * gripper.state_closed * len(gripper.state_joints),
                )
        topics = {
            arm.name: driver.joint_states
            for arm, driver in zip(file.spec.arms, file.drivers, strict=True)
        }
        return cls(joint_topics=topics, grippers=grippers)


class Feed(Protocol):
    """The cameras of this process, as `robot_rl.cameras.CameraFeed` gives them."""

    def images(self) -> Mapping[str, Image]:
        """The newest image of each camera; raises `PortError` if one is lost."""
        ...


class Reading(NamedTuple):
    """A state, and the stamp by the system's clock of its joints: what a command quotes."""

    state: RobotState
    stamp_ns: int


class StreamFacts(NamedTuple):
    """How one stream has gone so far."""

    received: int  # samples with a new stamp
    repeated: int  # samples whose stamp stood still; they count for nothing else
    age_s: float  # of the newest; infinite before the first


class _Joints(NamedTuple):
    q: F64
    dq: F64
    tau: F64 | None


class _Stream:
    """The newest sample of one source, and when it was taken."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.value: Any = None
        self.stamp_ns, self.stamp_s = 0, -np.inf
        self.received = self.repeated = 0

    def take(self, value: Any, stamp_ns: int, now_ns: int, now_s: float) -> bool:
        """Keep a sample, unless its stamp stands still; returns whether it was kept."""
        if self.received and stamp_ns == self.stamp_ns:
            self.repeated += 1
            return False
        age_s = max(0, now_ns - stamp_ns) * 1e-9
        self.value, self.stamp_ns, self.stamp_s = value, stamp_ns, now_s - age_s
        self.received += 1
        return True


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
        self._node, self._spec, self._cfg = node, spec, cfg or StateReaderCfg()
        self._feed = feed
        self._now_s, self._now_ns = now_s, now_ns
        _check_names("arm", self._cfg.joint_topics, [arm.name for arm in spec.arms])
        _check_names("arm", self._cfg.grippers, [arm.name for arm in spec.arms if arm.gripper])
        cameras = [camera.name for camera in spec.cameras]
        _check_names("camera", self._cfg.image_topics, cameras)
        self._changed = threading.Condition()
        self._decoding = threading.Lock()
        self._decoded: dict[str, tuple[int, Image]] = {}
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscriptions: list[Any] = []
        self._indices: dict[tuple[str, ...], list[tuple[_Stream, list[int]]]] = {}
        self._parts: list[tuple[_Stream, str, tuple[str, ...]]] = []  # topic, names there
        self._joints = [self._follow_arm(arm) for arm in spec.arms]
        self._widths = {
            arm.name: self._follow_gripper(arm) for arm in spec.arms if arm.gripper is not None
        }
        for topic in sorted({topic for _, topic, _ in self._parts}):
            self._subscribe(JointState, topic, partial(self._on_joints, topic))
        self._poses = {name: self._follow_pose(name) for name in spec.tracked}
        self._signals = {name: self._follow_signal(name) for name in spec.signals}
        self._images = {name: self._follow_camera(name) for name in cameras if feed is None}

    def missing(self) -> list[str]:
        """What has never come yet, by name and topic.

        Raises:
            PortError: A camera of this process is lost.
        """
        with self._changed:
            absent = [stream.title for stream in self._all() if not stream.received]
        if self._feed is not None:
            given = self._feed.images()
            wanted = [camera.name for camera in self._spec.cameras]
            absent += [f"camera {name} of this process" for name in wanted if name not in given]
        return absent

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on what was received holds; returns whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    @property
    def joints_stamp_ns(self) -> int:
        """The joints' own stamp, of the arm that reported longest ago; 0 before the first."""
        with self._changed:
            return min(self._joints, key=lambda stream: stream.stamp_s).stamp_ns

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
            parts = [*self._joints, *self._widths.values()]
            parts += [*self._poses.values(), *self._signals.values()]
            stamp_s = min(stream.stamp_s for stream in parts)
            stamp_ns = self.joints_stamp_ns
            joints: list[_Joints] = [stream.value for stream in self._joints]
            widths = [self._width(arm) for arm in self._spec.arms if arm.gripper is not None]
            poses = {name: stream.value.copy() for name, stream in self._poses.items()}
            signals = {name: stream.value.copy() for name, stream in self._signals.items()}
        torques = [arm.tau for arm in joints if arm.tau is not None]
        state = RobotState(
            stamp_s=stamp_s,
            q_rad=np.concatenate([arm.q for arm in joints]),
            dq_rad_s=np.concatenate([arm.dq for arm in joints]),
            gripper_m=np.array(widths),
            tau_nm=np.concatenate(torques) if len(torques) == len(joints) else None,
            poses=poses,
            signals=signals,
            images=self._read_images() if with_images else {},
        )
        return Reading(state, stamp_ns)

    def facts(self) -> dict[str, StreamFacts]:
        """How each subscribed stream has gone, by name and topic."""
        now_s = self._now_s()
        with self._changed:
            return {
                stream.title: StreamFacts(stream.received, stream.repeated, now_s - stream.stamp_s)
                for stream in self._all()
            }

    def close(self) -> None:
        """Unsubscribe; calling it twice is harmless."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def _all(self) -> list[_Stream]:
        streams = [*self._joints, *self._widths.values(), *self._poses.values()]
        return [*streams, *self._signals.values(), *self._images.values()]

    def _subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any = STATE
    ) -> str:
        """Subscribe; returns the topic's full name."""
        made = self._node.create_subscription(
            kind, topic, callback, qos, callback_group=self._group
        )
        self._subscriptions.append(made)
        return made.topic_name

    def _follow_arm(self, arm: ArmSpec) -> _Stream:
        topic = self._cfg.joint_topics.get(arm.name, names.JOINT_STATES)
        return self._part(f"joints of {arm.name}", topic, arm.joint_names)

    def _follow_gripper(self, arm: ArmSpec) -> _Stream:
        how = self._gripper(arm)
        return self._part(f"gripper of {arm.name}", how.topic, how.joints)

    def _part(self, title: str, topic: str, joints: tuple[str, ...]) -> _Stream:
        stream = _Stream(f"{title} ({', '.join(joints)}) on {topic}")
        self._parts.append((stream, topic, joints))
        return stream

    def _follow_pose(self, name: str) -> _Stream:
        stream = _Stream(names.tracked(name))

        def take(message: PoseStamped) -> None:
            if message.header.frame_id not in _WORLD:
                self._node.get_logger().error(
                    f"pose '{name}' is given in frame '{message.header.frame_id}', but must be "
                    "given in 'world'. It is not used.",
                    throttle_duration_sec=5.0,
                )
                return
            self._take(stream, pose_from_message(message), ns_from_stamp(message.header.stamp))

        self._subscribe(PoseStamped, names.tracked(name), take)
        return stream

    def _follow_signal(self, name: str) -> _Stream:
        stream = _Stream(names.signal(name))

        def take(message: Float64MultiArray) -> None:
            value = np.array(message.data, np.float64)
            if value.size != self._spec.signals[name]:
                self._node.get_logger().error(
                    f"signal '{name}' holds {value.size} numbers, but must hold "
                    f"{self._spec.signals[name]}. It is not used.",
                    throttle_duration_sec=5.0,
                )
                return
            self._take(stream, value, self._now_ns())  # it carries no stamp

        self._subscribe(Float64MultiArray, names.signal(name), take)
        return stream

    def _follow_camera(self, name: str) -> _Stream:
        topic = self._cfg.image_topics.get(name, names.color_image(name))
        kind = CompressedImage if topic.endswith("/compressed") else ImageMessage
        stream = _Stream(topic)

        def take(message: Any) -> None:
            self._take(stream, message, ns_from_stamp(message.header.stamp))

        self._subscribe(kind, topic, take, SENSOR)
        return stream

    def _on_joints(self, topic: str, message: JointState) -> None:
        """Drivers order joints as they like, and may report arm and gripper apart."""
        reported = list(message.name)
        given = (topic, *reported)
        if given not in self._indices:
            self._indices[given] = [
                (stream, [reported.index(joint) for joint in joints])
                for stream, there, joints in self._parts
                if there == topic and set(joints) <= set(reported)
            ]
        stamp_ns = ns_from_stamp(message.header.stamp)
        q = np.array(message.position, np.float64)
        dq = np.array(message.velocity, np.float64)
        tau = np.array(message.effort, np.float64)
        if q.size != len(reported):
            self._node.get_logger().error(
                f"{topic} holds {q.size} positions for {len(reported)} names. It is not used.",
                throttle_duration_sec=5.0,
            )
            return
        for stream, where in self._indices[given]:
            speed = dq[where] if dq.size == q.size else _speed(stream, q[where], stamp_ns)
            effort = tau[where] if tau.size == q.size else None
            self._take(stream, _Joints(q[where], speed, effort), stamp_ns)

    def _take(self, stream: _Stream, value: Any, stamp_ns: int) -> None:
        with self._changed:
            if stream.take(value, stamp_ns, self._now_ns(), self._now_s()):
                self._changed.notify_all()

    def _gripper(self, arm: ArmSpec) -> GripperJoints:
        default = GripperJoints(joints=(names.gripper_name(arm.name),))
        return self._cfg.grippers.get(arm.name, default)

    def _width(self, arm: ArmSpec) -> float:
        """The opening [m] of an arm's gripper."""
        how = self._gripper(arm)
        return how.offset_m + how.scale_m * float(self._widths[arm.name].value.q.sum())

    def _read_images(self) -> dict[str, Image]:
        """The newest image of each camera, in its size."""
        if self._feed is None:
            return {camera.name: self._image(camera) for camera in self._spec.cameras}
        given = self._feed.images()
        return {
            camera.name: replace(given[camera.name], rgb=_fit(given[camera.name].rgb, camera))
            for camera in self._spec.cameras
        }

    def _image(self, camera: CameraSpec) -> Image:
        """The newest image of a camera's topic; each is decoded once, if it is asked for."""
        stream = self._images[camera.name]
        with self._changed:
            message, number, stamp_s = stream.value, stream.received, stream.stamp_s
        with self._decoding:
            if self._decoded.get(camera.name, (0,))[0] != number:
                try:
                    rgb = _fit(rgb_from_message(message), camera)
                except DataError as error:
                    raise PortError(f"camera '{camera.name}': {error}") from error
                image = Image(rgb=rgb, stamp_s=stamp_s, frame_number=number)
                self._decoded[camera.name] = number, image
            return self._decoded[camera.name][1]


def _check_names(kind: str, given: Mapping[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownNameError(kind, name, known)


def _speed(stream: _Stream, q: F64, stamp_ns: int) -> F64:
    """Joint velocities [rad/s] of a driver that reports none: from its last two positions."""
    elapsed_s = (stamp_ns - stream.stamp_ns) * 1e-9
    if not stream.received or elapsed_s <= 0:
        return np.zeros_like(q)
    return (q - stream.value.q) / elapsed_s


def _fit(rgb: U8, camera: CameraSpec) -> U8:
    """An image in the size of its `CameraSpec`."""
    return fit_image(rgb, camera.width_px, camera.height_px)
