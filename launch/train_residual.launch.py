"""Residual learning on the graph: the twin or a real arm, and `robot-rl train` as the actor."""

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
    """All of `twin` or `real`, an actor, and the learner that it starts; it ends with the run."""
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
            DeclareLaunchArgument("demos", description="Episode store with demonstrations."),
            DeclareLaunchArgument(
                "run", description="Folder of the run; one that is there is gone on with."
            ),
            DeclareLaunchArgument(
                "options",
                default_value="",
                description="Further options of robot-rl train, such as '--base runs/base'.",
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
