"""What a calibration needs running: the arm, held by its bridge, and its cameras.

Then, in another terminal, `robot-rl calibrate record` says view by view what to show the camera,
and records it; the arm is moved by hand or with a teleoperation device.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

# By a plain path: --show-args then shows its arguments, too.
ROBOT_LAUNCH = str(Path(__file__).with_name("robot.launch.py"))


def generate_launch_description() -> LaunchDescription:
    """The twin, or driver, bridge and cameras of a real arm, all held still."""
    return LaunchDescription(
        [IncludeLaunchDescription(PythonLaunchDescriptionSource(ROBOT_LAUNCH))]
    )
