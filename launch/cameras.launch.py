"""RealSense and UVC cameras under realsense-ros's names, with a transport that holds images."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", LaunchConfiguration("robot")]), ".yaml"]
PROFILE = PathJoinSubstitution([CONFIG, "fastdds.xml"])


def generate_launch_description() -> LaunchDescription:
    """One node for all cameras of a file."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot", default_value="fr3", description="Robot file, as in real.launch.py."
            ),
            DeclareLaunchArgument(
                "cameras",
                default_value=[
                    PathJoinSubstitution([CONFIG, "cameras", LaunchConfiguration("robot")]),
                    ".yaml",
                ],
                description="YAML of cameras; robot_rl_camera/config/cameras.yaml is an example.",
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
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", PROFILE),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", PROFILE),
            Node(
                package="robot_rl_camera",
                executable="camera_node",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    {
                        "config": LaunchConfiguration("cameras"),
                        "robot": ROBOT_FILE,
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    },
                ],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
                on_exit=Shutdown(reason="a camera has failed"),
            ),
        ]
    )
