"""Residual learning on the graph: the twin or a real arm, and `robot-rl train` as the actor."""

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
    """All of `twin` or `real`, an actor, and the learner that it starts; it ends with the run."""
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
            DeclareLaunchArgument("demos", description="Episode store with demonstrations."),
            DeclareLaunchArgument(
                "run", description="Folder of the run; one that is there is gone on with."
            ),
            DeclareLaunchArgument(
                "options",
                default_value="",
                description="Further options of robot-rl train, such as '--base runs/base'.",
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(ROBOT_LAUNCH)),
            ExecuteProcess(
                cmd=[
                    # Through a shell, so that the further options become words.
                    *["exec", "robot-rl", "train", "--port", "ros", "--resume"],
                    *["--ros.robot", ROBOT_FILE],
                    *["--ros.namespace", ["/", LaunchConfiguration("namespace")]],
                    *["--env", LaunchConfiguration("task")],
                    *["--demos", LaunchConfiguration("demos")],
                    *["--out", LaunchConfiguration("run")],
                    LaunchConfiguration("options"),
                ],
                name="train",
                shell=True,
                output="screen",
                on_exit=Shutdown(reason="the run ended"),
            ),
        ]
    )
