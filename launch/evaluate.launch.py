"""Measuring a policy on the graph: the twin or a real arm, and `robot-rl eval`."""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    Shutdown,
)
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
CONFIG = PathJoinSubstitution([FindPackageShare("robot_rl_bringup"), "config"])
ROBOT_FILE = [PathJoinSubstitution([CONFIG, "robots", ROBOT]), ".yaml"]
TWIN = PathJoinSubstitution([ThisLaunchFileDir(), "twin.launch.py"])
REAL = PathJoinSubstitution([ThisLaunchFileDir(), "real.launch.py"])


def generate_launch_description() -> LaunchDescription:
    """All of `twin` or `real`, and a policy on the evaluation seeds; it ends with the last one."""
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
                "config",
                default_value=PathJoinSubstitution([CONFIG, "nodes.yaml"]),
                description="YAML of further node parameters.",
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="Take ROS time from /clock."
            ),
            DeclareLaunchArgument(
                "log_level", default_value="info", description="debug, info, warn or error."
            ),
            DeclareLaunchArgument(
                "task", default_value="reach", description="Task of the twin, or a task file."
            ),
            DeclareLaunchArgument(
                "scene",
                default_value=LaunchConfiguration("task"),
                description="Scene of the twin: the task, without /pixels.",
            ),
            DeclareLaunchArgument(
                "cameras", default_value="", description="As in twin.launch.py or real.launch.py."
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
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(TWIN), condition=IfCondition(IS_TWIN)
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(REAL), condition=UnlessCondition(IS_TWIN)
            ),
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
