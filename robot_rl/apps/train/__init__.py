"""`robot-rl train`: its options, and one run from materials to report."""

from robot_rl.apps.train.command import main
from robot_rl.apps.train.options import Cfg, learner_of, preset

__all__ = ["Cfg", "learner_of", "main", "preset"]
