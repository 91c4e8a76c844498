"""The clock that stamps and paces everything: its source, and how late a sleeper wakes."""

import time
from pathlib import Path

from robot_rl.apps.checks.finding import Finding

__all__ = ["check"]

SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
SLOW_SOURCES = ("hpet", "acpi_pm", "jiffies")
SLEEPS = 50
SLEEP_S = 0.002
LATE_MS = 5.0  # a tenth of a control step at 20 Hz


def check() -> list[Finding]:
    """Source and resolution of the monotonic clock, and wake-up lateness."""
    try:
        source = SOURCE.read_text().strip()
    except OSError:  # not Linux, or a container that hides it
        source = "unknown source"
    info = time.get_clock_info("monotonic")
    late_ms = _lateness_ms()
    detail = (
        f"{source}, resolution {info.resolution * 1e9:.0f} ns, "
        f"wakes {late_ms[len(late_ms) // 2]:.2f} ms late (worst {late_ms[-1]:.1f} ms)"
    )
    if source in SLOW_SOURCES:
        mend = f"{source} is slow to read: choose tsc in the kernel or the hypervisor."
    elif late_ms[int(0.9 * len(late_ms))] > LATE_MS:
        mend = (
            "Wakes late: stop other jobs, use the performance governor, or a low-latency kernel."
        )
    else:
        return [Finding(name="clock", status="ok", detail=detail)]
    return [Finding(name="clock", status="slow", detail=detail, mend=mend)]


def _lateness_ms() -> list[float]:
    """How late sleeps ended, sorted."""
    late_ms = []
    for _ in range(SLEEPS):
        due_s = time.monotonic() + SLEEP_S
        time.sleep(SLEEP_S)
        late_ms.append(1e3 * (time.monotonic() - due_s))
    return sorted(late_ms)
