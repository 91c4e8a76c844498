"""Package of the camera node, for colcon."""

from setuptools import setup

NAME = "robot_rl_camera"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/config", ["config/cameras.yaml"]),
    ],
    install_requires=["setuptools"],
    maintainer="robot_rl developers",
    maintainer_email="dev@robot-rl.org",
    description="RealSense and UVC cameras under the topic names of realsense2_camera.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["camera_node = robot_rl_camera.camera_node:main"]},
)
