"""Processes that `bench_ros.py` measures beside a robot: two cameras, and a recorder of them.

They join the graph of the benchmark by the environment that it gives them.
"""

import argparse
import json
import multiprocessing
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from robot_rl_control import names
from robot_rl_control.convert import image_message, stamp_from_ns
from robot_rl_control.qos import SENSOR
from robot_rl_control.state_reader import StateReader
from sensor_msgs.msg import Image

from robot_rl.clock import WallClock
from robot_rl.control.robot_file import load_robot
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.writer import EpisodeWriter
from robot_rl.types import CameraSpec

__all__ = ["CAMERAS", "ROBOT", "quantiles_ms"]

ROBOT = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"
CAMERAS = tuple(
    CameraSpec(name=name, width_px=640, height_px=480, rate_hz=30.0) for name in ("front", "wrist")
)
WARM_UP_S = 3.0


def quantiles_ms(values_s: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, in milliseconds."""
    ms = 1e3 * np.array(values_s)
    return {
        "p50_ms": round(float(np.percentile(ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
        "max_ms": round(float(ms.max()), 2),
        "n": len(values_s),
    }


class Tape:
    """Writes each new frame, and a row of joints at 20 Hz."""

    def __init__(self, reader: StateReader, writer: EpisodeWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seen: dict[str, list[int]] = {camera.name: [] for camera in CAMERAS}
        self.ages_s: list[float] = []
        self._rows = 0

    def forget(self) -> None:
        """Begin to count anew."""
        self.ages_s = []
        for numbers in self.seen.values():
            del numbers[:-1]
        self._before = self.reader.facts()

    def run(self, seconds: float) -> None:
        """Record for so long."""
        now_s = time.monotonic()
        end_s, row_s = now_s + seconds, now_s
        while now_s < end_s:
            state = self.reader.read()
            for name, image in state.images.items():
                numbers = self.seen[name]
                if numbers and image.frame_number == numbers[-1]:
                    continue
                numbers.append(image.frame_number)
                self.ages_s.append(time.monotonic() - image.stamp_s)
                self.writer.frame(
                    name,
                    image.rgb,
                    t_device_ns=round(image.stamp_s * 1e9),
                    t_host_ns=round(now_s * 1e9),
                    frame_no=image.frame_number,
                )
            if now_s >= row_s:
                row_s += 1 / 20.0
                if self._rows:
                    self.writer.step(np.zeros(7, np.float32), np.zeros(7, np.float32))
                self.writer.observe(now_s, {"state": state.q_rad.astype(np.float32)})
                self._rows += 1
            time.sleep(0.004)
            now_s = time.monotonic()

    def facts(self) -> dict[str, Any]:
        """Frames of the run: received by the reader, handed to the recorder, and their ages."""
        after = self.reader.facts()
        received = {
            title: after[title].received - self._before[title].received
            for title in after
            if "image_raw" in title
        }
        kept = {name: len(numbers) - 1 for name, numbers in self.seen.items()}
        return {
            "received": received,
            "handed over": kept,
            "age of frames when handed over": quantiles_ms(self.ages_s),
        }


def _cpu_s(pid: int | None) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _share(before_s: float, after_s: float, elapsed_s: float) -> float:
    return round(100 * (after_s - before_s) / elapsed_s, 1)


def play_cameras(namespace: str, folder: Path) -> None:
    """Child: publish both cameras at 30 images a second until interrupted."""
    film = dict(np.load(folder / "film.npz"))
    rclpy.init(args=[])
    node = rclpy.create_node("cameras", namespace=namespace)
    publishers = {
        name: node.create_publisher(Image, names.color_image(name), SENSOR) for name in film
    }
    wall, number = WallClock(), 0
    due_s = wall.now()
    try:
        while True:
            stamp = stamp_from_ns(time.time_ns())
            for name, publisher in publishers.items():
                publisher.publish(image_message(film[name][number % len(film[name])], stamp, name))
            number += 1
            due_s = max(due_s + 1 / 30.0, wall.now())
            wall.sleep_until(due_s)
    except KeyboardInterrupt:
        rclpy.try_shutdown()


def record(namespace: str, folder: Path, seconds: float, codec: str) -> None:
    """Child: record what comes for some seconds, and say what it took."""
    rclpy.init(args=[])
    node = rclpy.create_node("recorder", namespace=namespace)
    reader = StateReader(node, replace(load_robot(ROBOT).spec, cameras=CAMERAS))
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    path = folder / f"store-{codec}.zarr"
    metas = tuple(
        CameraMeta(name=c.name, width_px=c.width_px, height_px=c.height_px, codec=codec)
        for c in CAMERAS
    )
    EpisodeStore.create(path, StoreMeta(robot="twin", control_hz=20.0, cameras=metas)).close()
    reader.wait_for(lambda: not reader.missing(), 60.0)
    with Recorder(path) as recorder:
        (process,) = multiprocessing.active_children()
        tape = Tape(reader, recorder.begin())
        tape.run(WARM_UP_S)
        tape.forget()
        before, begin_s = (_cpu_s(os.getpid()), _cpu_s(process.pid)), time.monotonic()
        tape.run(seconds)
        elapsed_s = time.monotonic() - begin_s
        after = _cpu_s(os.getpid()), _cpu_s(process.pid)
        facts = tape.facts()
        tape.writer.seal("unknown", "none")
    with EpisodeStore.open(path) as store:
        (info,) = store.infos()
        facts["dropped before the writer"] = info.facts.get("drops", {})
    facts["CPU of reading and handing over [% of a core]"] = _share(before[0], after[0], elapsed_s)
    facts["CPU of encoding and writing [% of a core]"] = _share(before[1], after[1], elapsed_s)
    facts["seconds"] = round(elapsed_s, 1)
    temporary = folder / "recorded.tmp"
    temporary.write_text(json.dumps(facts))
    temporary.rename(folder / f"recorded-{codec}.json")
    executor.shutdown()
    rclpy.try_shutdown()


def main() -> None:
    """One process: cameras or recorder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("cameras", "recorder"))
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    if asked.role == "cameras":
        play_cameras(asked.namespace, asked.folder)
    else:
        record(asked.namespace, asked.folder, asked.seconds, asked.codec)


if __name__ == "__main__":
    main()
