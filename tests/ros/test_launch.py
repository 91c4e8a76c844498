"""The launch files by ROS's own `ros2 launch`, in a workspace that is built and sourced."""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
# Not "launch": the folder of that name in this repository would do for it.
pytest.importorskip("launch_ros", reason="ros2 launch comes with an installed ROS 2")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros"), pytest.mark.slow]

LAUNCH = Path(__file__).resolve().parents[2] / "launch"


@pytest.fixture
def launch(ros_graph):
    """Start `ros2 launch robot_rl_bringup <name>.launch.py` in the namespace of this test."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    ros2 = shutil.which("ros2")
    try:
        get_package_share_directory("robot_rl_bringup")
    except PackageNotFoundError:
        pytest.skip("ros_ws is not built and sourced")
    assert ros2 is not None

    def start(name, *arguments, flags=()):
        given = [*arguments, f"namespace:={ros_graph.namespace.strip('/')}"]
        words = [ros2, "launch", *flags, "robot_rl_bringup", f"{name}.launch.py", *given]
        return ros_graph.run(name, words)

    return start


def ended_cleanly(child):
    """ros2 launch returns 0 even when a node has died: only its words tell."""
    started = set(re.findall(r"\[(\S+)\]: process started", child.output))
    clean = set(re.findall(r"\[(\S+)\]: process has finished cleanly", child.output))
    return started and started == clean and "process has died" not in child.output


def test_the_twin_is_held_by_its_bridge_and_ends_cleanly(ros_graph, launch):
    from robot_rl_control import names
    from robot_rl_control.qos import LATCHED, STATE
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

    mode = ros_graph.hear(String, names.BRIDGE_MODE, LATCHED)
    joints = ros_graph.hear(JointState, names.JOINT_STATES, STATE)
    child = launch("twin")
    ros_graph.wait_until(lambda: len(joints.messages) > 10, "joint states", 90)
    ros_graph.wait_until(lambda: mode.last and mode.last.data == "hold", "the hold", 90)
    child.interrupt()
    assert ended_cleanly(child), child.output


def test_a_real_arm_is_not_commanded_before_its_bridge_is_activated(ros_graph, launch):
    from robot_rl_control import names
    from robot_rl_control.qos import LATCHED
    from std_msgs.msg import String

    mode = ros_graph.hear(String, names.BRIDGE_MODE, LATCHED)
    child = launch("real", "robot:=fr3")
    ros_graph.wait_until(
        lambda: "arm_bridge" in ros_graph.client.get_node_names(), "the bridge", 90
    )
    assert not mode.messages  # not even configured
    child.interrupt()
    assert ended_cleanly(child), child.output


def test_a_scripted_episode_is_recorded_and_the_launch_ends_by_itself(launch, tmp_path, ros_graph):
    from robot_rl.replay.store import EpisodeStore

    store = tmp_path / "a.zarr"
    child = launch("teleop_record", "device:=scripted", "episodes:=1", f"dataset:={store}")
    ros_graph.wait_until(lambda: child.process.poll() is not None, "the end", 180)
    assert ended_cleanly(child), child.output
    with EpisodeStore.open(store) as episodes:
        assert len(episodes) == 1


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.launch.py")), ids=lambda p: p.name)
def test_every_argument_is_shown_with_its_description(ros_graph, launch, path):
    child = launch(path.name.removesuffix(".launch.py"), flags=["--show-args"])
    ros_graph.wait_until(lambda: child.process.poll() is not None, "the end", 90)
    shown = set(re.findall(r"^    '(\w+)':\n {8}\S", child.output, re.MULTILINE))
    assert shown >= {"robot", "namespace", "config", "use_sim_time", "log_level"}, child.output
