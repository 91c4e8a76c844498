"""What the arm does when something dies or lies: the safety table, with the graph running.

    python tests/benchmarks/bench_safety.py [--cases kill-actor fuzz] [--repeats 3]

Twin node, arm bridge and a client are processes of their own; a fault is injected while the arm
moves. Every command the bridge ever publishes is checked against the limits of the robot file:
position, speed, acceleration, workspace; but for the step that follows a redrawn scene, where the
twin's arm stands elsewhere. The topic keeps one message, so a check that is starved misses some
and takes two steps for one: run it first in line, `chrt -R -r 1`. Reported a case: tries, how
often the arm came to hold, the worst time to the last changed command in bridge periods (watchdog
and braking included), and commands outside the limits.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "ros"), str(TESTS / "benchmarks")]
from ros_graph import Child, Graph, Heard, film_cameras  # noqa: E402  (sets the ROS environment)

# isort: split
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from robot_rl_control import names  # noqa: E402
from robot_rl_control.qos import LATCHED, STATE  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from safety_clients import intruding_target  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from robot_rl.control.kinematics import forward  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.types import RobotSpec  # noqa: E402

ROBOT = TESTS.parent / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"
COMMANDS = "forward_position_controller/commands"
CLIENTS = Path(__file__).with_name("safety_clients.py")
EVERY = QoSProfile(depth=1000)  # reliable: no command may go unchecked
STILL_S = 1.0  # without a changed command: the arm holds
TWIN = {"task": "reach", "camera_width_px": 84, "camera_height_px": 84, "camera_rate_hz": 10.0}
CAMERAS = {"freeze-camera": {"cameras": "front,wrist"}}
MOVING_RAD_S, MOVING_TICKS = 0.15, 20
WORKSPACE_SLACK_M = 2e-3


@dataclass
class Bench:
    """The graph of one try."""

    graph: Graph
    spec: RobotSpec
    period_s: float
    commands: Heard
    modes: Heard
    bridge: Child
    twin: Child
    notes: dict[str, Any] = field(default_factory=dict)

    def play(self, role: str) -> Child:
        """Start one of the clients."""
        words = [sys.executable, str(CLIENTS), role, str(ROBOT)]
        words += ["--ros-args", "-r", f"__ns:={self.graph.namespace}"]
        return self.graph.run(role, words)

    @property
    def mode(self) -> str:
        """What the bridge last said of itself."""
        return self.modes.last.data if self.modes.last else ""

    def commanded(self, newest: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """When the bridge published (n,) [s], and which joint targets (n, dof) [rad]."""
        times, rows = self.commands.times_s[-newest:], self.commands.messages[-newest:]
        targets = np.array([row.data for row in rows]).reshape(len(rows), -1)
        times = np.array(times[: len(rows)])
        if not len(rows):
            return times, targets
        own = (targets != intruding_target(self.spec)).any(-1)
        return times[own], targets[own]

    def wait_for_motion(self) -> None:
        """Until joints have moved at speed for some time."""

        def moves() -> bool:
            _, targets = self.commanded(MOVING_TICKS + 1)
            speed = np.abs(np.diff(targets, axis=0)).max(-1, initial=0.0) / self.period_s
            return len(speed) == MOVING_TICKS and speed.min() > MOVING_RAD_S

        self.graph.wait_until(moves, "motion")

    def moved_since_s(self, start_s: float) -> float | None:
        """Time of the last changed command after `start_s`, or None if none changed."""
        times, targets = self.commanded(400)
        changed = np.abs(np.diff(targets, axis=0)).max(-1, initial=0.0) > 1e-7
        late = times[1:][changed & (times[1:] > start_s)]
        return float(late[-1]) if len(late) else None

    def wait_for_hold(self, fault_s: float) -> float:
        """Seconds from the fault to the last changed command."""

        def still() -> bool:
            moved = self.moved_since_s(fault_s) or fault_s
            return time.monotonic() - moved > STILL_S

        self.graph.wait_until(still, "the arm to hold")
        return max((self.moved_since_s(fault_s) or fault_s) - fault_s, 0.0)


def kill_actor(bench: Bench) -> float:
    """SIGKILL of the actor, an environment over the ROS port, while the arm moves."""
    return _kill(bench, bench.play("actor"))


def kill_operator(bench: Bench) -> float:
    """SIGKILL of the teleoperation while the switch is held."""
    return _kill(bench, bench.play("operator"))


def kill_bridge(bench: Bench) -> float:
    """SIGKILL of the bridge itself: no more commands, and the driver's own watchdog holds."""
    bench.play("policy")
    bench.wait_for_motion()
    fault_s = time.monotonic()
    bench.bridge.kill()
    states = bench.notes["states"]
    bench.graph.wait_until(
        lambda: states.times_s[-1] > fault_s + 1.0 and np.abs(states.last.velocity).max() < 0.01,
        "the twin to hold",
    )
    fast = [
        at_s
        for at_s, row in zip(states.times_s, states.messages, strict=False)
        if at_s > fault_s and np.abs(row.velocity).max() > 0.05
    ]
    return max([at_s - fault_s for at_s in fast], default=0.0)


