"""Package of the twin node, for colcon."""

from setuptools import setup

NAME = "robot_rl_sim"

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
    description="The MuJoCo twin in place of a robot's driver and cameras.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["twin_node = robot_rl_sim.twin_node:main"]},
)
