"""What a launch file describes, told without ROS: recording doubles of `launch` and `launch_ros`.

They take what the launch files use and nothing more, so that an event handler, an opaque function
or any other logic in a launch file is an import error here.
"""

import importlib.util
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["LAUNCH", "PACKAGES", "Described", "Program", "describe"]

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
PACKAGES = ROOT / "ros_ws" / "src"


@dataclass(kw_only=True)
class Program:
    """A node or another process, as it would be started."""

    name: str
    """`package/executable`, or the first word of a command."""
    namespace: str = ""
    files: list[Path] = field(default_factory=list)
    """Parameter files, in their order."""
    parameters: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """Command line behind the name."""
    ends_all: bool = False
    """Whether everything is shut down when it exits."""


@dataclass(kw_only=True)
class Described:
    """All that a launch file and those that it includes would do with the given arguments."""

    arguments: dict[str, str] = field(default_factory=dict)
    """Values, by name, of given and declared arguments."""
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the declarations say that `--show-args` shows: those of the file itself, and of files
    that it includes by a plain path."""
    is_shown: bool = True
    """Whether the file that is being followed is one of these."""
    environment: dict[str, str] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)
    included: list[Path] = field(default_factory=list)
    folder: Path = LAUNCH
    """Of the launch file that was followed last."""

    def program(self, name: str) -> Program:
        """The one program of that name."""
        (found,) = [program for program in self.programs if program.name == name]
        return found

    @property
    def names(self) -> list[str]:
        """Of all programs, in their order."""
        return [program.name for program in self.programs]


# Substitutions: values that only a launch with its arguments knows ------------------------------


class Substitution:
    """Something that becomes text."""

    def text(self, told: Described) -> str:
        raise AssertionError(type(self))


def text(value: Any, told: Described) -> str:
    """A substitution, a list of such to be joined, or plain text."""
    if isinstance(value, Substitution):
        return value.text(told)
    if isinstance(value, (list, tuple)):
        return "".join(text(item, told) for item in value)
    assert isinstance(value, (str, int, float, Path)), f"{value!r} is no text"
    return str(value)


class LaunchConfiguration(Substitution):
    def __init__(self, name: str) -> None:
        self.name = name

    def text(self, told: Described) -> str:
        return told.arguments[self.name]  # KeyError: used before it is declared


class PathJoinSubstitution(Substitution):
    def __init__(self, parts: Sequence[Any]) -> None:
        assert all(isinstance(part, (str, Substitution)) for part in parts), "a list within"
        self.parts = parts

    def text(self, told: Described) -> str:
        return os.path.join(*(text(part, told) for part in self.parts))


class FindPackageShare(Substitution):
    def __init__(self, package: str) -> None:
        self.package = package

    def text(self, told: Described) -> str:
        assert (PACKAGES / self.package / "package.xml").exists(), self.package
        return str(PACKAGES / self.package)


class ThisLaunchFileDir(Substitution):
    """Of the file that was included last: launch does not go back to the including one."""

    def text(self, told: Described) -> str:
        return str(told.folder)


class EnvironmentVariable(Substitution):
    def __init__(self, name: str, *, default_value: str) -> None:
        self.name, self.default_value = name, default_value

    def text(self, told: Described) -> str:
        return told.environment.get(self.name, self.default_value)


class EqualsSubstitution(Substitution):
    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right

    def text(self, told: Described) -> str:
        return str(text(self.left, told) == text(self.right, told)).lower()


class AnySubstitution(Substitution):
    def __init__(self, *claims: Substitution) -> None:
        self.claims = claims

    def text(self, told: Described) -> str:
        return str(any(IfCondition(claim).holds(told) for claim in self.claims)).lower()


class IfElseSubstitution(Substitution):
    def __init__(self, condition: Any, if_value: Any, else_value: Any) -> None:
        self.condition, self.if_value, self.else_value = condition, if_value, else_value

    def text(self, told: Described) -> str:
        holds = IfCondition(self.condition).holds(told)
        return text(self.if_value if holds else self.else_value, told)


class NotEqualsSubstitution(EqualsSubstitution):
    def text(self, told: Described) -> str:
        return str(text(self.left, told) != text(self.right, told)).lower()


class ParameterValue(Substitution):
    def __init__(self, value: Any, *, value_type: type) -> None:
        self.value, self.value_type = value, value_type

    def text(self, told: Described) -> str:
        plain = text(self.value, told)
        if self.value_type is not bool:
            self.value_type(plain)  # ValueError: not of that type
        return plain


class IfCondition:
    def __init__(self, claim: Any) -> None:
        self.claim = claim

    def holds(self, told: Described) -> bool:
        plain = text(self.claim, told).lower()
        assert plain in ("true", "false", "1", "0"), f"condition is '{plain}'"
        return plain in ("true", "1")


class UnlessCondition(IfCondition):
    def holds(self, told: Described) -> bool:
        return not super().holds(told)


# Actions ----------------------------------------------------------------------------------------


class Action:
    """Something that a launch does, unless its condition does not hold."""

    condition: IfCondition | None = None

    def tell(self, told: Described) -> None:
        raise AssertionError(type(self))


class DeclareLaunchArgument(Action):
    def __init__(self, name: str, **said: Any) -> None:
        assert said.keys() <= {"default_value", "description", "choices"}, said
        self.name, self.said = name, said

    def tell(self, told: Described) -> None:
        if told.is_shown:
            told.declared[self.name] = self.said
        if self.name not in told.arguments:
            assert "default_value" in self.said, f"argument {self.name} is required"
            told.arguments[self.name] = text(self.said["default_value"], told)
        choices = self.said.get("choices")
        assert choices is None or told.arguments[self.name] in choices, self.name


class SetEnvironmentVariable(Action):
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def tell(self, told: Described) -> None:
        assert not told.programs, f"{self.name} is set when programs have started already"
        told.environment[self.name] = text(self.value, told)


class Shutdown(Action):
    def __init__(self, *, reason: str) -> None:
        assert reason


class ExecuteProcess(Action):
    def __init__(
        self,
        *,
        cmd: Sequence[Any],
        output: str,
        on_exit: Shutdown | None = None,
        condition: IfCondition | None = None,
        shell: bool = False,
        name: str = "",
    ) -> None:
        assert output == "screen"
        self.cmd, self.on_exit, self.condition, self.shell = cmd, on_exit, condition, shell

    def tell(self, told: Described) -> None:
        name, *words = [text(word, told) for word in self.cmd]
        if self.shell:
            assert name == "exec", "signals would end the shell only"
            name, *words = shlex.split(" ".join(words))
        ends_all = self.on_exit is not None
        told.programs.append(Program(name=name, words=words, ends_all=ends_all))


class Node(Action):
    def __init__(
        self,
        *,
        package: str,
        executable: str,
        namespace: Any,
        parameters: Sequence[Any],
        ros_arguments: Sequence[Any],
        output: str,
        on_exit: Shutdown | None = None,
        condition: IfCondition | None = None,
        emulate_tty: bool = False,
        name: Any = None,
    ) -> None:
        assert output == "screen"
        self.where = f"{package}/{executable}"
        self.namespace, self.parameters, self.ros_arguments = namespace, parameters, ros_arguments
        self.on_exit, self.condition = on_exit, condition

    def tell(self, told: Described) -> None:
        program = Program(
            name=self.where,
            namespace=text(self.namespace, told),
            words=[text(word, told) for word in self.ros_arguments],
            ends_all=self.on_exit is not None,
        )
        for item in self.parameters:
            if isinstance(item, Mapping):
                program.parameters |= {key: text(value, told) for key, value in item.items()}
            else:
                program.files.append(Path(text(item, told)))
        told.programs.append(program)


class LaunchDescriptionSource:
    def __init__(self, path: Any) -> None:
        self.path = path


class IncludeLaunchDescription(Action):
    def __init__(
        self,
        source: LaunchDescriptionSource,
        *,
        launch_arguments: Sequence[tuple[str, Any]] = (),
        condition: IfCondition | None = None,
    ) -> None:
        self.source, self.launch_arguments, self.condition = source, launch_arguments, condition

    def tell(self, told: Described) -> None:
        for name, value in self.launch_arguments:
            told.arguments[name] = text(value, told)
        path = Path(text(self.source.path, told))
        told.included.append(path)
        was_shown = told.is_shown
        told.is_shown = was_shown and isinstance(self.source.path, str)
        _follow(path, told)
        told.is_shown = was_shown


class LaunchDescription:
    def __init__(self, actions: Sequence[Action]) -> None:
        self.actions = actions


_MODULES = {
    "launch": [LaunchDescription],
    "launch.actions": [
        DeclareLaunchArgument,
        ExecuteProcess,
        IncludeLaunchDescription,
        SetEnvironmentVariable,
        Shutdown,
    ],
    "launch.conditions": [IfCondition, UnlessCondition],
    "launch.launch_description_sources": [],
    "launch.substitutions": [
        AnySubstitution,
        EnvironmentVariable,
        EqualsSubstitution,
        IfElseSubstitution,
        LaunchConfiguration,
        NotEqualsSubstitution,
        PathJoinSubstitution,
        ThisLaunchFileDir,
    ],
    "launch_ros": [],
    "launch_ros.actions": [Node],
    "launch_ros.parameter_descriptions": [ParameterValue],
    "launch_ros.substitutions": [FindPackageShare],
}


@contextmanager
def _doubles() -> Iterator[None]:
    """Let `import launch` find the doubles."""
    before = {name: sys.modules.get(name) for name in _MODULES}
    for name, members in _MODULES.items():
        module = ModuleType(name)
        module.__path__ = []
        for member in members:
            setattr(module, member.__name__, member)
        sys.modules[name] = module
    sources: Any = sys.modules["launch.launch_description_sources"]
    sources.PythonLaunchDescriptionSource = LaunchDescriptionSource
    sources.AnyLaunchDescriptionSource = LaunchDescriptionSource
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _follow(path: Path, told: Described) -> None:
    told.folder = path.parent
    spec = importlib.util.spec_from_file_location(f"described_{path.name.split('.')[0]}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for action in module.generate_launch_description().actions:
        if action.condition is None or action.condition.holds(told):
            action.tell(told)


def describe(path: Path, **arguments: str) -> Described:
    """What `ros2 launch path name:=value ...` would do."""
    told = Described(arguments=dict(arguments))
    with _doubles():
        _follow(path, told)
    return told
