"""A ROS graph for one test or benchmark: own domain a process, own context a graph."""

import atexit
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DEADLINE_S", "Child", "Graph", "Heard", "film_cameras"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent for path in (ROOT / "ros_ws" / "src").glob("*/package.xml"))
DEADLINE_S = 30.0  # of a condition that holds within a fraction of it on an idle machine


def _free_domain() -> int:
    """A DDS domain that no other process of this machine uses; kept while this one lives."""
    for domain in range(1, 100):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", 17400 + domain))
        except OSError:
            lock.close()
            continue
        atexit.register(lock.close)
        return domain
    raise RuntimeError("no free ROS domain between 1 and 99")


def _prepare() -> None:
    """What must be set before rclpy is imported, here and in children."""
    for path in map(str, PACKAGES):
        if path not in sys.path:
            sys.path.insert(0, path)
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    os.environ["ROS_DOMAIN_ID"] = str(_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)
    profile = ROOT / "ros_ws/src/robot_rl_bringup/config/fastdds.xml"
    if profile.exists():
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
        os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)


def _import_ros() -> None:
    """Import what message types import, whose parser uses a deprecated module of Python's."""
    if importlib.util.find_spec("rclpy"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module("rosidl_generator_py")


_prepare()
_import_ros()


class Child:
    """A node in a process of its own, with its output in a file."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str]) -> None:
        self.name, self.log = name, log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
            )

    @property
    def output(self) -> str:
        """All it has printed."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait for it."""
        self.process.kill()
        self.process.wait(10)

    def interrupt(self) -> int:
        """SIGINT, as Ctrl-C; returns the exit code, kills what does not obey."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} ignored SIGINT:\n{self.output}") from None


class Heard:
    """All messages of one topic since it was subscribed."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.times_s: list[float] = []  # monotonic time of receipt

    def __call__(self, message: Any) -> None:
        self.times_s.append(time.monotonic())
        self.messages.append(message)

    @property
    def last(self) -> Any:
        """The newest message, or None."""
        return self.messages[-1] if self.messages else None


class Graph:
    """Nodes of this test: some here, spun in a thread, and some as children."""

    def __init__(self, folder: Path) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.namespace = f"/t_{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Any] = []
        self.children: list[Child] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self.client = self.node("test_client")
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        with contextlib.suppress(ExternalShutdownException):
            while not self._is_over.is_set():
                self.executor.spin_once(timeout_sec=0.1)

    def node(self, name: str) -> Any:
        """A node of this process, spun beside the test."""
        import rclpy

        node = rclpy.create_node(name, namespace=self.namespace, context=self.context)
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def spawn(
        self, module: str, *, name: str = "", params: dict[str, Any] | None = None, **env: str
    ) -> Child:
        """Start `python -m module` as a node of this namespace, with these parameters."""
        words = [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:={self.namespace}"]
        for key, value in (params or {}).items():
            words += ["-p", f"{key}:={value if isinstance(value, str) else json.dumps(value)}"]
        if name:
            words += ["-r", f"__node:={name}"]
        return self.run(name or module.split(".")[-1], words, **env)

    def run(self, name: str, command: list[str], **env: str) -> Child:
        """Start any command in the environment of this graph."""
        paths = os.pathsep.join([*map(str, PACKAGES), os.environ.get("PYTHONPATH", "")])
        whole = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | env
        whole |= {"ROS_LOG_DIR": str(self.folder / "log"), "PYTHONUNBUFFERED": "1"}
        log = self.folder / f"{name}-{len(self.children)}.txt"
        child = Child(name, command, log, whole)
        self.children.append(child)
        return child

    def hear(self, kind: Any, topic: str, qos: Any) -> Heard:
        """Subscribe, and keep all that comes."""
        heard = Heard()
        self.client.create_subscription(kind, topic, heard, qos)
        return heard

    def call(self, kind: Any, service: str, request: Any = None, deadline_s: float = DEADLINE_S):
        """Call a service of this namespace, and return its response."""
        client = self.client.create_client(kind, service)
        try:
            self.wait_until(client.service_is_ready, f"service {service}", deadline_s)
            future = client.call_async(request if request is not None else kind.Request())
            self.wait_until(future.done, f"response of {service}", deadline_s)
            return future.result()
        finally:
            self.client.destroy_client(client)

    def wait_until(
        self, condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S
    ) -> Any:
        """The condition's first true value; fails with the children's output at the deadline."""
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > end_s:
                logs = "\n".join(f"--- {c.name}\n{c.output[-3000:]}" for c in self.children)
                raise AssertionError(f"not within {deadline_s} s: {what}\n{logs}")
            time.sleep(0.005)
        return value

    def close(self) -> None:
        """Stop the children, then the nodes; whatever hangs is killed."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
        for child in self.children:
            try:
                child.process.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        # An executor that is shut down while it spins trips over what it has just destroyed.
        self._is_over.set()
        self.executor.wake()
        self._thread.join(5)
        self.executor.shutdown(timeout_sec=5)
        for node in self.nodes:
            node.destroy_node()
        self.context.try_shutdown()


def film_cameras(folder: Path, *names: str) -> Path:
    """Cameras whose devices are films, a minute of one grey each: their file."""
    import cv2
    import yaml

    rows = []
    for i, name in enumerate(names):
        source = folder / f"{name}.avi"
        writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 30, (128, 96))
        for _ in range(1800):
            writer.write(np.full((96, 128, 3), 60 + 80 * i, np.uint8))
        writer.release()
        size = {"width_px": 128, "height_px": 96}
        rows.append({"kind": "uvc", "name": name, "source": str(source), **size})
    file = folder / "cameras.yaml"
    file.write_text(yaml.safe_dump({"cameras": rows}))
    return file