def freeze_states(bench: Bench) -> float:
    """The driver repeats an old stamp."""
    return _with_twin_fault(bench, Parameter("fault_frozen_stamps", value=True))


def freeze_camera(bench: Bench) -> float:
    """The camera that the actor needs repeats its last image."""
    fault = Parameter("fault_frozen_cameras", value="front")
    return _with_twin_fault(bench, fault, role="seeing")


def kill_camera(bench: Bench) -> float:
    """SIGKILL of the camera node whose images the actor needs."""
    config = film_cameras(bench.graph.folder, "front", "wrist")
    camera = bench.graph.spawn("robot_rl_camera.camera_node", params={"config": str(config)})
    bench.play("seeing")
    return _kill(bench, camera)


def drop_states(bench: Bench) -> float:
    """Joint states are lost on the way."""
    return _with_twin_fault(bench, Parameter("fault_dropped_share", value=1.0))


def slow_network(bench: Bench) -> float:
    """All that the driver says arrives a second late."""
    return _with_twin_fault(bench, Parameter("fault_latency_s", value=1.0))


def kill_driver(bench: Bench) -> float:
    """SIGKILL of the driver: commands must stop moving."""
    bench.play("policy")
    return _kill(bench, bench.twin)


def second_publisher(bench: Bench) -> float:
    """Somebody else publishes on the driver's command topic; from that process's start on."""
    bench.play("policy")
    bench.wait_for_motion()
    fault_s = time.monotonic()
    bench.play("intruder")
    bench.graph.wait_until(lambda: bench.mode.startswith("fault"), "the bridge to notice")
    return bench.wait_for_hold(fault_s)


def estop(bench: Bench) -> float:
    """The e-stop during motion; it latches while the policy goes on."""
    bench.play("policy")
    bench.wait_for_motion()
    fault_s = time.monotonic()
    assert bench.graph.call(Trigger, names.ESTOP).success
    took_s = bench.wait_for_hold(fault_s)
    assert bench.mode == "estopped", bench.mode
    assert bench.graph.call(Trigger, names.CLEAR_ESTOP).success
    bench.wait_for_motion()
    return took_s


def fuzz(bench: Bench) -> float:
    """100,000 malformed and absurd targets, as fast as they can be sent."""
    client = bench.play("fuzz")
    process = client.process
    bench.graph.wait_until(lambda: process.poll() is not None, "the last target", 240.0)
    assert process.returncode == 0, client.output
    assert bench.bridge.process.poll() is None, bench.bridge.output
    return bench.wait_for_hold(time.monotonic())


def clock_jump(bench: Bench) -> float:
    """The bridge's clock jumps by an hour, forth and back, while the policy goes on."""
    clock = bench.notes["clock"]
    bench.play("policy")
    bench.wait_for_motion()
    fault_s = time.monotonic()
    clock.offset_s = 3600
    took_s = bench.wait_for_hold(fault_s)
    clock.offset_s = -3600
    bench.wait_for_hold(time.monotonic())
    return took_s


CASES: dict[str, Callable[[Bench], float]] = {
    "kill-actor": kill_actor,
    "kill-operator": kill_operator,
    "kill-bridge": kill_bridge,
    "kill-driver": kill_driver,
    "freeze-states": freeze_states,
    "freeze-camera": freeze_camera,
    "kill-camera": kill_camera,
    "drop-states": drop_states,
    "slow-network": slow_network,
    "second-publisher": second_publisher,
    "estop": estop,
    "fuzz": fuzz,
    "clock-jump": clock_jump,
}


def _kill(bench: Bench, victim: Child) -> float:
    """SIGKILL of a process once the arm moves; seconds until it holds."""
    bench.wait_for_motion()
    fault_s = time.monotonic()
    victim.kill()
    return bench.wait_for_hold(fault_s)


def _with_twin_fault(bench: Bench, fault: Parameter, role: str = "policy") -> float:
    bench.play(role)
    bench.wait_for_motion()
    request = SetParameters.Request(parameters=[fault.to_parameter_msg()])
    done = bench.graph.call(SetParameters, "twin/set_parameters", request)
    assert all(result.successful for result in done.results), done.results
    return bench.wait_for_hold(time.monotonic())


