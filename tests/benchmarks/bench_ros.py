"""What the ROS graph costs: latency, jitter, discovery, and recording two cameras.

    python tests/benchmarks/bench_ros.py [--steps 200] [--seconds 20]

Twin node and arm bridge are processes of their own, as on a workstation.

- latency: from the stamp of the joints that a policy read to the first command, at the driver's
  topic, that answers it; its two parts beside it. The policy itself takes no time.
- jitter: how late the bridge's ticks were, by its own diagnostics, and how far apart its commands.
- discovery: from joining a running graph to the first joint state, and to a port that is ready.
- recording: two cameras of 640 x 480 at 30 images a second and the joints, from topics through
  `StateReader` into the `Recorder`, in a process of its own: its share of one core with its
  writer's, and frames lost between the cameras and the store.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "ros"), str(TESTS / "benchmarks")]
from ros_graph import Graph  # noqa: E402  (sets the ROS environment)

# isort: split
import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from robot_rl_control import names  # noqa: E402
from robot_rl_control.qos import COMMAND, STATE  # noqa: E402
from robot_rl_control.ros_port import RosPort, RosPortCfg  # noqa: E402
from robot_rl_control.state_reader import StateReader  # noqa: E402
from robot_rl_sim.twin_node import JOINT_COMMANDS  # noqa: E402
from ros_clients import CAMERAS, ROBOT, quantiles_ms  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402

from robot_rl.clock import WallClock  # noqa: E402
from robot_rl.control.robot_file import load_robot  # noqa: E402
from robot_rl.types import Command  # noqa: E402
from sim.tasks import make_port  # noqa: E402

STEP_RAD = 0.002  # done within a step of the policy, so that each begins from rest
POLICY_HZ = 10.0


def start_robot(graph: Graph) -> None:
    """Twin and bridge, until the bridge holds the arm."""
    graph.spawn("robot_rl_sim.twin_node", params={"task": "reach"})
    graph.spawn("robot_rl_control.arm_bridge", params={"robot": str(ROBOT), "autostart": True})
    states = graph.hear(JointState, names.JOINT_STATES, STATE)
    executed = graph.hear(JointState, names.BRIDGE_EXECUTED, STATE)
    graph.wait_until(lambda: states.last and executed.last, "twin and bridge", 60.0)


def measure_latency(graph: Graph, steps: int) -> dict[str, Any]:
    """Small steps from rest; the first command that moves is the answer."""
    commands = graph.hear(Float64MultiArray, JOINT_COMMANDS, COMMAND)
    port = RosPort(RosPortCfg(robot=ROBOT, namespace=graph.namespace, reset="twin"))
    port.connect()
    port.reset(0)
    graph.wait_until(lambda: commands.last, "commands")
    rest = port.read().q_rad
    whole, age, way = [], [], []
    wall = WallClock()
    due_s = wall.now()
    for i in range(steps):
        due_s += 1 / POLICY_HZ
        wall.sleep_until(due_s)
        state = port.read()
        q = rest.copy()
        q[0] += STEP_RAD * (i % 2)
        heard, before = len(commands.messages), commands.last.data[0]
        sent_s = wall.now()
        port.send(Command(q_rad=q, gripper_m=state.gripper_m, stamp_s=sent_s))
        limit_s = sent_s + 0.5 / POLICY_HZ
        answer_s = None
        while answer_s is None and wall.now() < limit_s:
            moved = [
                t
                for t, m in zip(commands.times_s[heard:], commands.messages[heard:], strict=False)
                if m.data[0] != before and t > sent_s
            ]
            answer_s = moved[0] if moved else None
            time.sleep(0.0002)
        if answer_s is not None and i > 2:
            whole.append(answer_s - state.stamp_s)
            age.append(sent_s - state.stamp_s)
            way.append(answer_s - sent_s)
    port.close()
    gaps = np.diff(commands.times_s)
    return {
        "observation to command": quantiles_ms(whole),
        "of which age of the joints when read": quantiles_ms(age),
        "of which from send to the driver's topic": quantiles_ms(way),
        "unanswered": steps - 3 - len(whole),
        "distance of commands from their period": quantiles_ms(list(np.abs(gaps - 0.01))),
    }


def measure_jitter(graph: Graph) -> dict[str, Any]:
    """What bridge and twin say of themselves."""
    told = graph.hear(DiagnosticArray, "/diagnostics", STATE)
    found: dict[str, dict[str, str]] = {}

    def both() -> bool:
        for message in list(told.messages):
            for status in message.status:
                if status.name.startswith(graph.namespace):
                    key = status.name.rsplit("/", 1)[-1]
                    found[key] = {pair.key: pair.value for pair in status.values}
        return {"arm_bridge", "twin"} <= set(found)

    graph.wait_until(both, "diagnostics")
    bridge = found["arm_bridge"]
    words = ("rate [Hz]", "lateness p50 [ms]", "lateness p99 [ms]", "ticks skipped")
    return {word: float(bridge[word]) for word in words} | {
        "twin slip [s]": float(found["twin"]["slip [s]"])
    }


def measure_discovery(graph: Graph, tries: int) -> dict[str, Any]:
    """Join a graph that runs, again and again."""
    first, ready = [], []
    for _ in range(tries):
        context = rclpy.Context()
        begin_s = time.monotonic()
        rclpy.init(args=[], context=context)
        node = rclpy.create_node("joiner", namespace=graph.namespace, context=context)
        reader = StateReader(node, replace(load_robot(ROBOT).spec, cameras=()))
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        while reader.missing():
            executor.spin_once(timeout_sec=0.1)
        first.append(time.monotonic() - begin_s)
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
        port = RosPort(RosPortCfg(robot=ROBOT, namespace=graph.namespace))
        begin_s = time.monotonic()
        port.connect()
        ready.append(time.monotonic() - begin_s)
        port.close()
    return {
        "to the first joint state": quantiles_ms(first),
        "to a ready port": quantiles_ms(ready),
    }


def measure_recording(graph: Graph, seconds: float, codec: str) -> dict[str, Any]:
    """Cameras and a recorder, each a process of this file."""
    film = graph.folder / "film.npz"
    if not film.exists():
        np.savez(film, **_film())
    client = [sys.executable, str(TESTS / "benchmarks/ros_clients.py")]
    place = ["--namespace", graph.namespace, "--folder", str(graph.folder)]
    out = graph.folder / f"recorded-{codec}.json"
    cameras = graph.run("cameras", [*client, "cameras", *place])
    recorder = graph.run(
        "recorder", [*client, "recorder", *place, "--seconds", str(seconds), "--codec", codec]
    )
    graph.wait_until(out.exists, "the recording", seconds + 90.0)
    graph.wait_until(lambda: recorder.process.poll() is not None, "the recorder's end")
    cameras.interrupt()
    return json.loads(out.read_text())


def _film() -> dict[str, np.ndarray]:
    """Ten views of each camera with a sensor's noise, which is what codecs find hard."""
    port, rng = make_port("pick-lift"), np.random.default_rng(0)
    port.connect()
    film: dict[str, list[np.ndarray]] = {camera.name: [] for camera in CAMERAS}
    for seed in range(10):
        port.reset(seed)
        for name, views in film.items():
            rgb = port.render(name, 640, 480) + rng.normal(0.0, 3.0, (480, 640, 3))
            views.append(rgb.clip(0, 255).astype(np.uint8))
    port.close()
    return {name: np.stack(views) for name, views in film.items()}


def main() -> None:
    """Measure, print and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/ros.json"))
    asked = parser.parse_args()
    rows: dict[str, Any] = {"load before": os.getloadavg()[0]}
    with TemporaryDirectory() as folder:
        graph = Graph(Path(folder))
        try:
            start_robot(graph)
            rows["latency"] = measure_latency(graph, asked.steps)
            rows["jitter"] = measure_jitter(graph)
            rows["discovery"] = measure_discovery(graph, tries=10)
            for codec in ("jpeg", "png"):
                rows[f"recording, {codec}"] = measure_recording(graph, asked.seconds, codec)
        finally:
            graph.close()
    rows["load after"] = os.getloadavg()[0]
    machine = {"cores": os.cpu_count(), "processor": platform.processor(), "os": platform.system()}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
