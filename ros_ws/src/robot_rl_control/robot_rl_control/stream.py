"""The newest sample of each source with its honest age, and the subscriptions that fill them.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send

Stamps come from the system's clock and leave on the monotonic one: receipt minus the age that the
message had then. A stamp that does not move on refreshes nothing, and no jump of the system's
clock makes old data new.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from robot_rl_control.qos import STATE

__all__ = ["Intake", "Stream", "StreamFacts"]


class StreamFacts(NamedTuple):
    """How one stream has gone so far."""

    received: int  # samples with a new stamp
    repeated: int  # samples whose stamp stood still; they count for nothing else
    age_s: float  # of the newest; infinite before the first


class Stream:
    """The newest sample of one source, and when it was taken.

    Args:
        title: What messages call it.
        delay_s: How much later its samples are stamped than what they show.
    """

    def __init__(self, title: str, delay_s: float = 0.0) -> None:
        self.title, self._delay_s = title, delay_s
        self.value: Any = None
        self.stamp_ns, self.stamp_s = 0, -np.inf
        self.received = self.repeated = 0

    def take(self, value: Any, stamp_ns: int, now_ns: int, now_s: float) -> bool:
        """Keep a sample, unless its stamp stands still; returns whether it was kept."""
        if self.received and stamp_ns == self.stamp_ns:
            self.repeated += 1
            return False
        age_s = max(0, now_ns - stamp_ns) * 1e-9
        self.value, self.stamp_ns, self.stamp_s = value, stamp_ns, now_s - age_s - self._delay_s
        self.received += 1
        return True


class Intake:
    """All subscriptions of one reader, in one callback group, behind one lock.

    Args:
        node: Who subscribes; it must be spun by others.
        now_s: The monotonic clock.
        now_ns: The system's clock.
    """

    def __init__(self, node: Node, now_s: Callable[[], float], now_ns: Callable[[], int]) -> None:
        self.node, self.now_s, self.now_ns = node, now_s, now_ns
        self.changed = threading.Condition()
        """Held while streams are read together; notified when one was filled."""
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscriptions: list[Any] = []

    def subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any = STATE
    ) -> None:
        """Subscribe to a topic of the node's namespace."""
        made = self.node.create_subscription(
            kind, topic, callback, qos, callback_group=self._group
        )
        self._subscriptions.append(made)

    def take(self, stream: Stream, value: Any, stamp_ns: int) -> None:
        """Put a sample into its stream."""
        with self.changed:
            if stream.take(value, stamp_ns, self.now_ns(), self.now_s()):
                self.changed.notify_all()

    def refuse(self, what: str) -> None:
        """Say now and then that something is not used, and why."""
        self.node.get_logger().error(f"{what} It is not used.", throttle_duration_sec=5.0)

    def close(self) -> None:
        """Unsubscribe; calling it twice is harmless."""
        while self._subscriptions:
            self.node.destroy_subscription(self._subscriptions.pop())
