"""A device on the ROS graph: motion to the arm bridge, events to the recorder.

command:   **person → device** → arm bridge (mux → limits) → send

The device is read from a thread on an absolute schedule; the switch (`teleop/active`) is repeated
at each read, so that the arm holds within a tenth of a second when this node dies.
"""

import json
import sys
import threading
import time
from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from robot_rl_control import names
from robot_rl_control.params import read_params
from robot_rl_control.qos import COMMAND, LATCHED, STATE
from robot_rl_control.running import run_node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from robot_rl.control.targets import TargetNames
from robot_rl.teleop.devices.device import Event, Sample
from robot_rl.types import F64, RobotSpec
from robot_rl_teleop.hands import make_device
from robot_rl_teleop.params import TeleopParams
from robot_rl_teleop.tasks import find_job

__all__ = ["TeleopNode", "main"]

_SERVICES = {
    event: f"{names.RECORDER}/{event}"
    for event in (
        Event.START,
        Event.SUCCESS,
        Event.FAILURE,
        Event.DISCARD,
        Event.RERECORD,
        Event.UNDO,
    )
}


class TeleopNode(Node):
    """Reads one device, and says on the graph what it means.

    Attributes:
        status: What the recorder said last.
        executed: (dof,) joints [rad] and (num_grippers,) openings [m] that were commanded last.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop", automatically_declare_parameters_from_overrides=True, **options)
        params = read_params(self, TeleopParams)
        job = find_job(params.robot, params.task)
        self._params, self._spec = params, job.spec
        self.status: dict[str, Any] = {}
        self.executed: tuple[F64, F64] | None = None
        self._names = TargetNames(job.spec)
        self._device = make_device(self, params, job)
        self._widths = _GripperWishes(job.spec)
        self._is_intervening = False
        self._note = ""
        self._twist = self.create_publisher(TwistStamped, names.TELEOP_TWIST, COMMAND)
        self._joints = self.create_publisher(JointState, names.TELEOP_JOINTS, COMMAND)
        self._gripper = self.create_publisher(JointState, names.TELEOP_GRIPPER, COMMAND)
        self._active = self.create_publisher(Bool, names.TELEOP_ACTIVE, COMMAND)
        self._recorder = {e: self.create_client(Trigger, s) for e, s in _SERVICES.items()}
        self._intervene = self.create_client(SetBool, names.SET_INTERVENTION)
        self.create_subscription(String, names.EPISODE_STATUS, self._on_status, LATCHED)
        self.create_subscription(JointState, names.BRIDGE_EXECUTED, self._on_executed, STATE)

    def run(self, stop: threading.Event) -> None:
        """Read and publish until told to stop, or until the person quits.

        Raises:
            PortError: The device is not there, or has gone.
        """
        self._device.open()
        period_s = 1.0 / self._params.rate_hz
        due_s = time.monotonic()
        try:
            while not stop.is_set() and self._tell(self._device.read()):
                due_s = max(due_s + period_s, time.monotonic())
                stop.wait(due_s - time.monotonic())
        finally:
            self._active.publish(Bool(data=False))
            self._device.close()

    def _tell(self, sample: Sample) -> bool:
        """Publish one sample; False if the person quits."""
        now_s = time.monotonic()
        is_gripping = self._widths.take(sample, now_s)
        is_held = sample.is_held(now_s)
        stamp = self.get_clock().now().to_msg()
        if is_held or is_gripping:
            self._move(sample if is_held else Sample(stamp_s=now_s, arm=sample.arm), stamp)
        if wishes := self._widths.wished:
            message = JointState(name=list(wishes), position=list(wishes.values()))
            message.header.stamp = stamp
            self._gripper.publish(message)
        self._active.publish(Bool(data=is_held or is_gripping))
        for event in sample.events:
            self._ask(event)
        if sample.note and sample.note != self._note:
            self.get_logger().info(sample.note)
        self._note = sample.note
        return Event.QUIT not in sample.events

    def _move(self, sample: Sample, stamp: Any) -> None:
        """Ask for joints, or for a tool velocity in the arm's base."""
        if sample.joints_rad is not None:
            grippers_m = [] if sample.grippers_m is None else sample.grippers_m.tolist()
            positions = [*sample.joints_rad.tolist(), *grippers_m]
            message = JointState(name=list(self._names.names[: len(positions)]))
            message.position = positions
            message.header.stamp = stamp
            self._joints.publish(message)
            return
        twist = TwistStamped()
        twist.header.stamp, twist.header.frame_id = stamp, self._spec.arms[sample.arm].name
        linear = sample.twist[:3] * self._params.speed_m_s
        angular = sample.twist[3:] * self._params.turn_rad_s
        twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z = linear.tolist()
        twist.twist.angular.x, twist.twist.angular.y, twist.twist.angular.z = angular.tolist()
        self._twist.publish(twist)

    def _ask(self, event: Event) -> None:
        """Pass an event on; the answer is told when it comes."""
        if event is Event.INTERVENE:
            self._is_intervening = not self._is_intervening
            self._call(self._intervene, SetBool.Request(data=self._is_intervening), event)
        elif event in self._recorder:
            self._call(self._recorder[event], Trigger.Request(), event)

    def _call(self, client: Any, request: Any, event: Event) -> None:
        if not client.service_is_ready():
            self.get_logger().warning(f"{event}: no service {client.srv_name}; is it running?")
            return
        future = client.call_async(request)
        future.add_done_callback(lambda done: self._on_answer(event, done.result()))

    def _on_answer(self, event: Event, response: Any) -> None:
        if response is None or not response.success:
            message = "no answer" if response is None else response.message
            self.get_logger().warning(f"{event}: {message}")
        elif response.message:
            self.get_logger().info(f"{event}: {response.message}")

    def _on_status(self, message: String) -> None:
        self.status = json.loads(message.data)

    def _on_executed(self, message: JointState) -> None:
        found = self._names.pick(list(message.name), message.position)
        if not isinstance(found, str):
            self.executed = found
            self._widths.start(found[1])


