"""Records what is done on the ROS graph, by whatever hand, as episodes that learning reads.

learning:  **transition → gate → episode store** → progress model → replay → residual agent → ...

It sees what a policy will see (the env's own observation builder) and keeps what the arm was told
after all limits (`arm_bridge/executed`), as actions in the env's units.
"""

import json
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.node import Node
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp
from robot_rl_control.params import read_params
from robot_rl_control.qos import LATCHED, STATE
from robot_rl_control.running import run_node
from robot_rl_control.scene import Scene
from robot_rl_control.state_reader import StateReader
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_rl.control.targets import TargetNames
from robot_rl.errors import PortError
from robot_rl.replay.opening import open_or_create
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.executed import ExecutedLog
from robot_rl.teleop.quality import JOINTS, EpisodeGate, QualityCfg
from robot_rl.teleop.recording import RecordingDesk
from robot_rl.teleop.session import Session, SessionCfg, State
from robot_rl.teleop.watching import Watcher
from robot_rl.types import RobotState
from robot_rl_teleop.params import RecorderParams
from robot_rl_teleop.tasks import find_job

__all__ = ["RecorderNode", "main"]

_STATUS_S = 0.5  # between repetitions of the status while nothing but the timer changes
_EVENTS = (
    Event.START,
    Event.SUCCESS,
    Event.FAILURE,
    Event.DISCARD,
    Event.RERECORD,
    Event.UNDO,
)