def outside_limits(bench: Bench) -> int:
    """How many of the published commands break a limit."""
    times, rows = bench.commanded()
    if len(rows) < 3:
        return 0
    steps = ~_follows_reset(bench, times)[1:, None]
    count, joint = np.zeros(len(rows), bool), 0
    for arm in bench.spec.arms:
        q = rows[:, joint : joint + arm.dof]
        joint += arm.dof
        speed = np.diff(q, axis=0) * steps / bench.period_s
        change = np.diff(speed, axis=0) * (steps[1:] & steps[:-1]) / bench.period_s
        tool = forward(arm, q)[:, :3, 3]
        bad = (q < arm.joint_lower_rad - 1e-9) | (q > arm.joint_upper_rad + 1e-9)
        count |= bad.any(-1)
        count[1:] |= (np.abs(speed) > arm.joint_velocity_limit_rad_s * (1 + 1e-6)).any(-1)
        count[2:] |= (np.abs(change) > arm.joint_acceleration_limit_rad_s2 * (1 + 1e-6)).any(-1)
        low, high = arm.workspace_lower_m, arm.workspace_upper_m
        far = (tool < low - WORKSPACE_SLACK_M) | (tool > high + WORKSPACE_SLACK_M)
        count |= far.any(-1)
    return int(count.sum())


def _follows_reset(bench: Bench, times: np.ndarray) -> np.ndarray:
    """Which commands (n,) come within two seconds of a redrawn scene."""
    resets = np.array(bench.notes["episodes"].times_s)
    since = times[:, None] - resets
    return ((since > -0.1) & (since < 2.0)).any(-1)


class ShiftedClock:
    """Publishes /clock: the system's time, shifted."""

    def __init__(self, graph: Graph) -> None:
        self.offset_s = 0
        self._node = graph.client
        self._publisher = self._node.create_publisher(Clock, "/clock", STATE)
        self._node.create_timer(0.01, self._tick)

    def _tick(self) -> None:
        now = self._node.get_clock().now().to_msg()
        now.sec += self.offset_s
        self._publisher.publish(Clock(clock=now))


def attempt(case: str, folder: Path) -> dict[str, Any]:
    """One try in a graph of its own."""
    graph = Graph(folder)
    try:
        has_clock = case == "clock-jump"
        clock = ShiftedClock(graph) if has_clock else None
        commands = graph.hear(Float64MultiArray, COMMANDS, EVERY)
        modes = graph.hear(String, names.BRIDGE_MODE, LATCHED)
        states = graph.hear(JointState, names.JOINT_STATES, STATE)
        episodes = graph.hear(String, names.TWIN_EPISODE, LATCHED)
        twin = graph.spawn(
            "robot_rl_sim.twin_node", name="twin", params=TWIN | CAMERAS.get(case, {})
        )
        params = {"robot": str(ROBOT), "autostart": True, "use_sim_time": has_clock}
        bridge = graph.spawn("robot_rl_control.arm_bridge", name="arm_bridge", params=params)
        robot = load_robot(ROBOT)
        bench = Bench(
            graph=graph,
            spec=robot.spec,
            period_s=1.0 / robot.bridge.rate_hz,
            commands=commands,
            modes=modes,
            bridge=bridge,
            twin=twin,
            notes={"states": states, "clock": clock, "episodes": episodes},
        )
        graph.wait_until(lambda: bench.mode == "hold", "the bridge to hold")
        took_s = CASES[case](bench)
        return {
            "held": True,
            "stop_s": took_s,
            "commands": len(commands.messages),
            "outside": outside_limits(bench),
        }
    except AssertionError as error:
        return {"held": False, "why": str(error)[-2000:]}
    finally:
        graph.close()


def main() -> int:
    """Try every case, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/safety.json"))
    asked = parser.parse_args()
    period_s = 1.0 / load_robot(ROBOT).bridge.rate_hz
    print(
        f"{'case':<18} {'tried':>5} {'held':>5} {'worst stop':>11} {'commands':>9} {'outside':>8}"
    )
    rows = []
    for case in asked.cases:
        tries = []
        for _ in range(asked.repeats):
            with TemporaryDirectory() as folder:
                tries.append(attempt(case, Path(folder)))
        held = [one for one in tries if one["held"]]
        worst = max((one["stop_s"] for one in held), default=float("nan")) / period_s
        row = {
            "case": case,
            "tried": len(tries),
            "held": len(held),
            "worst_stop_periods": worst,
            "commands": sum(one["commands"] for one in held),
            "outside": sum(one["outside"] for one in held),
            "tries": tries,
        }
        rows.append(row)
        print(
            f"{case:<18} {row['tried']:>5} {row['held']:>5} {worst:>11.0f} "
            f"{row['commands']:>9} {row['outside']:>8}",
            flush=True,
        )
        for one in tries:
            if not one["held"]:
                print(f"    {one['why']}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"written: {asked.out}")
    return 0 if all(row["tried"] == row["held"] and not row["outside"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
