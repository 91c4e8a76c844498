"""Measuring a policy on the graph: the twin or a real arm, and `robot-rl eval`."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

ROBOT = LaunchConfiguration("robot")
CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", ROBOT]), ".yaml"]
# By a plain path: --show-args then shows its arguments, too.
ROBOT_LAUNCH = str(Path(__file__).with_name("robot.launch.py"))


def generate_launch_description() -> LaunchDescription:
    """All of `twin` or `real`, and a policy on the evaluation seeds; it ends with the last one."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "task", default_value="reach", description="Task of the twin, or a task file."
            ),
            DeclareLaunchArgument(
                "scene",
                default_value=LaunchConfiguration("task"),
                description="Scene of the twin: the task, without /pixels.",
            ),
            DeclareLaunchArgument(
                "policy", description="Folder of a saved policy, or of a run, whose policy it is."
            ),
            DeclareLaunchArgument(
                "episodes", default_value="20", description="How many evaluation seeds."
            ),
            DeclareLaunchArgument(
                "options",
                default_value="",
                description="Further options of robot-rl eval, such as '--out runs/report'.",
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(ROBOT_LAUNCH)),
            ExecuteProcess(
                cmd=[
                    # Through a shell, so that the further options become words.
                    *["exec", "robot-rl", "eval", LaunchConfiguration("policy"), "--port", "ros"],
                    *["--ros.robot", ROBOT_FILE],
                    *["--ros.namespace", ["/", LaunchConfiguration("namespace")]],
                    *["--env", LaunchConfiguration("task")],
                    *["--episodes", LaunchConfiguration("episodes"), "--videos", "0"],
                    LaunchConfiguration("options"),
                ],
                name="eval",
                shell=True,
                output="screen",
                on_exit=Shutdown(reason="the evaluation ended"),
            ),
        ]
    )
