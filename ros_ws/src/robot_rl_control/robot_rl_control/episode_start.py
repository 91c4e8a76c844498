"""How an episode begins on the graph: a new scene in the twin, or home and a person's go.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

What is done about arm and scene is `scene`'s; here it is waited for, until the bridge follows.
"""

import threading
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_rl.errors import PortError
from robot_rl.types import RobotSpec
from robot_rl_control import names
from robot_rl_control.bridge_link import BridgeLink
from robot_rl_control.scene import Scene
from robot_rl_control.state_reader import StateReader

__all__ = ["EpisodeStart"]

_POLL_S = 0.02
_STILL_RAD_S = 0.02
_FOLLOWING = ("policy", "blend")


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
        self._scene = Scene(node, spec, reader)
        self._go = threading.Event()
        node.create_service(Trigger, names.EPISODE_GO, self._on_go)

    def begin(self, seed: int) -> None:
        """Return when the arm stands at the start, and the bridge follows this client from there.

        Raises:
            PortError: It could not be done in time; says what is missing.
        """
        end_s = time.monotonic() + self._timeout_s
        is_twin = self._how == "twin" or (self._how == "auto" and self._scene.has_twin)
        self._wait(self._is_held, end_s, lambda: "waiting for it to hold")
        self._scene.make("twin" if is_twin else "home", seed)
        self._wait(self._scene.is_ready, end_s, lambda: self._scene.note)
        if not is_twin:
            self._wait_for_person()
            end_s = time.monotonic() + self._timeout_s
        self._wait(self._is_followed, end_s, lambda: "waiting for it to follow")

    def _is_held(self) -> bool:
        speed = np.abs(self._reader.read(with_images=False).dq_rad_s).max()
        return self._bridge.mode == "hold" and bool(speed < _STILL_RAD_S)

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

    def _wait(self, condition: Callable[[], bool], end_s: float, note: Callable[[], str]) -> None:
        while not condition():
            problem = self._bridge.problem()
            if problem or time.monotonic() > end_s:
                raise PortError(
                    problem
                    or f"reset: not done within {self._timeout_s} s: {note()}; the arm bridge is "
                    f"in mode '{self._bridge.mode}'."
                )
            time.sleep(_POLL_S)

    def _on_go(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._go.set()
        response.success = True
        return response
