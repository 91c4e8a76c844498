"""What leaves the twin, at once or as late as a slow network would bring it.

command:   **camera, arm** → observe → policy (base + residual) → decode → safety → send
"""

import heapq
import threading
from typing import Any, Protocol

import numpy as np

__all__ = ["Outbox", "Publisher"]


class Publisher(Protocol):
    """What a message leaves through."""

    def publish(self, msg: Any, /) -> None:
        """Send it."""
        ...


class Outbox:
    """Publishes messages after a latency and a random jitter; thread-safe.

    Args:
        seed: Of the jitter.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Publisher, Any]] = []
        self._count = 0
        self._latency_s = self._jitter_s = 0.0

    def slow_down(self, latency_s: float, jitter_s: float) -> None:
        """From now on, hold each message back for so long."""
        with self._lock:
            self._latency_s, self._jitter_s = latency_s, jitter_s

    def put(self, publisher: Publisher, message: Any, now_s: float) -> None:
        """Publish a message now, or when it is due."""
        with self._lock:
            delay_s = self._latency_s + self._jitter_s * self._rng.random()
            if delay_s > 0:
                self._count += 1  # breaks ties in the order of arrival
                due = (now_s + delay_s, self._count, publisher, message)
                heapq.heappush(self._waiting, due)
                return
        publisher.publish(message)

    def flush(self, now_s: float) -> None:
        """Publish what is due."""
        while self._waiting:
            with self._lock:
                if not self._waiting or self._waiting[0][0] > now_s:
                    return
                _, _, publisher, message = heapq.heappop(self._waiting)
            publisher.publish(message)
