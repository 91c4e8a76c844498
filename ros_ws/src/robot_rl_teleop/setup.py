"""Package of teleoperation and recording, for colcon."""

from setuptools import setup

NAME = "robot_rl_teleop"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    maintainer="robot_rl developers",
    maintainer_email="dev@robot-rl.org",
    description="Teleoperation devices on the ROS graph, and the recorder of demonstrations.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "teleop_node = robot_rl_teleop.teleop_node:main",
            "recorder_node = robot_rl_teleop.recorder_node:main",
        ]
    },
)
