"""`robot-rl identify <step>`: from a motion to a posterior, and its page."""

from robot_rl.apps.identify.command import main, run

__all__ = ["main", "run"]
