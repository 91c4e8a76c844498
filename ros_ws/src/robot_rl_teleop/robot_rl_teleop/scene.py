"""Between two episodes: the arm at its start, and the scene as it should be; nothing waits here.

command:   … → safety → send, and back to the start
"""

import json
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from robot_rl_control import names
from robot_rl_control.qos import COMMAND, LATCHED
from std_msgs.msg import Int64, String
from std_srvs.srv import Trigger

__all__ = ["Scene"]

_RETRY_S = 0.2
_TO_BEGIN_S = 0.5  # within which an arm that was sent home says so
_ASK_ANEW_S = 3.0  # a twin that has not answered for so long may not have been there


class Scene:
    """Makes the next start, by asking and looking again at each call of `is_ready`.

    Args:
        node: Whose topics and services are used; spun by others.
        kind: "twin", "home" or "none"; see `RecorderParams.scene`.
        is_in_place: Whether what was executed since a time [s] is where the arm stands.
        now_s: The monotonic clock.
    """

    def __init__(
        self,
        node: Node,
        kind: str,
        is_in_place: Callable[[float], bool],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind, self._is_in_place, self._now_s = kind, is_in_place, now_s
        self._seed, self._stage = 0, "ready"
        self._asked_s = float("-inf")
        self._count_before = -1
        self._episode: dict[str, int] = {}
        self._mode = ""
        self._answer: Any = None
        self.note = ""
        if kind == "twin":
            self._reset = node.create_publisher(Int64, names.TWIN_RESET, COMMAND)
            node.create_subscription(String, names.TWIN_EPISODE, self._on_episode, LATCHED)
        node.create_subscription(String, names.BRIDGE_MODE, self._on_mode, LATCHED)
        self._resync = node.create_client(Trigger, names.RESYNC)
        self._home = node.create_client(Trigger, names.HOME)

    def make(self, seed: int) -> None:
        """Ask for a start; the twin draws it from `seed`."""
        self._seed, self._answer = seed, None
        self._asked_s = float("-inf")
        self._count_before = self._episode.get("count", -1)
        self._stage = {"twin": "redraw", "home": "home", "none": "ready"}[self._kind]

    def is_ready(self) -> bool:
        """Whether the start is there; asks for what is still missing."""
        stage = self._stage
        if stage == "redraw":
            self._redraw()
        elif stage == "resync":
            self._call(self._resync, "check", "the arm bridge does not let go of the arm")
        elif stage == "check":
            self._check()
        elif stage == "home":
            self._call(self._home, "going home", "the arm does not go home")
        elif stage == "going home":
            has_begun = self._now_s() - self._asked_s > _TO_BEGIN_S
            if has_begun and self._mode == "hold":
                self._stage = "ready"
        if self._stage == "ready":
            self.note = ""
        return self._stage == "ready"

    def _redraw(self) -> None:
        """Ask the twin; its answer bears the seed, and counts on."""
        now_s = self._now_s()
        answered = self._episode.get("count", -1) > self._count_before
        if answered and self._episode.get("seed") == self._seed:
            self._stage, self._asked_s = "resync", float("-inf")
        elif now_s - self._asked_s > _ASK_ANEW_S:
            self._asked_s = now_s
            self._reset.publish(Int64(data=self._seed))
            self.note = "waiting for the twin"

    def _check(self) -> None:
        """The bridge may have answered by a joint state from before: its word is not enough."""
        if self._is_in_place(self._asked_s):
            self._stage = "ready"
        elif self._now_s() - self._asked_s > _TO_BEGIN_S:
            self._stage = "resync"

    def _call(self, client: Any, then: str, complaint: str) -> None:
        """Call a service until it succeeds."""
        now_s = self._now_s()
        if self._answer is not None and self._answer.done():
            response, self._answer = self._answer.result(), None
            if response is not None and response.success:
                self._stage = then
                return
            self.note = f"{complaint}: {response.message if response is not None else 'no answer'}"
        if self._answer is None and now_s - self._asked_s > _RETRY_S:
            self._asked_s = now_s
            if client.service_is_ready():
                self._answer = client.call_async(Trigger.Request())
            else:
                self.note = f"no service {client.srv_name}: is the arm bridge running?"

    def _on_episode(self, message: String) -> None:
        self._episode = json.loads(message.data)

    def _on_mode(self, message: String) -> None:
        self._mode = message.data
