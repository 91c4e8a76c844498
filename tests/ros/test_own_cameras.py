"""Cameras of the actor's own process: joints come over the graph, images do not."""

import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

from ros_graph import film_cameras  # noqa: E402

from robot_rl.apps.ports import PortCfg, make_env  # noqa: E402
from robot_rl.errors import ConfigError  # noqa: E402

ROBOT = Path(__file__).resolve().parents[2] / "ros_ws/src/robot_rl_bringup/config/robots/twin.yaml"


def test_a_policy_sees_the_cameras_of_its_own_process(ros_graph):
    data = yaml.safe_load(ROBOT.read_text())
    data["bridge"] |= {"command_timeout_s": 5.0, "observation_age_s": 5.0, "state_timeout_s": 5.0}
    robot = ros_graph.folder / "robot.yaml"
    robot.write_text(yaml.safe_dump(data))
    ros_graph.spawn("robot_rl_sim.twin_node", params={"task": "reach", "command_timeout_s": 5.0})
    ros_graph.spawn("robot_rl_control.arm_bridge", params={"robot": str(robot), "autostart": True})
    ros = PortCfg(
        robot=str(robot),
        namespace=ros_graph.namespace,
        cameras=film_cameras(ros_graph.folder, "front", "wrist"),
    )
    env = make_env("reach/pixels", "ros", ros)
    threads = set(threading.enumerate())
    try:
        obs, _ = env.reset(seed=0)
        assert abs(int(np.median(obs["front"])) - 60) < 5
        obs, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
        assert abs(int(np.median(obs["wrist"])) - 140) < 5
        assert obs["wrist"].shape == env.observation_space["wrist"].shape
    finally:
        env.close()
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not left, "cameras end with the port"


def test_a_camera_that_the_task_needs_must_be_in_the_file(tmp_path):
    ros = PortCfg(robot=str(ROBOT), cameras=film_cameras(tmp_path, "front"))
    with pytest.raises(ConfigError, match=r"observes camera 'wrist', but .* opens front\."):
        make_env("reach/pixels", "ros", ros)