class RecorderNode(Node):
    """The session, the gate and the store, at the rate of the task."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "recorder", automatically_declare_parameters_from_overrides=True, **options
        )
        self._params = params = read_params(self, RecorderParams)
        self._job = find_job(params.robot, params.task)
        self._spec, self._task = self._job.spec, self._job.task
        self._session = Session(
            SessionCfg(
                episodes=params.episodes,
                countdown_s=params.countdown_s,
                reset_s=params.reset_s,
                timeout_s=params.timeout_s,
                auto_start=params.auto_start,
            )
        )
        self._lock = threading.Lock()  # over what callbacks and the loop share
        self._events: list[Event] = []
        self._executed = ExecutedLog()
        self._names = TargetNames(self._spec)
        self._states = StateReader(self, self._spec, self._job.reader)
        self._scene = Scene(self, self._spec, self._states)
        self._said: dict[str, Any] = {}
        self._said_s = float("-inf")
        self._received: dict[str, int] = {}
        self._status = self.create_publisher(String, names.EPISODE_STATUS, LATCHED)
        self.create_subscription(JointState, names.BRIDGE_EXECUTED, self._on_executed, STATE)
        for event in _EVENTS:
            self.create_service(Trigger, f"{names.RECORDER}/{event}", self._service(event))

    def run(self, stop: threading.Event) -> None:
        """Record until told to stop, or until the session is done.

        Raises:
            DataError: The store cannot be written.
        """
        path = Path(self._params.out).expanduser()
        with open_or_create(path, self._meta()) as store:
            used = [int(info.facts.get("seed", -1)) for info in store.infos()]
        seed = max([self._params.seed, *(seed + 1 for seed in used)])
        with Recorder(path) as recorder:
            desk = RecordingDesk(recorder, self._session, self._gate())
            watcher = Watcher(self._spec, self._task, self._job.observe, self._session, desk)
            watcher.facts = self._facts()
            watcher.seed = seed
            try:
                self._loop(watcher, stop)
                desk.check()
            finally:
                watcher.abort("the recorder was stopped", time.monotonic())
                self._say(watcher)

    def _loop(self, watcher: Watcher, stop: threading.Event) -> None:
        """Look at the robot at the task's rate."""
        period_s = 1.0 / self._task.control_hz
        due_s = time.monotonic()
        is_placed = False
        while not stop.is_set() and self._session.state is not State.DONE:
            now_s = time.monotonic()
            with self._lock:
                events, self._events = self._events, []
                executed = self._executed
                watcher.take(events, now_s)
                if watcher.needs_scene:
                    self._scene.make(self._params.scene, watcher.next_seed())
                    is_placed = False
                if not is_placed and self._scene.is_ready():
                    is_placed = True
                    executed.restart(now_s)
                if is_placed and not self._states.missing():
                    watcher.tick(now_s, self._read, executed)
            self._say(watcher)
            due_s = max(due_s + period_s, time.monotonic())
            stop.wait(due_s - time.monotonic())

    def _read(self) -> RobotState | str:
        """The newest state, or why there is none."""
        try:
            return self._states.read()
        except PortError as error:
            return str(error)

    def _say(self, watcher: Watcher) -> None:
        """Publish the status when something changed, and now and then for the timer."""
        now_s = time.monotonic()
        status = self._session.status(now_s)
        missing = self._states.missing()
        waits = f"waiting for {', '.join(missing)}" if missing else self._scene.note
        status |= {"waiting": waits, "out": self._params.out}
        lasting = {k: v for k, v in status.items() if k != "remaining_s"}
        if lasting == self._said and now_s - self._said_s < _STATUS_S:
            return
        if lasting != self._said:
            self.get_logger().info(_sentence(status))
        status |= {"steps": watcher.steps, "streams": self._streams(now_s - self._said_s)}
        self._said, self._said_s = lasting, now_s
        self._status.publish(String(data=json.dumps(status)))

    def _streams(self, elapsed_s: float) -> dict[str, dict[str, float | None]]:
        """Rate [Hz] of each stream since the last status, and its age [s] now."""
        found: dict[str, dict[str, float | None]] = {}
        for name, facts in self._states.facts().items():
            count = facts.received - self._received.get(name, 0)
            self._received[name] = facts.received
            age_s = None if math.isinf(facts.age_s) else round(facts.age_s, 3)
            found[name] = {"rate_hz": round(count / elapsed_s, 1), "age_s": age_s}
        return found

    def _service(self, event: Event) -> Callable[[Any, Any], Any]:
        def callback(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._lock:
                state = self._session.state
                self._events.append(event)
            response.success = state is not State.DONE
            response.message = f"{event} while {state}"
            return response

        return callback

    def _on_executed(self, message: JointState) -> None:
        found = self._names.pick(list(message.name), message.position)
        if isinstance(found, str):
            self.get_logger().error(
                f"{names.BRIDGE_EXECUTED}: {found}. Task and robot file differ.",
                throttle_duration_sec=5.0,
            )
            return
        age_s = (time.time_ns() - ns_from_stamp(message.header.stamp)) * 1e-9
        with self._lock:
            self._executed.add(time.monotonic() - max(age_s, 0.0), *found, message.header.frame_id)

    def _meta(self) -> StoreMeta:
        calibration = self._job.reader.calibration
        places = calibration.cameras if calibration else {}
        cameras = tuple(
            CameraMeta(
                name=camera.name,
                width_px=camera.width_px,
                height_px=camera.height_px,
                codec=self._params.codec,
                calibration=places[camera.name].hash if camera.name in places else "",
            )
            for camera in self._spec.cameras
        )
        return StoreMeta(
            robot=self._spec.name,
            control_hz=float(self._task.control_hz),
            cameras=cameras,
            notes={"task": self._params.task},
        )

    def _facts(self) -> dict[str, Any]:
        params = self._params
        is_script = params.device == "scripted"
        operator = params.operator or ("script" if is_script else "unknown")
        return {"task": params.task, "teleop": params.device, "operator": operator, "port": "ros"}

    def _gate(self) -> EpisodeGate:
        cfg = QualityCfg(
            min_rate_share=self._params.min_rate_share,
            max_age_s=self._params.max_age_s,
            max_late_share=self._params.max_late_share,
        )
        rates_hz = {JOINTS: 100.0, **{c.name: c.rate_hz for c in self._spec.cameras}}
        joints = tuple(name for arm in self._spec.arms for name in arm.joint_names)
        hz = self._task.control_hz
        return EpisodeGate(cfg, control_hz=hz, rates_hz=rates_hz, joint_names=joints)


def _sentence(status: dict[str, Any]) -> str:
    words = f"{status['state']}: {status['successes']} of {status['episodes']}"
    words += f", {status['failures']} failed, {status['trashed']} in the trash"
    why = status["reason"] or status["waiting"]
    return f"{words} ({why})" if why else words


def _record(node: RecorderNode, stop: threading.Event) -> int:
    """Record until told to stop, or until there is enough."""
    node.run(stop)
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM, or until enough is recorded."""
    return run_node("recorder", RecorderNode, _record, args=args)


if __name__ == "__main__":
    sys.exit(main())
