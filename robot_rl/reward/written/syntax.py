"""The first wall: what a written function may say at all.

learning:  language model → **checked source** → sandbox → figures → progress model

A list of what is allowed, not of what is forbidden: one function, straight-line arithmetic on its
arguments, comparisons, and some functions of numpy that work element by element or along an axis.
No import, no loop, no name and no attribute that is not listed, no text but names of components.
What passes can still be wrong, slow or hungry; that is what the sandbox is for.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from robot_rl.errors import DataError
from robot_rl.reward.written.vocabulary import (
    BUILTINS,
    ENTRY,
    KEYWORDS,
    METHODS,
    NODES,
    NUMPY,
    REFUSED,
)

__all__ = ["CandidateError", "Written", "check_source", "code_in"]

MAX_CHARACTERS = 8_000
MAX_NODES = 1_500
MAX_NUMBER = 1e9
MAX_COMPONENTS = 12
_COMPONENT = re.compile(r"[A-Za-z][A-Za-z0-9_ \-]{0,39}")
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\r?\n(.*?)```", re.DOTALL)


class CandidateError(DataError):
    """A written function is refused; the message is what its writer is told."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A function that may be run in the sandbox.

    Attributes:
        source: As it is run: annotations and docstring are gone.
        arguments: Fields that it reads, in its order.
    """

    source: str
    arguments: tuple[str, ...]


def code_in(answer: str) -> str:
    """The code of a language model's answer: its last fenced block, or the whole of it.

    Raises:
        CandidateError: There is no function in it.
    """
    blocks = [block for block in _FENCE.findall(answer) if f"def {ENTRY}" in block]
    code = blocks[-1] if blocks else answer
    if f"def {ENTRY}" not in code:
        raise CandidateError(f"the answer holds no function `{ENTRY}`")
    return code.strip() + "\n"


def check_source(source: str, names: Sequence[str]) -> Written:
    """The function, if every part of it is allowed.

    Args:
        source: Python.
        names: What its arguments may be called.

    Raises:
        CandidateError: Something is not allowed; says what, and in which line.
    """
    if len(source) > MAX_CHARACTERS:
        raise CandidateError(f"{len(source)} characters, but at most {MAX_CHARACTERS} are read")
    try:
        function = _only_function(ast.parse(source))
        arguments = _arguments(function, names)
        _Check(function, arguments).run()
        return Written(source=ast.unparse(function) + "\n", arguments=arguments)
    except SyntaxError as error:
        raise CandidateError(f"line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise CandidateError(f"cannot be read: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise CandidateError("nested too deeply") from error


def _only_function(tree: ast.Module) -> ast.FunctionDef:
    """The one function of a module, without annotations, decorations and docstring."""
    # `import numpy as np` is what a language model writes first; np is there anyway.
    body = [node for node in tree.body if not _is_numpy(node) and not _is_text(node)]
    others = [n for n in body if not (isinstance(n, ast.FunctionDef) and n.name == ENTRY)]
    if others and type(others[0]) in (ast.Import, ast.ImportFrom):
        raise _refused(others[0], "import")
    if others or len(body) != 1:
        line = others[0].lineno if others else 1
        raise CandidateError(f"line {line}: must be one function `{ENTRY}` and nothing beside it")
    function = body[0]
    assert isinstance(function, ast.FunctionDef)
    if function.decorator_list:
        raise _refused(function, "decorators")
    function.returns = None
    if function.body and _is_text(function.body[0]):
        function.body = function.body[1:]
    if not function.body:
        raise _refused(function, "an empty function")
    return function


def _is_numpy(node: ast.stmt) -> bool:
    """`import numpy as np`, exactly."""
    if not isinstance(node, ast.Import) or len(node.names) != 1:
        return False
    return (node.names[0].name, node.names[0].asname) == ("numpy", "np")


def _is_text(node: ast.stmt) -> bool:
    """A docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _arguments(function: ast.FunctionDef, names: Sequence[str]) -> tuple[str, ...]:
    """The fields that a function reads."""
    given = function.args
    plain = not (given.vararg or given.kwarg or given.defaults or given.kw_defaults)
    if not plain or given.posonlyargs or given.kwonlyargs or not given.args:
        raise _refused(function, "arguments other than plain names of fields")
    for argument in given.args:
        if argument.arg not in names:
            raise CandidateError(
                f"line {argument.lineno}: there is no field `{argument.arg}`; there are "
                f"{', '.join(names)}"
            )
        argument.annotation = None
    return tuple(argument.arg for argument in given.args)


