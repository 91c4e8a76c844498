"""The packages of the workspace: each says truly what it holds and what it needs."""

import ast
import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytestmark = [pytest.mark.ros, pytest.mark.xdist_group("ros")]

SRC = Path(__file__).resolve().parents[2] / "ros_ws" / "src"
PACKAGES = sorted(path.parent for path in SRC.glob("*/package.xml"))
MODULES = sorted(SRC.glob("*/robot_rl_*/*.py"))
# What a node may import beside the library: everything else is ROS's, and must be declared.
LIBRARY = {"robot_rl", "sim", "calibration", "numpy", "cv2", "mujoco", "yaml"}


def text_of(package, tag):
    root = ElementTree.parse(package / "package.xml").getroot()
    return [element.text for element in root.findall(tag)]


def imports_of(module):
    """Top-level packages that a module imports where it is loaded; lazy ones are optional."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_every_name_in_all_can_be_imported(path):
    module = importlib.import_module(f"{path.parent.name}.{path.stem}".removesuffix(".__init__"))
    names = getattr(module, "__all__", [])
    assert names or path.stem == "__init__"
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_every_import_is_declared(package):
    needs = {name for module in package.glob("robot_rl_*/*.py") for name in imports_of(module)}
    needs -= LIBRARY | set(sys.stdlib_module_names) | {package.name}
    assert needs - set(text_of(package, "exec_depend")) == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_package_xml_and_setup_py_agree(package):
    setup = (package / "setup.py").read_text()
    assert text_of(package, "name") == [package.name]
    assert f'version="{text_of(package, "version")[0]}"' in setup
    assert (package / "resource" / package.name).exists()
    assert f"$base/lib/{package.name}" in (package / "setup.cfg").read_text()
    # Else scripts get the Python that ran colcon, and do not find torch in a virtual environment.
    assert "executable=/usr/bin/env python3" in (package / "setup.cfg").read_text()
    assert re.search(r"@[\w.-]+\.\w+", (package / "package.xml").read_text()), (
        "maintainer's e-mail"
    )
