"""Package of the arm bridge and the ROS port, for colcon."""

from setuptools import setup

NAME = "robot_rl_control"

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
    description="The only publisher of commands, and the ROS graph as a RobotPort.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["arm_bridge = robot_rl_control.arm_bridge:main"]},
)
