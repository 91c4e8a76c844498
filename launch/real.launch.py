"""A real arm: its driver's launch file, cameras, and the arm bridge, which starts inactive."""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import (
    AnyLaunchDescriptionSource,
    PythonLaunchDescriptionSource,
)
from launch.substitutions import (
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    ThisLaunchFileDir,
)
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", LaunchConfiguration("robot")]), ".yaml"]
PROFILE = PathJoinSubstitution([CONFIG, "fastdds.xml"])
CAMERAS = PathJoinSubstitution([ThisLaunchFileDir(), "cameras.launch.py"])


def generate_launch_description() -> LaunchDescription:
    """Driver, arm bridge and cameras; nothing moves before the bridge is activated."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot", description="Robot file in config/robots, or a path, without .yaml."
            ),
            DeclareLaunchArgument(
                "namespace", default_value="robot", description="Namespace of all nodes."
            ),
            DeclareLaunchArgument(
                "config",
                default_value=PathJoinSubstitution([CONFIG, "nodes.yaml"]),
                description="YAML of node parameters; what an argument here names wins over it.",
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="Take ROS time from /clock."
            ),
            DeclareLaunchArgument(
                "log_level", default_value="info", description="debug, info, warn or error."
            ),
            DeclareLaunchArgument(
                "driver",
                default_value="",
                description="Launch file of the arm's driver; empty if it runs already.",
            ),
            DeclareLaunchArgument(
                "cameras",
                default_value="",
                description="YAML of cameras to start; empty if they run already, or for none.",
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="false",
                description="Let the bridge hold the arm at once. By default you activate it: "
                "ros2 lifecycle set /robot/arm_bridge configure, then activate.",
            ),
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", PROFILE),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", PROFILE),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(CAMERAS),
                condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration("cameras"), "")),
            ),
            # After our own: from here on, ThisLaunchFileDir is the folder of that file.
            IncludeLaunchDescription(
                AnyLaunchDescriptionSource(LaunchConfiguration("driver")),
                condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration("driver"), "")),
            ),
            Node(
                package="robot_rl_control",
                executable="arm_bridge",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    {
                        "robot": ROBOT_FILE,
                        "autostart": LaunchConfiguration("autostart"),
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    },
                ],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
                on_exit=Shutdown(reason="the arm bridge ended"),
            ),
        ]
    )
