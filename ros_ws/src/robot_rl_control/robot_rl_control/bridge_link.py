"""What a client of the arm bridge says to it and hears from it.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from robot_rl.control.targets import TargetNames
from robot_rl.types import F64, RobotSpec
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp, stamp_from_ns
from robot_rl_control.qos import COMMAND, LATCHED, STATE

__all__ = ["BridgeLink", "Executed"]

_START = "ros2 launch robot_rl_bringup twin.launch.py (or real.launch.py)"


class Executed(NamedTuple):
    """A command that the bridge has given."""

    q_rad: F64  # (dof,)
    gripper_m: F64  # (num_grippers,)
    source: str  # policy, human, blend, hold or home
    stamp_ns: int
    received_s: float  # monotonic


class BridgeLink:
    """Topics of one arm bridge; the node must be spun by others.

    Args:
        node: Whose namespace the bridge is in.
        spec: The robot that it moves.
        timeout_s: Silence after which an active bridge counts as gone.
    """

    def __init__(self, node: Node, spec: RobotSpec, *, timeout_s: float) -> None:
        self._node, self._timeout_s = node, timeout_s
        self._targets = TargetNames(spec)
        self._dof = spec.dof
        self._changed = threading.Condition()
        self._mode = ""
        self._executed: Executed | None = None
        self._modes, self._sources = set[str](), set[str]()  # since the last `send`
        self._publisher = node.create_publisher(JointState, names.POLICY_TARGET, COMMAND)
        node.create_subscription(String, names.BRIDGE_MODE, self._on_mode, LATCHED)
        node.create_subscription(JointState, names.BRIDGE_EXECUTED, self._on_executed, STATE)

    @property
    def mode(self) -> str:
        """The bridge's mode; empty before it has said one."""
        with self._changed:
            return self._mode

    @property
    def executed(self) -> Executed | None:
        """The newest command that it has given."""
        with self._changed:
            return self._executed

    def problem(self) -> str:
        """Why the bridge cannot be commanded, and what to do about it; empty if it can."""
        place = self._node.get_namespace()
        with self._changed:
            mode, executed = self._mode, self._executed
        if not mode:
            return (
                f"no arm bridge has spoken in namespace '{place}'. Start it: {_START}, and look "
                "whether namespace and ROS_DOMAIN_ID are the same."
            )
        if mode == "inactive":
            return (
                "the arm bridge is inactive. Activate it: "
                f"ros2 lifecycle set {place}/arm_bridge activate"
            )
        if mode == "estopped" or mode.startswith("fault:"):
            return (
                f"the arm bridge is in mode '{mode}'. Look at the arm, then: ros2 service call "
                f"{place}/{names.CLEAR_ESTOP} std_srvs/srv/Trigger"
            )
        silence_s = time.monotonic() - executed.received_s if executed else np.inf
        if silence_s > self._timeout_s:
            return (
                f"the arm bridge has been silent for more than {self._timeout_s} s. It has died, "
                f"or hears nothing from the driver: look at its output, or start it: {_START}"
            )
        if not self._publisher.get_subscription_count():
            return "the arm bridge does not listen to policy targets yet. Wait a second."
        return ""

    def send(self, q_rad: F64, gripper_m: F64, stamp_ns: int) -> None:
        """Ask for joints (dof,) [rad] and openings (num_grippers,) [m].

        Args:
            q_rad: The joints.
            gripper_m: The openings.
            stamp_ns: Of the observation that they answer, by the system's clock.
        """
        message = JointState(name=list(self._targets.names))
        message.header.stamp = stamp_from_ns(stamp_ns)
        message.position = [*q_rad.tolist(), *gripper_m.tolist()]
        with self._changed:
            self._modes = {self._mode}
            self._sources = {self._executed.source} if self._executed else set()
        self._publisher.publish(message)

    def human_share(self) -> Literal["none", "some", "all"]:
        """How much of the time since the last `send` the operator moved the arm."""
        with self._changed:
            modes, sources = self._modes, self._sources
        if "teleop" not in modes and "human" not in sources:
            return "none"
        # "blend" is whoever took over, while the arm still catches up: no pure correction.
        return "all" if modes == {"teleop"} and sources == {"human"} else "some"

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on mode and executed commands holds; returns whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _on_mode(self, message: String) -> None:
        with self._changed:
            self._mode = message.data
            self._modes.add(message.data)
            self._changed.notify_all()

    def _on_executed(self, message: JointState) -> None:
        values = self._targets.pick(list(message.name), message.position)
        if isinstance(values, str):
            self._node.get_logger().error(
                f"executed command of another robot: {values}. Give the bridge's robot file.",
                throttle_duration_sec=5.0,
            )
            return
        stamp_ns = ns_from_stamp(message.header.stamp)
        now_s = time.monotonic()
        with self._changed:
            self._executed = Executed(*values, message.header.frame_id, stamp_ns, now_s)
            self._sources.add(message.header.frame_id)
            self._changed.notify_all()
