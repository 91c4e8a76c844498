"""A motion on the ROS graph: asked of the arm bridge tick by tick, and all of it heard.

**motion → measurement** → parameters → fit → posterior → twins drawn from it

Targets go through `RosPort` to the arm bridge, which alone commands the arm and keeps every limit.
What is measured is what the bridge has commanded and what the driver reports, by their stamps.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import Any

import numpy as np

from robot_rl.apps.identify.sources import joint_offset
from robot_rl.apps.identify.track import Track, measurement_of
from robot_rl.apps.ros import graph_node, ros_module
from robot_rl.control.interpolate import target_of_step
from robot_rl.control.robot_file import RobotFile
from robot_rl.control.targets import TargetNames
from robot_rl.env.port import RobotPort
from robot_rl.errors import ConfigError, PortError
from robot_rl.types import F64, Command, RobotSpec
from sim.bridge import BRIDGE_PERIOD_S
from sim.identify.measurement import Measurement

__all__ = ["Ear", "perform"]

_FOLLOWING = ("policy", "blend")  # sources of a command, while the mode is not teleop
_SPIN_S = 0.02
_AT_START_RAD = 0.01
_AWAY_RAD = 0.2  # braking for a late target is less: no motion asks for more of its limits
_TO_FOLLOW_S = 5.0


class Ear:
    """Hears what the arm is told and what it does, all of it; a context manager.

    Args:
        file: The robot.
        namespace: Of its arm bridge and driver.
        silence_s: After which the arm bridge has gone.

    Raises:
        ConfigError: Its joints come in several topics.
        MissingRosError: There is no ROS.
    """

    def __init__(self, file: RobotFile, namespace: str, *, silence_s: float = 1.0) -> None:
        topics = {driver.joint_states for driver in file.drivers}
        if len(topics) > 1:
            raise ConfigError(
                f"the arms of {file.path} report on {', '.join(sorted(topics))}, but are "
                "identified from one topic. Give a robot file of one arm."
            )
        ros_module("robot_rl_control.names")  # says what to install if it is not there
        self._topic, self._namespace, self._silence_s = topics.pop(), namespace, silence_s
        joints = [name for arm in file.spec.arms for name in arm.joint_names]
        self.commands = Track(joints)
        self.states = Track(joints, joint_offset(file))
        self.source = self.mode = ""
        """Who is behind the newest command, and the bridge's mode."""
        self.gripper_m = np.zeros(file.spec.num_grippers)
        """(num_grippers,) where the newest command has the grippers go."""
        self._targets = TargetNames(file.spec)
        self._heard = 0  # messages
        self._is_recording = False
        self._stack = ExitStack()
        self._executor: Any = None

    def __enter__(self) -> "Ear":
        """Join the graph."""
        kind, text = (
            import_module("sensor_msgs.msg").JointState,
            import_module("std_msgs.msg").String,
        )
        names, qos = ros_module("robot_rl_control.names"), ros_module("robot_rl_control.qos")
        node, self._executor = self._stack.enter_context(graph_node("identify", self._namespace))
        node.create_subscription(kind, self._topic, self._on_joints, qos.STATE)
        node.create_subscription(kind, names.BRIDGE_EXECUTED, self._on_executed, qos.STATE)
        node.create_subscription(text, names.BRIDGE_MODE, self._on_mode, qos.LATCHED)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the graph."""
        self._stack.close()

    def hear(self) -> None:
        """Wait for the next command of the bridge, and take all that has come by then.

        Raises:
            PortError: None has come for too long.
        """
        before_s, waited_s = self.commands.stamp_s, 0.0
        while self.commands.stamp_s == before_s or not self.mode:
            if waited_s > self._silence_s:
                raise PortError(
                    f"the arm bridge (mode '{self.mode}') has commanded nothing for "
                    f"{self._silence_s:g} s. See whether it and the driver still run."
                )
            self._executor.spin_once(_SPIN_S)
            waited_s += _SPIN_S
        while self._more():
            pass

    def _more(self) -> bool:
        """Take one message that has already come; returns whether there was one."""
        before = self._heard
        self._executor.spin_once(0.0)
        return self._heard > before

    def record(self) -> None:
        """Keep all from here on; before, only the newest is kept."""
        self._is_recording = True

    def measurement(self, facts: Mapping[str, Any]) -> Measurement:
        """What was heard since `record`.

        Raises:
            DataError: It is too little.
        """
        words = f"robot on {self._namespace}"
        return measurement_of(self.commands, self.states, source=words, facts=facts)

    def _on_joints(self, message: Any) -> None:
        self._heard += 1
        if not self._is_recording:
            self.states.clear()
        self.states.add(message)

    def _on_executed(self, message: Any) -> None:
        self._heard += 1
        found = self._targets.pick(list(message.name), message.position)
        if isinstance(found, str):  # of another robot; the port complains
            return
        self.source, self.gripper_m = message.header.frame_id, found[1]
        if not self._is_recording:
            self.commands.clear()
        self.commands.add(message)

    def _on_mode(self, message: Any) -> None:
        self._heard += 1
        self.mode = message.data


def perform(port: RobotPort, ear: Ear, path: F64, *, record_from: int, rate_hz: float) -> None:
    """Have the arm follow a path, and leave it at rest, whatever happens.

    One target is asked for at each command of the bridge, the next of the path: where the machine
    is late, the motion waits, and does not jump.

    Args:
        port: A robot on the graph, connected.
        ear: Hears its bridge, and records from `record_from` on.
        path: (m, dof) [rad], a row every 10 ms, from where the arm stands; checked.
        record_from: First row that is to be recorded.
        rate_hz: Of the arm bridge.

    Raises:
        PortError: The motion had to end; says why, and what to do.
    """
    targets = _Targets(port.spec, path, 1.0 / rate_hz)
    try:
        _begin(port, ear, path[0])
        for tick in range(targets.ticks):
            ear.hear()
            elapsed_s = tick / rate_hz
            _check(ear, targets.place(tick), elapsed_s)
            if elapsed_s >= record_from * BRIDGE_PERIOD_S:
                ear.record()
            _ask(port, ear, targets.at(tick))
    finally:
        port.stop()


class _Targets:
    """What to ask the bridge for at each of its ticks, that its command follows a path."""

    def __init__(self, spec: RobotSpec, path: F64, period_s: float) -> None:
        self._path, self._period_s = path, period_s
        self._speed = np.gradient(path, BRIDGE_PERIOD_S, axis=0)
        self._acceleration = np.concatenate(
            [arm.joint_acceleration_limit_rad_s2 for arm in spec.arms]
        )
        self.ticks = int(np.ceil(len(path) * BRIDGE_PERIOD_S / period_s))

    def place(self, tick: int) -> F64:
        """(dof,) where the command should be."""
        return _at(self._path, tick * self._period_s)

    def at(self, tick: int) -> F64:
        """(dof,) what to ask for."""
        speed = _at(self._speed, (tick + 0.5) * self._period_s)
        return target_of_step(
            self.place(tick), speed, acceleration_limit=self._acceleration, dt=self._period_s
        )


def _begin(port: RobotPort, ear: Ear, first_rad: F64) -> None:
    """Return when the bridge follows, still where the path begins."""
    ear.hear()
    if ear.mode != "hold":
        raise PortError(
            f"the arm bridge is in mode '{ear.mode}', but must hold. Stop what moves the arm."
        )
    away = np.abs(ear.commands.position - first_rad).max()
    if away > _AT_START_RAD:
        raise PortError(
            f"the arm has moved by {away:.2f} rad since the motion was planned. Plan it again."
        )
    end_s = ear.commands.stamp_s + _TO_FOLLOW_S
    while ear.source not in _FOLLOWING:
        if ear.commands.stamp_s > end_s:
            raise PortError(
                f"the arm bridge does not follow, but stays in mode '{ear.mode}'. /diagnostics "
                "says why; is somebody intervening?"
            )
        _ask(port, ear, first_rad)
        ear.hear()


def _ask(port: RobotPort, ear: Ear, target_rad: F64) -> None:
    """One target, as the answer to the newest state; the grippers go on as they were told."""
    state = port.read()
    port.send(Command(q_rad=target_rad, gripper_m=ear.gripper_m, stamp_s=state.stamp_s))


def _check(ear: Ear, place_rad: F64, elapsed_s: float) -> None:
    """Raise if it is no longer the motion that moves the arm."""
    when = f"{elapsed_s:.1f} s after the arm began to move"
    if ear.mode == "teleop" or ear.source not in _FOLLOWING:
        ear.hear()  # the bridge says its mode after the command
        if ear.mode == "teleop":
            raise PortError(f"a person has taken over, {when}.")
        if ear.mode == "estopped" or ear.mode.startswith("fault:"):
            raise PortError(
                f"the arm bridge is in mode '{ear.mode}', {when}. Look at the arm, then call "
                "arm_bridge/clear_estop."
            )
        raise PortError(
            f"the arm bridge has let go of the motion (mode '{ear.mode}'), {when}: states or "
            "targets came too late, or somebody intervenes. /diagnostics says which."
        )
    away = np.abs(ear.commands.position - place_rad)
    if away.max() > _AWAY_RAD:
        joint = ear.commands.channels[int(away.argmax())]
        raise PortError(
            f"a limit of the arm bridge keeps {joint} {away.max():.2f} rad from the motion, "
            f"{when}. Give it a smaller amplitude or another middle."
        )


def _at(rows: F64, elapsed_s: float) -> F64:
    """(dof,) between rows (m, dof) of 10 ms each."""
    place = min(max(elapsed_s / BRIDGE_PERIOD_S, 0.0), len(rows) - 1.0)
    before = min(int(place), len(rows) - 2)
    return rows[before] + (place - before) * (rows[before + 1] - rows[before])
