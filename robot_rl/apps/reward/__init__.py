"""`robot-rl reward <verb>`: one module a verb."""

from robot_rl.apps.reward.verbs import main

__all__ = ["main"]
