"""How an episode begins on the graph: a new scene in the twin, or home and a person's go.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Int64, String
from std_srvs.srv import Trigger

from robot_rl.errors import PortError
from robot_rl.types import RobotSpec, RobotState
from robot_rl_control import names
from robot_rl_control.bridge_link import BridgeLink
from robot_rl_control.qos import COMMAND, LATCHED
from robot_rl_control.state_reader import StateReader

__all__ = ["EpisodeStart"]

_POLL_S = 0.02
_SERVICE_S = 5.0
_STILL_RAD_S = 0.02
_FOLLOWING = ("policy", "blend")
_NEAR_RAD = 0.02  # of a command to the arm, and of the arm to home


class EpisodeStart:
    """Brings arm and scene to the start of an episode.

    Args:
        node: Whose namespace all is in; spun by others.
        spec: The robot.
        reader: Its state.
        bridge: What moves it.
        how: With the twin, by way of home, or auto: the twin if there is one.
        timeout_s: For arm and twin.
        operator_timeout_s: For the person.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        reader: StateReader,
        bridge: BridgeLink,
        *,
        how: Literal["auto", "twin", "home"],
        timeout_s: float,
        operator_timeout_s: float,
    ) -> None:
        self._node, self._reader, self._bridge, self._how = node, reader, bridge, how
        self._timeout_s, self._operator_timeout_s = timeout_s, operator_timeout_s
        self._home_rad = np.concatenate([arm.home_rad for arm in spec.arms])
        self._episode: tuple[int, int, float] | None = None  # seed, count, time of receipt
        self._go = threading.Event()
        self._seeds = node.create_publisher(Int64, names.TWIN_RESET, COMMAND)
        node.create_subscription(String, names.TWIN_EPISODE, self._on_episode, LATCHED)
        node.create_service(Trigger, names.EPISODE_GO, self._on_go)

    def begin(self, seed: int) -> None:
        """Return when the arm stands at the start, and the bridge follows this client from there.

        Raises:
            PortError: It could not be done in time; says what is missing.
        """
        end_s = time.monotonic() + self._timeout_s
        is_twin = self._how == "twin" or (self._how == "auto" and self._hears_twin())
        self._wait_until_held(end_s)
        if is_twin:
            self._redraw(seed, end_s)
        else:
            self._go_home(end_s)
            self._wait_for_person()
            end_s = time.monotonic() + self._timeout_s
        self._wait(self._is_followed, end_s, "it to follow")

    def _hears_twin(self) -> bool:
        return self._node.count_publishers(names.TWIN_EPISODE) > 0

    def _wait_until_held(self, end_s: float) -> None:
        self._wait(lambda: self._bridge.mode == "hold" and self._is_still(), end_s, "it to hold")

    def _redraw(self, seed: int, end_s: float) -> None:
        """A new scene, and the bridge's command where the arm then stands."""
        self._wait(self._hears_twin, end_s, f"a twin on {names.TWIN_EPISODE}")
        self._wait(lambda: self._seeds.get_subscription_count() > 0, end_s, "the twin's ear")
        self._wait(lambda: self._episode is not None, end_s, "the twin's last episode")
        assert self._episode is not None  # waited for
        count = self._episode[1]
        self._seeds.publish(Int64(data=seed))
        self._wait(lambda: self._is_drawn(seed, count), end_s, f"the scene of seed {seed}")
        drawn_s = self._episode[2]
        self._wait(
            lambda: _oldest_s(self._reader.read()) > drawn_s, end_s, "the new scene's state"
        )
        self._wait(self._resync, end_s, "it to take the arm where it stands")

    def _is_drawn(self, seed: int, count: int) -> bool:
        return self._episode is not None and self._episode[:2] == (seed, count + 1)

    def _resync(self) -> bool:
        """Have the bridge stand where the arm does; True once its commands show it.

        The bridge may have answered by a joint state from before, so its word is not enough.
        """
        if self._bridge.call(names.RESYNC, _SERVICE_S) is not None:
            return False
        answered_s = time.monotonic()
        q_rad = self._reader.read(with_images=False).q_rad

        def stands_there() -> bool:
            executed = self._bridge.executed
            return (
                executed is not None
                and executed.received_s > answered_s
                and np.abs(executed.q_rad - q_rad).max() < _NEAR_RAD
            )

        return self._bridge.wait_for(stands_there, 0.5)

    def _is_followed(self) -> bool:
        """Ask to stay; True once the bridge follows, and states newer than the request have come.

        A bridge that begins to follow moves slowly until it has caught up. Here it has at once,
        and the first step of an episode is as quick as any other.
        """
        state, stamp_ns = self._reader.read_stamped(with_images=False)
        asked_s = time.monotonic()
        self._bridge.send(state.q_rad, state.gripper_m, stamp_ns)

        def follows() -> bool:
            executed = self._bridge.executed
            return (
                executed is not None
                and executed.received_s > asked_s
                and executed.source in _FOLLOWING
            )

        return self._bridge.wait_for(follows, 0.5) and self._reader.wait_for(
            lambda: self._reader.joints_stamp_ns > stamp_ns, 0.5
        )

    def _go_home(self, end_s: float) -> None:
        # A bridge whose driver came late may stand elsewhere than the arm.
        self._wait(self._resync, end_s, "it to take the arm where it stands")
        self._wait(self._is_home, end_s, "the arm at home")

    def _is_home(self) -> bool:
        """Whether the arm rests at home; sends it there while it does not.

        The bridge gives up the way when it is blind for a moment; holding elsewhere, it is asked
        again.
        """
        if self._bridge.mode != "hold" or not self._is_still():
            return False
        q_rad = self._reader.read(with_images=False).q_rad
        if np.abs(q_rad - self._home_rad).max() < _NEAR_RAD:
            return True
        if refused := self._bridge.call(names.HOME, _SERVICE_S):
            raise PortError(f"the arm cannot go home: {refused}.")
        self._bridge.wait_for(lambda: self._bridge.mode == "home", 0.5)
        return False

    def _wait_for_person(self) -> None:
        """The scene is a person's to restore."""
        service = f"{self._node.get_namespace()}/{names.EPISODE_GO}"
        self._node.get_logger().info(
            f"Restore the scene, then: ros2 service call {service} std_srvs/srv/Trigger"
        )
        self._go.clear()
        if not self._go.wait(self._operator_timeout_s):
            raise PortError(
                f"nobody has said go within {self._operator_timeout_s} s. Restore the scene and "
                f"call {service}, or raise operator_timeout_s."
            )

    def _wait(self, condition: Callable[[], bool], end_s: float, what: str) -> None:
        while not condition():
            problem = self._bridge.problem()
            if problem or time.monotonic() > end_s:
                raise PortError(
                    problem
                    or f"reset: waited {self._timeout_s} s in vain for {what}; the arm bridge is "
                    f"in mode '{self._bridge.mode}'."
                )
            time.sleep(_POLL_S)

    def _is_still(self) -> bool:
        return bool(np.abs(self._reader.read(with_images=False).dq_rad_s).max() < _STILL_RAD_S)

    def _on_episode(self, message: String) -> None:
        facts = json.loads(message.data)
        self._episode = int(facts["seed"]), int(facts["count"]), time.monotonic()

    def _on_go(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._go.set()
        response.success = True
        return response


def _oldest_s(state: RobotState) -> float:
    """Stamp of the oldest part of a state, images included."""
    return min([state.stamp_s, *(image.stamp_s for image in state.images.values())])
