"""Quality of service by name: which messages may be lost, and which a late joiner must still get.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

__all__ = ["COMMAND", "LATCHED", "SENSOR", "STATE"]


def _profile(
    depth: int,
    reliability: ReliabilityPolicy,
    durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=reliability,
        durability=durability,
    )


COMMAND = _profile(1, ReliabilityPolicy.RELIABLE)
"""Targets: only the newest counts, and it must arrive (what ros2_control subscribes with)."""

STATE = _profile(10, ReliabilityPolicy.RELIABLE)
"""Joint states, tracked poses, executed commands."""

SENSOR = _profile(1, ReliabilityPolicy.BEST_EFFORT)
"""Images: a late one is worth less than the next."""

LATCHED = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Mode, e-stop, episode: a node that starts later must know at once."""
