"""`robot-rl report`: the page of one run, card by card."""

from robot_rl.apps.report.command import Cfg, main, write_report

__all__ = ["Cfg", "main", "write_report"]
