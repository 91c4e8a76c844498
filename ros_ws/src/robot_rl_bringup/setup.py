"""Package of launch files and configuration, for colcon; it holds no code."""

from itertools import groupby
from pathlib import Path

from setuptools import setup

NAME = "robot_rl_bringup"


def installed(folder: str) -> list[tuple[str, list[str]]]:
    """Every file below a folder, where it goes."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    groups = groupby(files, key=lambda path: path.parent)
    return [(f"share/{NAME}/{parent}", [str(path) for path in paths]) for parent, paths in groups]


setup(
    name=NAME,
    version="0.1.0",
    packages=[],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        # The repository's own launch/ is the one source of truth.
        (f"share/{NAME}/launch", sorted(map(str, Path("../../../launch").glob("*.launch.py")))),
        *installed("config"),
    ],
    install_requires=["setuptools"],
    maintainer="robot_rl developers",
    maintainer_email="dev@robot-rl.org",
    description="Launch files, robots, tasks and the Fast DDS profile of a robot workstation.",
    license="Apache-2.0",
)
