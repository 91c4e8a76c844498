"""`robot-rl calibrate <step>`: from a recorded session to a versioned rig, and its page."""

from robot_rl.apps.calibrate.command import main, run

__all__ = ["main", "run"]
