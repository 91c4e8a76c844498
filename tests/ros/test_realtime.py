"""What a process may have of the machine's time, it gets; what it may not, it says."""

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from robot_rl_control.params import ArmBridgeParams  # noqa: E402

from robot_rl.errors import ConfigError  # noqa: E402

ASK = """
import gc, os, resource, sys, threading
from robot_rl_control.realtime import give_priority, settle
threading.Thread(target=threading.Event().wait, daemon=True).start()
settle()
print(sys.getswitchinterval() < 0.001, gc.get_freeze_count() > 0)
print(give_priority(5) or "granted")
later = []
thread = threading.Thread(target=lambda: later.append(os.sched_getscheduler(0)))
thread.start(); thread.join()
now = set()
for task in os.listdir("/proc/self/task"):
    try:
        now.add(os.sched_getscheduler(int(task)))
    except ProcessLookupError:  # the thread above is joined before the system has forgotten it
        pass
print(now | set(later) == {os.SCHED_FIFO})
"""


def test_priority_is_had_by_all_threads_or_refused_with_what_to_do(ros_graph):
    child = ros_graph.run("asker", [sys.executable, "-c", ASK])
    try:
        assert child.process.wait(60) == 0, child.output
    except subprocess.TimeoutExpired:
        raise AssertionError(child.output) from None
    settled, answer, has_it = child.output.splitlines()
    assert settled == "True True"
    assert has_it == str(answer == "granted")
    assert answer == "granted" or "rtprio 98" in answer


def test_a_priority_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="realtime_priority is 100, but must be 0 or within 1"):
        ArmBridgeParams(robot="r.yaml", realtime_priority=100)
