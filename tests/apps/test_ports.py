"""Which robot a command acts on, and what it says where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.apps import eval, ros, train
from robot_rl.apps.ports import make_env
from robot_rl.errors import ConfigError, UnknownNameError

PROBE = """
import sys
sys.modules["rclpy"] = None  # as on a machine without ROS
from robot_rl.apps.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_ros_the_message_says_how_to_get_it():
    asked = ["eval", "nowhere", "--env", "reach", "--port", "ros"]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "train", *asked[2:], "--demos", "x", "--out", "y"],
        capture_output=True,
        text=True,
        env=os.environ | {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert "source /opt/ros/jazzy/setup.bash" in done.stderr
    assert "pip install 'robot-rl[ros]'" in done.stderr and "Traceback" not in done.stderr


def test_a_robot_file_is_a_path_or_the_name_of_one_that_comes_along():
    assert ros.find_robot("mine/arm.yaml") == Path("mine/arm.yaml")
    assert ros.find_robot("twin").name == "twin.yaml"
    with pytest.raises(UnknownNameError, match=r"unknown robot 'twim'\. Available: .*twin"):
        ros.find_robot("twim")


def test_an_installed_workspace_comes_before_the_sources(tmp_path, monkeypatch):
    robots = tmp_path / "share" / "robot_rl_bringup" / "config" / "robots"
    robots.mkdir(parents=True)
    (robots / "mine.yaml").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/opt/none{os.pathsep}{tmp_path}")
    assert ros.find_robot("mine") == robots / "mine.yaml"


def test_a_task_file_needs_the_robot(tmp_path):
    with pytest.raises(ConfigError, match=r"is the task of a real robot\. Add --port ros"):
        make_env(str(tmp_path / "insert.yaml"))


def test_a_robot_is_learned_on_in_two_processes_and_without_films(tmp_path):
    cfg = train.preset(["--port", "ros", "--base", "b"])
    assert (cfg.engine, cfg.max_lag, cfg.videos, cfg.eval_episodes) == ("split", None, 0, 20)
    assert train.preset(["--env", "peg"]).engine == "inline"
    with pytest.raises(ConfigError, match="a robot does not act for a film"):
        train.Cfg(env="peg", port="ros", videos=1)
    assert train.Cfg(env=str(tmp_path / "insert.yaml")).folder.name == "insert-ours-s0"
    with pytest.raises(ConfigError, match="a robot does not act for a film"):
        eval.Cfg(policy=tmp_path, port="ros", videos=2)
