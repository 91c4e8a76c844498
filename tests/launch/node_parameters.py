"""What the nodes of the workspace declare, read from their source: no rclpy is needed."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["executables", "node_name", "parameters_of"]

PACKAGES = Path(__file__).resolve().parents[2] / "ros_ws" / "src"


@cache
def executables() -> dict[str, Path]:
    """`package/executable` to the module that it runs, from every setup.py."""
    found = {}
    for setup in sorted(PACKAGES.glob("*/setup.py")):
        package = setup.parent.name
        for name, module in re.findall(r'"(\w+) = ([\w.]+):main"', setup.read_text()):
            found[f"{package}/{name}"] = setup.parent / Path(*module.split(".")).with_suffix(".py")
    return found


def node_name(executable: str) -> str:
    """What the node calls itself."""
    (name,) = re.findall(r'__init__\(\s*"(\w+)"', executables()[executable].read_text())
    return name


@cache
def parameters_of(executable: str) -> Mapping[str, Any]:
    """Fields of the dataclass that the module passes to `read_params`, with plain defaults."""
    module = executables()[executable]
    (name,) = {
        call.args[1].id
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "read_params"
        and isinstance(call.args[1], ast.Name)
    }
    for path in (module, *sorted(PACKAGES.glob("*/*/*.py"))):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return dict(_field(f) for f in node.body if isinstance(f, ast.AnnAssign))
    raise AssertionError(f"{name} of {executable} is nowhere")


def _field(field: ast.AnnAssign) -> tuple[str, Any]:
    assert isinstance(field.target, ast.Name)
    try:
        return field.target.id, ast.literal_eval(field.value) if field.value else None
    except ValueError:  # a default that is computed
        return field.target.id, None
