import pytest

from robot_rl.reward.written.syntax import CandidateError, check_source, code_in

NAMES = ("gap_m", "opening_m")
GOOD = '''
import numpy as np

def progress(gap_m: np.ndarray, opening_m) -> np.ndarray:
    """How near, and how closed."""
    far = np.linalg.norm(gap_m, axis=-1)
    near = np.exp(-far / 0.05)
    closed = np.clip((0.08 - opening_m[:, 0]) / 0.04, 0.0, 1.0)
    near, is_low = np.where(far < 0.01, 1.0, near), gap_m[..., 2] < 0
    total = 0.6 * near + 0.4 * near * closed * (1 - 0.1 * is_low.mean(axis=-1, keepdims=True))
    return total, {"near": near, "closed": closed}
'''


def refusal(body, head="def progress(gap_m, opening_m):\n    "):
    with pytest.raises(CandidateError) as caught:
        check_source(head + body.replace("\n", "\n    ") + "\n", NAMES)
    return str(caught.value)


def test_plain_arithmetic_is_allowed_and_annotations_and_docstrings_go():
    written = check_source(GOOD, NAMES)
    assert written.arguments == NAMES
    assert "import" not in written.source and "ndarray" not in written.source
    assert '"""' not in written.source


def test_checking_what_was_checked_changes_nothing():
    once = check_source(GOOD, NAMES)
    assert check_source(once.source, NAMES) == once


FORBIDDEN = {
    "import os\nreturn gap_m[:, 0]": "import is not allowed",
    "from os import system\nreturn gap_m[:, 0]": "import is not allowed",
    "while True:\n    pass": "a loop is not allowed",
    "for k in (1, 2):\n    x = k\nreturn x": "a loop is not allowed",
    "return [x for x in gap_m]": "a loop is not allowed",
    "if gap_m[0, 0] > 0:\n    return gap_m": "an if statement (use np.where)",
    "return open('/etc/passwd')": "calling `open`",
    "return open('/etc/passwd').read()": "the method `.read`",
    "return eval('1')": "calling `eval`",
    "return exec('x = 1')": "calling `exec`",
    "return __import__('os').system('id')": "the method `.system`",
    "return getattr(np, 'load')": "calling `getattr`",
    "return gap_m.__class__.__base__": "`gap_m.__class__.__base__`",
    "return ().__class__": "`?.__class__`",
    "return np.linalg.norm.__globals__": "`np.linalg.norm.__globals__`",
    "return np.load('x.npy')": "`np.load`",
    "return np.fromfile('x')": "`np.fromfile`",
    "return np.random.rand(3)": "`np.random.rand`",
    "return np.ones((100000, 100000))": "`np.ones`",
    "return np.vectorize(abs)(gap_m)": "`np.vectorize`",
    "return np.ctypeslib": "`np.ctypeslib`",
    "return gap_m.tofile('x')": "the method `.tofile`",
    "return gap_m.base": "`gap_m.base`",
    "return np.maximum(gap_m, 0, out=gap_m)": "the keyword `out`",
    "return (lambda x: x)(gap_m)": "a lambda",
    "return f'{gap_m}'": "formatted text",
    "return 'text'": "the constant",
    "return gap_m * 1e300": "the constant",
    "return gap_m ** 10000000000": "the constant",
    "return gap_m + 1j": "the constant",
    "return gap_m[gap_m > 0]": "an index that is not a constant",
    "return gap_m[opening_m]": "an index that is not a constant",
    "gap_m[0] = 1\nreturn gap_m": "assignment to anything but a variable",
    "np.x = 1\nreturn gap_m": "assignment to anything but a variable",
    "_hidden = 1\nreturn gap_m": "a variable called `_hidden`",
    "np = 1\nreturn gap_m": "a variable called `np`",
    "abs = 1\nreturn gap_m": "a variable called `abs`",
    "global x\nreturn gap_m": "Global",
    "try:\n    return gap_m\nfinally:\n    pass": "a",
    "yield gap_m": "a",
    "return (yield)": "Yield",
    "print(gap_m)\nreturn gap_m": "a line without effect",
    "x = np.sum(*gap_m)\nreturn x": "unpacking",
    "x = np.sum(**gap_m)\nreturn x": "the keyword `None`",
    "(x := gap_m)\nreturn x": "a line without effect",
    "return (x := gap_m)": "an assignment within an expression",
    "return gap_m, {'__class__': gap_m}": "a component without a short plain name",
    "return gap_m, {**opening_m}": "a component without a short plain name",
    "return unknown": "the name `unknown`",
    "x = gap_m": "the last line must return",
    "def inner():\n    return 1\nreturn inner()": "a function within the function",
}


@pytest.mark.parametrize("body", FORBIDDEN)
def test_what_is_not_listed_is_refused_with_its_reason(body):
    assert FORBIDDEN[body] in refusal(body)


def test_a_refusal_names_the_line():
    assert refusal("x = gap_m\nwhile True:\n    pass") == "line 3: a loop is not allowed"


HEADS = {
    "def progress(*gap_m):": "arguments other than plain names of fields",
    "def progress(gap_m=1):": "arguments other than plain names of fields",
    "def progress(gap_m, **rest):": "arguments other than plain names of fields",
    "def progress():": "arguments other than plain names of fields",
    "def progress(tilt):": "there is no field `tilt`; there are gap_m, opening_m",
    "@print\ndef progress(gap_m):": "decorators",
    "import os\ndef progress(gap_m):": "line 1: import is not allowed",
    "from numpy import load\ndef progress(gap_m):": "line 1: import is not allowed",
    "x = 1\ndef progress(gap_m):": "must be one function `progress`",
    "def other(gap_m):": "must be one function `progress`",
    "async def progress(gap_m):": "must be one function `progress`",
    "class progress:": "must be one function `progress`",
}


@pytest.mark.parametrize("head", HEADS)
def test_there_is_one_plain_function(head):
    assert HEADS[head] in refusal("return gap_m", head + "\n    ")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def progress(gap_m)\n", "line 1: "),
        ("def progress(gap_m):\n    return " + "(" * 300 + "\n", "line "),
        ("def progress(gap_m):\n    return " + "-" * 7000 + "gap_m\n", "nested too deeply"),
        ("def progress(gap_m):\n    return " + "-" * 700 + "gap_m\n", "nested too deeply"),
        ("def progress(gap_m):\n    return gap_m" + " + gap_m" * 900, "parts, but at most 1500"),
        ("x" * 9000, "9000 characters, but at most 8000"),
        ("def progress(gap_m):\n    return gap_m\0\n", "null"),
    ],
)
def test_what_cannot_be_read_is_refused(source, words):
    with pytest.raises(CandidateError) as caught:
        check_source(source, NAMES)
    assert words in str(caught.value)


def test_the_last_fenced_block_with_the_function_is_the_code():
    answer = "First\n```python\ndef progress(a):\n    return a\n```\nbetter:\n```\ndef progress(b)"
    assert code_in(answer + ":\n    return b\n```\nDone.") == "def progress(b):\n    return b\n"
    assert code_in("def progress(a):\n    return a") == "def progress(a):\n    return a\n"
    with pytest.raises(CandidateError, match="the answer holds no function `progress`"):
        code_in("I cannot help with that.")
