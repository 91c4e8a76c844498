"""The robot of every other launch file: the twin, or driver, cameras and bridge of a real arm."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    AnySubstitution,
    EqualsSubstitution,
    LaunchConfiguration,
    PathJoinSubstitution,
    ThisLaunchFileDir,
)
from launch_ros.substitutions import FindPackageShare

ROBOT, IS_TWIN = LaunchConfiguration("robot"), LaunchConfiguration("twin")
TWINS = [EqualsSubstitution(ROBOT, name) for name in ("twin", "twin_peg", "twin_bimanual")]
NODES = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config", "nodes.yaml"])
TWIN = PathJoinSubstitution([ThisLaunchFileDir(), "twin.launch.py"])
REAL = PathJoinSubstitution([ThisLaunchFileDir(), "real.launch.py"])


def generate_launch_description() -> LaunchDescription:
    """All of `twin` or `real`."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot", default_value="twin", description="Robot file, as in real.launch.py."
            ),
            DeclareLaunchArgument(
                "twin",
                default_value=AnySubstitution(*TWINS),
                description="Whether the twin plays the robot; else its driver must.",
            ),
            DeclareLaunchArgument("namespace", default_value="robot", description="Of all nodes."),
            DeclareLaunchArgument(
                "config", default_value=NODES, description="YAML of further node parameters."
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="Take ROS time from /clock."
            ),
            DeclareLaunchArgument(
                "log_level", default_value="info", description="debug, info, warn or error."
            ),
            DeclareLaunchArgument(
                "cameras", default_value="", description="As in twin.launch.py or real.launch.py."
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(TWIN), condition=IfCondition(IS_TWIN)
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(REAL), condition=UnlessCondition(IS_TWIN)
            ),
        ]
    )
