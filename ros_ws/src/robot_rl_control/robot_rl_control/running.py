"""How each of our nodes runs: spun in a thread, until a signal, an error or its own end.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send
"""

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_rl.errors import RobotRLError

__all__ = ["run_node"]

N = TypeVar("N", bound=Node)

_JOIN_S = 5.0  # for a callback in progress
_SPIN_S = 0.1  # between looks whether to go on


def run_node(
    name: str,
    make: Callable[[], N],
    work: Callable[[N, threading.Event], int],
    *,
    args: list[str] | None = None,
) -> int:
    """Run one node in this process; the graph is open until `work` has returned.

    Args:
        name: Of the node, for an error before it exists.
        make: Makes the node.
        work: Runs beside the spinning node until its event is set; returns the exit code.
        args: ROS arguments; by default the command line's.

    Returns:
        The exit code: that of `work`, 1 if a callback broke, 2 on an error that names its remedy.
    """
    # rclpy's own handlers would close the graph before the last message is out.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop, is_broken, is_over = threading.Event(), threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    def spin() -> None:
        try:
            with contextlib.suppress(ExternalShutdownException):
                while not is_over.is_set():
                    executor.spin_once(timeout_sec=_SPIN_S)
        except BaseException:
            is_broken.set()  # threads report what they raise, but end nothing
            raise
        finally:
            stop.set()

    try:
        node = make()
        executor: Any = SingleThreadedExecutor()
        executor.add_node(node)
        spinner = threading.Thread(target=spin, name="spin", daemon=True)
        spinner.start()
        try:
            code = work(node, stop)
        finally:
            # An executor that is shut down while it spins trips over what it has just destroyed.
            is_over.set()
            executor.wake()
            spinner.join(_JOIN_S)
            executor.shutdown()
            node.destroy_node()
        return 1 if is_broken.is_set() else code
    except RobotRLError as error:
        get_logger(name).fatal(str(error))
        return 2
    finally:
        rclpy.try_shutdown()