def _refused(node: ast.AST, what: str) -> CandidateError:
    return CandidateError(f"line {getattr(node, 'lineno', 1)}: {what} is not allowed")


class _Check:
    """Looks at every node of one function."""

    def __init__(self, function: ast.FunctionDef, arguments: Sequence[str]) -> None:
        self._function = function
        self._locals = set(arguments)

    def run(self) -> None:
        """Refuse the first thing that is not listed."""
        nodes = [node for statement in self._function.body for node in ast.walk(statement)]
        if len(nodes) > MAX_NODES:
            raise CandidateError(f"{len(nodes)} parts, but at most {MAX_NODES} are read")
        stored = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self._locals |= {node.id for node in stored}
        for name in self._locals:
            if name.startswith("_") or name == "np" or name in BUILTINS:
                raise CandidateError(f"line 1: a variable called `{name}` is not allowed")
        for statement in self._function.body:
            self._look(statement)
        if not isinstance(self._function.body[-1], ast.Return):
            raise CandidateError("the last line must return the progress and its components")

    def _look(self, node: ast.AST) -> None:
        """Look at a node and all within it."""
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            self._assign(node)
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Constant):
            self._constant(node)
        elif isinstance(node, ast.Subscript):
            self._subscript(node)
        elif isinstance(node, ast.Dict):
            self._components(node)
        elif isinstance(node, NODES):
            self._parts(node)
        else:
            raise _refused(node, REFUSED.get(type(node), type(node).__name__))

    def _parts(self, node: ast.AST) -> None:
        for part in ast.iter_child_nodes(node):
            self._look(part)

    def _assign(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> None:
        """Only to variables: what is given must stay as it is."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        flat = [t for x in targets for t in (x.elts if isinstance(x, ast.Tuple) else [x])]
        if not all(isinstance(target, ast.Name) for target in flat):
            raise _refused(node, "assignment to anything but a variable")
        if isinstance(node, ast.AnnAssign):
            raise _refused(node, "an annotated variable")
        self._look(node.value)

    def _name(self, node: ast.Name) -> None:
        if node.id not in self._locals:
            known = ", ".join(sorted(self._locals))
            raise _refused(node, f"the name `{node.id}` (there are np, {known})")

    def _attribute(self, node: ast.Attribute) -> None:
        """A constant or function of numpy; methods are looked at where they are called."""
        path = _dotted(node)
        if not path.startswith("np.") or path[3:] not in NUMPY:
            raise _refused(node, f"`{path}`")

    def _call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id not in BUILTINS:
                raise _refused(node, f"calling `{function.id}`")
        elif isinstance(function, ast.Attribute) and not _dotted(function).startswith("np."):
            if function.attr not in METHODS:
                raise _refused(node, f"the method `.{function.attr}`")
            self._look(function.value)
        else:
            self._look(function)
        for argument in node.args:
            self._look(argument)
        for keyword in node.keywords:
            if keyword.arg not in KEYWORDS:
                raise _refused(node, f"the keyword `{keyword.arg}`")
            self._look(keyword.value)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if value is None or value is Ellipsis or isinstance(value, bool):
            return
        if not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
            raise _refused(node, f"the constant {str(value)[:40]!r}")

    def _subscript(self, node: ast.Subscript) -> None:
        """By constants, so that rows cannot be picked by what is in them."""
        self._look(node.value)
        for part in ast.walk(node.slice):
            fine = ast.Tuple | ast.Slice | ast.Constant | ast.UnaryOp | ast.USub | ast.Load
            is_axis = isinstance(part, ast.Attribute) and _dotted(part) == "np.newaxis"
            is_np = isinstance(part, ast.Name) and part.id == "np"
            if not (isinstance(part, fine) or is_axis or is_np):
                raise _refused(node, "an index that is not a constant or a slice; use np.where")
            if isinstance(part, ast.Constant):
                self._constant(part)

    def _components(self, node: ast.Dict) -> None:
        if len(node.keys) > MAX_COMPONENTS:
            raise _refused(node, f"a dict of more than {MAX_COMPONENTS} components")
        for key in node.keys:
            named = isinstance(key, ast.Constant) and isinstance(key.value, str)
            if not named or not _COMPONENT.fullmatch(str(key.value)):  # pyright: ignore
                raise _refused(node, "a component without a short plain name")
        for value in node.values:
            self._look(value)


def _dotted(node: ast.AST) -> str:
    """`np.linalg.norm`; "?" stands for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"
