"""Listen to a robot's live graph for a while: every topic's rate, age and publishers.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → **send**

It only subscribes. What the figures mean is `topics.py`'s.
"""

import importlib
import os
import time
import uuid
from typing import Any

from robot_rl.apps.checks.finding import Finding
from robot_rl.apps.checks.topics import BRIDGE, OF_BRIDGE, Graph, Topic, judge

__all__ = ["check", "listen"]

DISCOVERY_S = 6.0  # by default a node that joins later is found after two to three seconds
STILL_S = 1.5  # without a new topic, discovery counts as done
IGNORED = ("parameter_events", "rosout")


def check(namespace: str, duration_s: float = 2.0) -> list[Finding]:
    """Listen, and say what is well and what is not."""
    return judge(listen(namespace, duration_s))


def listen(namespace: str, duration_s: float) -> Graph:
    """Subscribe to every topic of a namespace for `duration_s` seconds."""
    import rclpy  # type: ignore[import-not-found]
    from rclpy.context import Context  # type: ignore[import-not-found]
    from rclpy.executors import SingleThreadedExecutor  # type: ignore[import-not-found]

    namespace = f"/{namespace.strip('/')}"
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node(f"doctor_{uuid.uuid4().hex[:8]}", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        found = _discover(node, executor, namespace)
        # An image that is published twice would be encoded only for us.
        twice = {
            name for name in found if name.removesuffix("/compressed") in found.keys() - {name}
        }
        ears = [_Ear(node, namespace, name, found[name]) for name in found.keys() - twice]
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left_s)
        return Graph(
            namespace=namespace,
            domain=os.environ.get("ROS_DOMAIN_ID", "0"),
            nodes=sorted(_nodes(node, namespace)),
            topics=[ear.topic() for ear in ears],
            commands=_commands(node, namespace),
        )
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


class _Ear:
    """All messages of one topic."""

    def __init__(self, node: Any, namespace: str, name: str, kind: str) -> None:
        self.name, self.kind, self._node = name.removeprefix(f"{namespace}/"), kind, node
        offers = node.get_publishers_info_by_topic(name)
        self._publishers = sorted(
            f"{offer.node_namespace.rstrip('/')}/{offer.node_name}" for offer in offers
        )
        self._times_s: list[float] = []
        self._stamps_s: list[float] = []
        self._ages_s: list[float] = []
        self._message: Any = None
        message_type = _message_type(kind)
        if message_type is not None and offers:
            node.create_subscription(message_type, name, self._hear, _qos(offers))

    def _hear(self, message: Any) -> None:
        self._times_s.append(time.monotonic())
        self._message = message
        if hasattr(message, "header"):
            stamp_s = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
            self._stamps_s.append(stamp_s)
            self._ages_s.append(1e-9 * self._node.get_clock().now().nanoseconds - stamp_s)

    def topic(self) -> Topic:
        """What was heard."""
        data = getattr(self._message, "data", b"")
        is_word = isinstance(data, (str, bool, int, float))
        return Topic(
            name=self.name,
            kind=self.kind,
            publishers=self._publishers,
            times_s=self._times_s,
            stamps_s=self._stamps_s,
            ages_s=self._ages_s,
            last=str(data) if is_word else "",
            size_bytes=0 if is_word else len(data),
        )


def _discover(node: Any, executor: Any, namespace: str) -> dict[str, str]:
    """Topics of the namespace with their types, once no new one appears."""
    found: dict[str, str] = {}
    end_s, still_s = time.monotonic() + DISCOVERY_S, time.monotonic() + STILL_S
    while time.monotonic() < min(end_s, still_s if found else end_s):
        executor.spin_once(timeout_sec=0.05)
        for name, kinds in node.get_topic_names_and_types():
            own = name.startswith(f"{namespace}/") and name.split("/")[-1] not in IGNORED
            if own and name not in found:
                found[name] = kinds[0]
                still_s = time.monotonic() + STILL_S
    return found


def _nodes(node: Any, namespace: str) -> list[str]:
    return [name for name, where in node.get_node_names_and_namespaces() if where == namespace]


def _commands(node: Any, namespace: str) -> list[str]:
    """What the bridge publishes to the driver: all but what it says of itself."""
    from rclpy.node import NodeNameNonExistentError  # type: ignore[import-not-found]

    try:
        published = node.get_publisher_names_and_types_by_node(BRIDGE, namespace)
    except NodeNameNonExistentError:
        return []
    names = [
        name.removeprefix(f"{namespace}/")
        for name, _ in published
        if name.startswith(f"{namespace}/")
    ]
    return [name for name in names if name not in OF_BRIDGE and name not in IGNORED]


def _message_type(kind: str) -> Any:
    """The class of a type such as `sensor_msgs/msg/Image`; None where it is not installed."""
    package, _, name = kind.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:
        return None


def _qos(offers: list[Any]) -> Any:
    """The strongest quality of service that every publisher offers."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # type: ignore[import-not-found]

    profiles = [offer.qos_profile for offer in offers]
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