class _GripperWishes:
    """What the person wants of the grippers, and for how long the switch stays held for it.

    A key is down for an instant, but a gripper takes its time: the bridge must not stop it.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._arms = [arm for arm in spec.arms if arm.gripper is not None]
        self._by_arm = {k: arm for k, arm in enumerate(spec.arms) if arm.gripper is not None}
        self._now_m: dict[str, float] = {}
        self._until_s = float("-inf")
        self.wished: dict[str, float] = {}

    def start(self, gripper_m: F64) -> None:
        """Note what is commanded now (num_grippers,), as long as nobody has wished anything."""
        for arm, width_m in zip(self._arms, gripper_m.tolist(), strict=True):
            self._now_m[names.gripper_name(arm.name)] = width_m

    def take(self, sample: Sample, now_s: float) -> bool:
        """Take a wish up; returns whether a gripper is still on its way."""
        arm = self._by_arm.get(sample.arm)
        if arm is not None and arm.gripper is not None:
            name, widest_m = names.gripper_name(arm.name), arm.gripper.max_width_m
            if sample.gripper is not None:
                self.wished[name] = sample.gripper * widest_m
            if sample.toggles_gripper:
                is_open = self._now_m.get(name, widest_m) > widest_m / 2
                self.wished[name] = 0.0 if is_open else widest_m
                self._until_s = now_s + widest_m / arm.gripper.max_speed_m_s
        if now_s >= self._until_s and sample.gripper is None:
            self.wished = {}  # the bridge keeps the last one
        return now_s < self._until_s


def _operate(node: TeleopNode, stop: threading.Event) -> int:
    """Pass the device's motion on until told to stop, or until the person quits."""
    node.run(stop)
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM, or until the person quits."""
    return run_node("teleop", TeleopNode, _operate, args=args)


if __name__ == "__main__":
    sys.exit(main())
