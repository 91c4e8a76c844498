"""What keeps the ticks of a Python process on time: its own interpreter first, then the system.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**
"""

import gc
import os
import sys

__all__ = ["PRIORITIES", "give_priority", "settle"]

PRIORITIES = range(1, 100)
"""Of SCHED_FIFO; 99 is the kernel's own."""

_SWITCH_S = 0.0005  # longest that another thread keeps the interpreter; Python's own is 5 ms


def settle() -> None:
    """Let no thread keep the interpreter for long, and no collection look at what stays anyway.

    To be called when all that lasts has been made. A full collection of a process with rclpy and
    numpy takes some 20 ms, and all threads wait for it.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()


def give_priority(priority: int) -> str:
    """Run all threads of this process before those of others, and threads made later alike.

    All of them, for one that ticks waits for the interpreter that another holds.

    Args:
        priority: One of `PRIORITIES`.

    Returns:
        Why it was refused, and what to do about it; empty if it was not.
    """
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return (
            f"real-time priority {priority} is not permitted, so ticks may come late while the "
            "machine is busy. Add the line '@realtime - rtprio 98' to /etc/security/limits.d/"
            "realtime.conf and yourself to the group realtime, then log in anew; or grant the "
            "container CAP_SYS_NICE."
        )
    except ProcessLookupError:  # a thread has ended meanwhile
        return give_priority(priority)
    return ""
