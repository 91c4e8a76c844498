"""Whether what arrived last may still be acted on: the watchdogs of the arm bridge.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

Two clocks: `now_s` is monotonic and decides timeouts; `clock_s` is the one in which messages are
stamped (system or ROS time) and may jump. A message counts only if its stamp lies ahead of the
last one seen, so a frozen sender is stale however often it repeats itself, and no jump of the
clock makes an old message new.
"""

import math

from robot_rl.errors import ConfigError

__all__ = ["Stream"]

_FUTURE_TOLERANCE_S = 0.05  # of stamps from a machine whose clock is synchronised by NTP


class Stream:
    """Age of one stream of stamped messages.

    Args:
        name: What arrives, for messages.
        timeout_s: Longest time without a message.
        age_limit_s: Greatest age of what a message was made from, by its stamp.
    """

    def __init__(self, name: str, *, timeout_s: float, age_limit_s: float) -> None:
        if not (timeout_s > 0 and age_limit_s > 0):
            raise ConfigError(
                f"{name}: timeout_s is {timeout_s} and age_limit_s is {age_limit_s}, but both "
                "must be positive."
            )
        self.name = name
        self._timeout_s, self._age_limit_s = timeout_s, age_limit_s
        self._seen_s = -math.inf  # newest stamp, of admitted and refused messages
        self._received_s: float | None = None
        self._age_at_receipt_s = 0.0

    def admit(self, *, stamp_s: float, clock_s: float, now_s: float) -> str | None:
        """Judge a message as it arrives.

        A stamp that goes back costs one message: the next must advance from there. So a sender
        whose clock was set back is heard again, and a frozen one never.

        Returns:
            Why the message must not be acted on; None if it may.
        """
        if not math.isfinite(stamp_s):
            return f"{self.name}: stamp is {stamp_s}"
        advanced, self._seen_s = stamp_s > self._seen_s, stamp_s
        if not advanced:
            return f"{self.name}: stamp did not advance"
        age_s = clock_s - stamp_s
        if not age_s <= self._age_limit_s:
            return f"{self.name}: {age_s:.2f} s old on arrival; are the clocks synchronised?"
        if age_s < -_FUTURE_TOLERANCE_S:
            return f"{self.name}: stamped {-age_s:.2f} s ahead; are the clocks synchronised?"
        self._received_s, self._age_at_receipt_s = now_s, max(age_s, 0.0)
        return None

    def expire(self) -> None:
        """Forget the last message; the next one may count, if its stamp advances."""
        self._received_s = None

    def age_s(self, now_s: float) -> float:
        """Age of what the last admitted message was made from; infinite without one."""
        if self._received_s is None:
            return math.inf
        return self._age_at_receipt_s + (now_s - self._received_s)

    def why_stale(self, now_s: float) -> str | None:
        """Why the last message may no longer be acted on; None while it may."""
        if self._received_s is None:
            return f"{self.name}: nothing received"
        silence_s = now_s - self._received_s
        if silence_s < 0:  # monotonic clocks do not go back; trust nothing if one does
            return f"{self.name}: received {-silence_s:.2f} s ahead of now"
        if silence_s > self._timeout_s:
            return f"{self.name}: silent for {silence_s:.2f} s"
        age_s = self.age_s(now_s)
        if age_s > self._age_limit_s:
            return f"{self.name}: {age_s:.2f} s old"
        return None
