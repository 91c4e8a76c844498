"""The twin as the robot: its node plays driver and cameras, and the arm bridge commands it."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable, Shutdown
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", LaunchConfiguration("robot")]), ".yaml"]
PROFILE = PathJoinSubstitution([CONFIG, "fastdds.xml"])


def generate_launch_description() -> LaunchDescription:
    """Twin and arm bridge; the bridge holds as soon as the twin reports its joints."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot",
                default_value="twin",
                description="Robot file in config/robots, or a path, without .yaml.",
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
                "scene",
                default_value="reach",
                description="Task of the twin that draws the scene; peg wants robot:=twin_peg, "
                "bimanual-lift robot:=twin_bimanual.",
            ),
            DeclareLaunchArgument("seed", default_value="0", description="Of the first scene."),
            DeclareLaunchArgument(
                "cameras",
                default_value="",
                description="Cameras to render, separated by commas, such as front,wrist.",
            ),
            SetEnvironmentVariable(
                "MUJOCO_GL", EnvironmentVariable("MUJOCO_GL", default_value="egl")
            ),
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", PROFILE),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", PROFILE),
            Node(
                package="robot_rl_sim",
                executable="twin_node",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    {
                        "task": LaunchConfiguration("scene"),
                        "seed": LaunchConfiguration("seed"),
                        "cameras": ParameterValue(LaunchConfiguration("cameras"), value_type=str),
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    },
                ],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
                on_exit=Shutdown(reason="the twin ended"),
            ),
            Node(
                package="robot_rl_control",
                executable="arm_bridge",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    {
                        "robot": ROBOT_FILE,
                        "autostart": True,
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    },
                ],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
                on_exit=Shutdown(reason="the arm bridge ended"),
            ),
        ]
    )
