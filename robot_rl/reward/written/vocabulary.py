"""The words that a written function may use; nothing else exists for it.

learning:  language model → **checked source** → sandbox → figures → progress model

Of numpy only what works element by element or along an axis: nothing that opens, draws at random,
takes a function, or makes an array of a size that is not that of its arguments.
"""

import ast

__all__ = ["BUILTINS", "ENTRY", "KEYWORDS", "METHODS", "NODES", "NUMPY", "REFUSED"]

ENTRY = "progress"
"""What the function is called."""

_ELEMENTWISE = """
abs absolute arccos arcsin arctan arctan2 ceil clip cos cosh deg2rad exp exp2 expm1 fabs floor
fmax fmin heaviside hypot isfinite isnan log log10 log1p log2 logical_and logical_not logical_or
maximum minimum nan_to_num power rad2deg reciprocal round select sign sin sinh sqrt square tan tanh
where"""
_ALONG_AXES = "all any cross linalg.norm max mean min prod std sum"
_SHAPES = "array asarray concatenate full_like ones_like squeeze stack zeros_like"
_CONSTANTS = "float64 inf newaxis pi"

NUMPY = frozenset(" ".join((_ELEMENTWISE, _ALONG_AXES, _SHAPES, _CONSTANTS)).split())
"""What of numpy may be used."""

METHODS = frozenset(("all", "any", "clip", "max", "mean", "min", "prod", "round", "std", "sum"))
"""Methods of arrays that may be called."""

BUILTINS = frozenset(("abs", "float"))
"""Functions of Python that may be called."""

_KEYWORDS = """
a_max a_min axis choicelist condlist decimals default initial keepdims max min nan neginf ord
posinf
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""Names that arguments may be given by; `out` and `where` would write into what is given."""

NODES = (
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Tuple, ast.List, ast.Slice, ast.Return),
)
"""Kinds of nodes that are fine if all their parts are; others are looked at one by one."""

REFUSED: dict[type, str] = {
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.While: "a loop",
    ast.For: "a loop",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.FunctionDef: "a function within the function",
    ast.Lambda: "a lambda",
    ast.ClassDef: "a class",
    ast.Try: "try",
    ast.With: "with",
    ast.If: "an if statement (use np.where)",
    ast.JoinedStr: "formatted text",
    ast.NamedExpr: "an assignment within an expression",
    ast.Expr: "a line without effect",
    ast.Starred: "unpacking",
}
"""What kinds of nodes that are not allowed are called; others go by their class."""
