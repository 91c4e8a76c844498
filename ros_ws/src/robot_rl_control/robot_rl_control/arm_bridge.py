"""The arm bridge as a lifecycle node: the only publisher of commands. It loads no torch.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

All decisions are `robot_rl.control.bridge`'s. This node feeds it messages, ticks it from a thread
of its own on an absolute monotonic schedule (an rclpy timer loses a third of its rate beside
images), and publishes what comes out. `ros_ws/README.md` lists topics and services.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from robot_rl.control.bridge import Bridge, Tick
from robot_rl.control.bridge_inputs import Stamp
from robot_rl.control.calibrated import load_calibration
from robot_rl.control.robot_file import RobotFile, load_robot
from robot_rl.control.targets import TargetNames
from robot_rl.errors import ConfigError
from robot_rl.types import F64
from robot_rl_control import names
from robot_rl_control.drivers import JointCommands, JointStates
from robot_rl_control.grippers import GripperCommands
from robot_rl_control.params import ArmBridgeParams, read_params
from robot_rl_control.qos import COMMAND, LATCHED, STATE
from robot_rl_control.realtime import give_priority, settle
from robot_rl_control.running import run_node

__all__ = ["ArmBridge", "main"]

_RETRY_S = 0.2  # of activating, with `autostart`
_WATCH_S = 0.1  # between looks for another publisher: within every watchdog
_LOOK_S = 0.2  # between looks at the ticking thread
_BRAKE_S = 5.0  # longest time that braking may take before it is given up
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ArmBridge(LifecycleNode):
    """Messages in, one command a tick out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "arm_bridge", automatically_declare_parameters_from_overrides=True, **options
        )
        self._params = read_params(self, ArmBridgeParams)
        self._robot: RobotFile = load_robot(self._params.robot)
        self._calibration = load_calibration(self._robot)
        if self._calibration is not None:
            self.get_logger().info(f"calibrated: {self._calibration.describe()}")
        self._lock = threading.Lock()
        self._bridge = Bridge(self._robot.spec, self._robot.bridge)
        self._names = TargetNames(self._robot.spec).names
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._said: dict[str, Any] = {}  # what was last published on the latched topics
        self._refusal = ""
        self._late_s: deque[float] = deque(maxlen=2000)
        self._skipped = 0
        self._scheduling = "fair"
        self._autostart: Any = None
        if self._params.autostart:
            self._autostart = self.create_timer(_RETRY_S, self._start)

    # Life cycle --------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open topics and services, and begin to tick; nothing is commanded yet."""
        if self._thread is None:
            try:
                self._gripper_commands = GripperCommands(self, self._robot)
            except ConfigError as error:
                self.get_logger().fatal(str(error))
                return _FAILURE
            self._open()
            self._keep_time()
            self._stop.clear()
            thread = threading.Thread(target=self._run, name="bridge", daemon=True)
            thread.start()
            self._thread = thread  # only now: `finish` joins it from another thread
        return _SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to command from where the arm stands, if the driver hears us and nobody else."""
        if reason := self._others() or self._unheard():
            return self._fail(reason)
        with self._lock:
            reason = self._bridge.activate(time.monotonic())
        if reason:
            return self._fail(reason)
        self.get_logger().info("active: holding where the arm stands")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Brake; commands end with the arm holding."""
        self.brake()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Brake, and end the ticks."""
        self.finish()
        return _SUCCESS

    @property
    def is_alive(self) -> bool:
        """Whether its ticks go on, or have not begun or were ended on purpose."""
        return self._thread is None or self._thread.is_alive()

    def brake(self) -> None:
        """Bring the arm to rest and leave it there; returns when that is done."""
        with self._lock:
            self._bridge.deactivate()
        end_s = time.monotonic() + _BRAKE_S
        while self._bridge.is_active and self.is_alive and time.monotonic() < end_s:
            self._stop.wait(0.002)

    def finish(self) -> None:
        """Brake, and end the ticks; calling it twice is harmless."""
        if self._thread is None:
            return
        self.brake()
        self._stop.set()
        self._thread.join(_BRAKE_S)
        self._thread = None

    def _start(self) -> None:
        """Configure and activate, again and again until it works."""
        configured = self._thread is not None or self.trigger_configure() == _SUCCESS
        if not configured or self.trigger_activate() == _SUCCESS:
            self._autostart.cancel()

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        if reason != self._refusal:
            self.get_logger().warning(f"not activated: {reason}")
            self._refusal = reason
        return _FAILURE

    # Topics and services -----------------------------------------------------------------------

    def _open(self) -> None:
        inputs = self._bridge.inputs
        self._joint_commands = JointCommands(self, self._robot, self._calibration)
        self._executed = self.create_publisher(JointState, names.BRIDGE_EXECUTED, STATE)
        self._mode = self.create_publisher(String, names.BRIDGE_MODE, LATCHED)
        self._estopped = self.create_publisher(Bool, names.ESTOPPED, LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", STATE)
        self._states = JointStates(self, self._robot, self._on_state, self._calibration)
        for topic, take in (
            (names.POLICY_TARGET, inputs.take_policy),
            (names.TELEOP_JOINTS, inputs.take_leader),
            (names.TELEOP_GRIPPER, inputs.take_gripper),
        ):
            self.create_subscription(JointState, topic, self._target_callback(take), COMMAND)
        self.create_subscription(TwistStamped, names.TELEOP_TWIST, self._on_twist, COMMAND)
        self.create_subscription(Bool, names.TELEOP_ACTIVE, self._on_deadman, COMMAND)
        for name, request in (
            (names.ESTOP, lambda now_s: self._bridge.estop()),
            (names.CLEAR_ESTOP, lambda now_s: self._bridge.clear_estop()),
            (names.HOME, lambda now_s: self._bridge.home()),
            (names.RESYNC, lambda now_s: self._bridge.resync(now_s)),
        ):
            self.create_service(Trigger, name, self._service(request))
        self.create_service(SetBool, names.SET_INTERVENTION, self._on_intervention)
        self.create_timer(_WATCH_S, self._watch)
        self.create_timer(1.0, self._diagnose)

    def _stamp(self, header_stamp: Any) -> Stamp:
        return Stamp(
            stamp_s=header_stamp.sec + header_stamp.nanosec * 1e-9,
            clock_s=self.get_clock().now().nanoseconds * 1e-9,
            now_s=time.monotonic(),
        )

    def _on_state(self, q: F64, dq: F64 | None, gripper: F64, stamp_s: float) -> None:
        clock_s = self.get_clock().now().nanoseconds * 1e-9
        with self._lock:
            stamp = Stamp(stamp_s, clock_s, time.monotonic())
            self._bridge.inputs.take_state(q, dq, gripper, stamp)

    def _target_callback(
        self, take: Callable[[Sequence[str], Sequence[float], Stamp], str | None]
    ) -> Callable[[JointState], None]:
        def callback(message: JointState) -> None:
            stamp = self._stamp(message.header.stamp)
            with self._lock:
                reason = take(list(message.name), list(message.position), stamp)
            self._warn(reason)

        return callback

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        twist = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
        stamp = self._stamp(message.header.stamp)
        with self._lock:
            reason = self._bridge.inputs.take_twist(message.header.frame_id, twist, stamp)
        self._warn(reason)

    def _on_deadman(self, message: Bool) -> None:
        with self._lock:
            self._bridge.inputs.take_deadman(message.data, time.monotonic())

    def _on_intervention(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        with self._lock:
            self._bridge.set_intervention(request.data)
        response.success = True
        return response

    def _service(self, request: Callable[[float], str | None]) -> Callable[[Any, Any], Any]:
        def callback(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._lock:
                reason = request(time.monotonic())
            response.success, response.message = reason is None, reason or ""
            return response

        return callback

    def _warn(self, reason: str | None) -> None:
        if reason:
            self.get_logger().warning(f"refused: {reason}", throttle_duration_sec=1.0)

    # Ticks -------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        """Have ticks come when they are due, as far as it is permitted."""
        settle()
        if priority := self._params.realtime_priority:
            refused = give_priority(priority)
            self._scheduling = f"real time {priority}" if not refused else "fair, not permitted"
            if refused:
                self.get_logger().warning(refused)

    def _run(self) -> None:
        """Tick on an absolute schedule; a missed tick is skipped, never caught up with."""
        period_s = 1.0 / self._robot.bridge.rate_hz
        due_s = time.monotonic()
        while not self._stop.is_set():
            due_s += period_s
            left_s = due_s - time.monotonic()
            if left_s > 0:
                time.sleep(left_s)
            late_s = time.monotonic() - due_s
            self._late_s.append(late_s)
            if late_s > period_s:
                missed = int(late_s / period_s)
                self._skipped += missed
                due_s += missed * period_s
            self._tick()

    def _tick(self) -> None:
        with self._lock:  # waiting for it between the two clocks would look like a jump of one
            now, now_s = self.get_clock().now(), time.monotonic()
            tick = self._bridge.tick(now_s, now.nanoseconds * 1e-9)
            mode, is_estopped = self._bridge.mode, self._bridge.is_estopped
        if tick is not None:
            stamp = now.to_msg()
            self._joint_commands.publish(tick.q_rad, stamp)
            self._gripper_commands.send(tick.gripper_m, tick.gripper_goal_m)
            self._say_executed(tick, stamp)
        self._say_latched("mode", self._mode, String(data=mode))
        self._say_latched("estopped", self._estopped, Bool(data=is_estopped))

    def _say_executed(self, tick: Tick, stamp: Any) -> None:
        message = JointState(name=list(self._names))
        message.header.stamp, message.header.frame_id = stamp, tick.source
        message.position = [*tick.q_rad.tolist(), *tick.gripper_goal_m.tolist()]
        self._executed.publish(message)

    def _say_latched(self, name: str, publisher: Any, message: Any) -> None:
        if self._said.get(name) != message:
            publisher.publish(message)
            self._said[name] = message

    # Watching ----------------------------------------------------------------------------------

    def _others(self) -> str:
        """Who else publishes commands; empty if nobody does."""
        for topic in (*self._joint_commands.topics, *self._gripper_commands.topics):
            publishers = self.get_publishers_info_by_topic(topic)
            if len(publishers) > 1:
                own = self.get_fully_qualified_name()
                found = [f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers]
                others = sorted(set(found) - {own}) or [own]
                return f"{', '.join(others)} also publishes {topic}"
        return ""

    def _unheard(self) -> str:
        """Which joint commands nobody would take; empty if all are heard."""
        topics = self._joint_commands.topics
        deaf = [topic for topic in topics if not self.count_subscribers(topic)]
        return f"nobody listens to {', '.join(deaf)}; start the driver" if deaf else ""

    def _watch(self) -> None:
        if self._bridge.is_active and (reason := self._others()):
            with self._lock:
                self._bridge.fault(reason)
            self.get_logger().error(f"fault: {reason}", throttle_duration_sec=5.0)

    def _diagnose(self) -> None:
        now_s = time.monotonic()
        late_ms = np.array(self._late_s) * 1e3 if self._late_s else np.zeros(1)
        with self._lock:
            bridge = self._bridge
            values = {
                "mode": bridge.mode,
                "hold reason": bridge.hold_reason,
                "rate [Hz]": f"{self._robot.bridge.rate_hz:g}",
                "lateness p50 [ms]": f"{np.percentile(late_ms, 50):.3f}",
                "lateness p99 [ms]": f"{np.percentile(late_ms, 99):.3f}",
                "ticks skipped": str(self._skipped),
                "scheduling": self._scheduling,
                "last refusal": bridge.inputs.last_refusal,
                "calibration": self._calibration.hash if self._calibration else "none",
            }
            values |= {f"age {s.name} [s]": f"{s.age_s(now_s):.3f}" for s in bridge.inputs.streams}
            values |= {key: str(count) for key, count in bridge.inputs.counts.items()}
            values |= {f"limited by {key}": str(n) for key, n in bridge.limit_hits.items()}
        mode = values["mode"]
        bad = mode.startswith("fault") or mode == "estopped"
        status = DiagnosticStatus(name=self.get_fully_qualified_name(), message=mode)
        status.level = DiagnosticStatus.ERROR if bad else DiagnosticStatus.OK
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _command(node: ArmBridge, stop: threading.Event) -> int:
    """Let the bridge tick until told to stop (0) or until its thread breaks (1)."""
    try:
        while not stop.wait(_LOOK_S):
            if not node.is_alive:
                return 1
        return 0
    finally:
        node.finish()


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; the arm is at rest when it returns."""
    # Otherwise a tick waits for a driver that has just died, and brakes ten times too slowly.
    os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")
    return run_node("arm_bridge", ArmBridge, _command, args=args)


if __name__ == "__main__":
    sys.exit(main())
