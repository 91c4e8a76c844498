"""Between two episodes: the arm at its start, and the scene as it should be; nothing waits here.

command:   … → safety → send, and back to the start

The recorder asks `is_ready` at each of its steps, `EpisodeStart` until it is true.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Int64, String
from std_srvs.srv import Trigger

from robot_rl.control.targets import TargetNames
from robot_rl.errors import PortError
from robot_rl.types import F64, RobotSpec, RobotState
from robot_rl_control import names
from robot_rl_control.qos import COMMAND, LATCHED, STATE
from robot_rl_control.state_reader import StateReader

__all__ = ["Kind", "Scene"]

Kind = Literal["twin", "home", "none"]
"""A new scene in the twin; the arm home, and the scene a person's to restore; or as it is."""

_RETRY_S = 0.2
_ANSWER_S = 3.0  # a service that has not answered for so long has lost the request, or its answer
_TO_BEGIN_S = 0.5  # within which an arm that was sent home says so, or a command shows itself
_ASK_ANEW_S = 3.0  # a twin that has not answered for so long may not have been there
_NEAR_RAD = 0.02  # of a command to the arm, and of the arm to home


class Scene:
    """Makes the next start, by asking and looking again at each call of `is_ready`.

    Args:
        node: Whose topics and services are used; spun by others.
        spec: The robot.
        reader: Its state.
        now_s: The monotonic clock.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        reader: StateReader,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._reader, self._now_s = node, reader, now_s
        self._home_rad = np.concatenate([arm.home_rad for arm in spec.arms])
        self._names = TargetNames(spec)
        self._kind: Kind = "none"
        self._seed, self._stage = 0, "ready"
        self._asked_s = float("-inf")
        self._count_before = -1
        self._episode: tuple[int, int, float] = (-1, -1, 0.0)  # seed, count, time of receipt
        self._executed: tuple[F64, float] | None = None  # joints (dof,), time of receipt
        self._mode = ""
        self._answer: Any = None
        self.note = ""
        """What is still missing."""
        self._reset = node.create_publisher(Int64, names.TWIN_RESET, COMMAND)
        node.create_subscription(String, names.TWIN_EPISODE, self._on_episode, LATCHED)
        node.create_subscription(String, names.BRIDGE_MODE, self._on_mode, LATCHED)
        node.create_subscription(JointState, names.BRIDGE_EXECUTED, self._on_executed, STATE)
        self._resync = node.create_client(Trigger, names.RESYNC)
        self._home = node.create_client(Trigger, names.HOME)

    @property
    def has_twin(self) -> bool:
        """Whether a twin is there."""
        return self._node.count_publishers(names.TWIN_EPISODE) > 0

    def make(self, kind: Kind, seed: int = 0) -> None:
        """Ask for a start; the twin draws it from `seed`."""
        self._kind, self._seed, self._answer = kind, seed, None
        self._asked_s = float("-inf")
        self._count_before = self._episode[1]
        self._stage = {"twin": "redraw", "home": "resync", "none": "ready"}[kind]

    def is_ready(self) -> bool:
        """Whether the start is there; asks for what is still missing."""
        stage = self._stage
        if stage == "redraw":
            self._redraw()
        elif stage == "look":
            self._look()
        elif stage == "resync":
            self._call(self._resync, "check", "the arm bridge does not let go of the arm")
        elif stage == "check":
            self._check()
        elif stage == "home":
            self._call(self._home, "going home", "the arm does not go home")
        elif stage == "going home":
            self._check_home()
        if self._stage == "ready":
            self.note = ""
        return self._stage == "ready"

    def _redraw(self) -> None:
        """Ask the twin; its answer bears the seed, and counts on."""
        now_s, (seed, count, _) = self._now_s(), self._episode
        if count > self._count_before and seed == self._seed:
            self._stage = "look"
        elif now_s - self._asked_s > _ASK_ANEW_S and self._reset.get_subscription_count():
            self._asked_s = now_s
            self._reset.publish(Int64(data=self._seed))
        self.note = f"waiting for the twin to draw the scene of seed {self._seed}"

    def _look(self) -> None:
        """Nothing that shows the scene before may be taken for the new one."""
        self.note = "waiting for the new scene's state"
        state = self._state()
        if state is None:
            return
        stamps_s = [state.stamp_s, *(image.stamp_s for image in state.images.values())]
        if min(stamps_s) > self._episode[2]:
            self._stage, self._asked_s = "resync", float("-inf")

    def _check(self) -> None:
        """The bridge may have answered by a joint state from before: its word is not enough."""
        state, executed = self._state(), self._executed
        if (
            state is not None
            and executed is not None
            and executed[1] > self._asked_s
            and np.abs(executed[0] - state.q_rad).max() < _NEAR_RAD
        ):
            self._stage = "home" if self._kind == "home" else "ready"
            self._asked_s = float("-inf")
        elif self._now_s() - self._asked_s > _TO_BEGIN_S:
            self._stage = "resync"

    def _check_home(self) -> None:
        """The bridge gives up the way when it is blind for a moment; it is asked again then."""
        state = self._state()
        if state is None or self._now_s() - self._asked_s < _TO_BEGIN_S or self._mode != "hold":
            return
        is_there = np.abs(state.q_rad - self._home_rad).max() < _NEAR_RAD
        self._stage = "ready" if is_there else "home"

    def _call(self, client: Any, then: str, complaint: str) -> None:
        """Call a service until it succeeds."""
        now_s = self._now_s()
        if self._answer is not None and self._answer.done():
            response, self._answer = self._answer.result(), None
            if response is not None and response.success:
                self._stage = then
                return
            self.note = f"{complaint}: {response.message if response is not None else 'no answer'}"
        elif self._answer is not None and now_s - self._asked_s > _ANSWER_S:
            client.remove_pending_request(self._answer)
            self._answer = None
            self.note = f"{complaint}: no answer within {_ANSWER_S:g} s"
        if self._answer is None and now_s - self._asked_s > _RETRY_S:
            self._asked_s = now_s
            if client.service_is_ready():
                self._answer = client.call_async(Trigger.Request())
            else:
                self.note = f"no service {client.srv_name}: is the arm bridge running?"

    def _state(self) -> RobotState | None:
        """The newest state, if there is one."""
        try:
            return self._reader.read()
        except PortError as error:
            self.note = str(error)
            return None

    def _on_episode(self, message: String) -> None:
        facts = json.loads(message.data)
        self._episode = int(facts["seed"]), int(facts["count"]), self._now_s()

    def _on_mode(self, message: String) -> None:
        self._mode = message.data

    def _on_executed(self, message: JointState) -> None:
        found = self._names.pick(list(message.name), message.position)
        if not isinstance(found, str):  # of another robot: those who follow it complain
            self._executed = found[0], self._now_s()
