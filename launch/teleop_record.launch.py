"""Demonstrations: the twin or a real arm, a device in somebody's hand, and the recorder."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EqualsSubstitution,
    IfElseSubstitution,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ROBOT, IS_TWIN = LaunchConfiguration("robot"), LaunchConfiguration("twin")
DEVICE, TERMINAL = LaunchConfiguration("device"), LaunchConfiguration("terminal")
TASK, OPERATOR = LaunchConfiguration("task"), LaunchConfiguration("operator")
CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", ROBOT]), ".yaml"]
# By a plain path: --show-args then shows its arguments, too.
ROBOT_LAUNCH = str(Path(__file__).with_name("robot.launch.py"))
LOG_LEVEL = ["--log-level", LaunchConfiguration("log_level")]
SHARED = {
    "task": TASK,
    "robot": ROBOT_FILE,
    "device": DEVICE,
    "use_sim_time": LaunchConfiguration("use_sim_time"),
}


def generate_launch_description() -> LaunchDescription:
    """All of `twin` or `real`, and device and recorder; it ends with the last episode."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "task", default_value="reach", description="Task of the twin, or a task file."
            ),
            DeclareLaunchArgument(
                "scene", default_value=TASK, description="Of the twin: the task without /pixels."
            ),
            DeclareLaunchArgument(
                "device",
                default_value="keyboard",
                description="What you hold: keyboard, gamepad, spacemouse, leader or scripted.",
            ),
            DeclareLaunchArgument(
                "terminal", default_value="", description="Whose keys count: terminal:=$(tty)."
            ),
            DeclareLaunchArgument(
                "dataset", description="Episode store to write, or to add to, such as data/a.zarr."
            ),
            DeclareLaunchArgument("episodes", default_value="20", description="Successes wanted."),
            DeclareLaunchArgument("operator", default_value="", description="Who demonstrates."),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(ROBOT_LAUNCH)),
            Node(
                package="robot_rl_teleop",
                executable="teleop_node",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    SHARED | {"terminal": ParameterValue(TERMINAL, value_type=str)},
                ],
                ros_arguments=LOG_LEVEL,
                output="screen",
                on_exit=Shutdown(reason="the device ended"),
            ),
            Node(
                package="robot_rl_teleop",
                executable="recorder_node",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    SHARED
                    | {
                        "out": LaunchConfiguration("dataset"),
                        "scene": IfElseSubstitution(IS_TWIN, "twin", "home"),
                        "operator": ParameterValue(OPERATOR, value_type=str),
                        "episodes": LaunchConfiguration("episodes"),
                        "auto_start": EqualsSubstitution(DEVICE, "scripted"),
                    },
                ],
                ros_arguments=LOG_LEVEL,
                output="screen",
                on_exit=Shutdown(reason="the recorder ended"),
            ),
        ]
    )
