"""Answers of a language model, good and bad, and episodes to judge them by."""

import importlib.util
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from robot_rl.env.state_fields import StateField
from robot_rl.reward.vlm.server import ServerCfg, ServerEngine
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.scoring import Examples

GOOD = """\
The hand must come near, then stand still.
```python
import numpy as np

def progress(gap_m, velocity_m_s):
    far = np.linalg.norm(gap_m, axis=-1)
    near = 1.0 - np.tanh(far / 0.6)
    still = np.exp(-np.linalg.norm(velocity_m_s, axis=-1))
    return 0.95 * near + 0.05 * near * still, {"near": near, "still": still}
```
"""
BETTER = GOOD.replace("0.95 * near + 0.05 * near * still", "0.99 * near + 0.01 * near * still")


def fenced(body, head="def progress(gap_m):"):
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"```python\n{head}\n{lines}```"


BAD = {
    "useless": fenced("return np.tanh(gap_m[:, 0] * 0.0)"),
    "backwards": fenced("return np.linalg.norm(gap_m, axis=-1)"),
    "crashing": fenced("return gap_m[:, 9]"),
    "wrong shape": fenced("return gap_m"),
    "not a number": fenced("return np.log(gap_m[:, 0] * 0 - 1)"),
    "looping": fenced("while True:\n    x = 1\nreturn x"),
    "long": fenced("x = 3 ** (7 ** (9 ** 2))\nreturn gap_m[:, 0] * x"),
    "hungry": fenced("a = gap_m[:, 0]\nb = a[:, None, None] * a[:, None] * a\nreturn b[:, 0, 0]"),
    "impure": fenced("far = np.linalg.norm(gap_m, axis=-1)\nreturn 1.0 - far / far.max()"),
    "reads a file": fenced("return open('/etc/passwd')"),
    "network": fenced("import socket\nreturn gap_m[:, 0]"),
    "import trick": fenced("return __import__('os').system('id')"),
    "dunder": fenced("return gap_m.__class__.__mro__"),
    "forks": fenced("import os\nos.fork()\nreturn gap_m[:, 0]"),
    "no code": "I am sorry, I cannot do that.",
}
REASONS = {
    "useless": "the progress of all recorded states is the same",
    "backwards": "successes begin at",
    "crashing": "index 9 is out of bounds",
    "wrong shape": "progress has shape (N, 2), but must have shape (N,)",
    "not a number": "progress is NaN or infinite",
    "looping": "line 2: a loop is not allowed",
    "long": "of processor time",
    "hungry": "MemoryError",
    "impure": "depends on the other states",
    "reads a file": "calling `open` is not allowed",
    "network": "import is not allowed",
    "import trick": "the method `.system` is not allowed",
    "dunder": "`gap_m.__class__.__mro__` is not allowed",
    "forks": "import is not allowed",
    "no code": "the answer holds no function",
}


@pytest.fixture(scope="session")
def scripted_server():
    path = Path(__file__).with_name("scripted_server.py")
    spec = importlib.util.spec_from_file_location("scripted_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ScriptedServer


@pytest.fixture
def play(scripted_server):
    """Start a server that plays a script: `play(say)`, with `server.engine()` to ask it."""
    with ExitStack() as stack:

        def start(say):
            server = scripted_server(say)
            stack.callback(server.close)

            def engine(**settings):
                cfg = {"url": server.url, "model": "writer", "backoff_s": 0.001, "retries": 1}
                cfg |= {"timeout_s": 100.0, "deadline_s": 200.0}
                return stack.enter_context(ServerEngine(ServerCfg(**{**cfg, **settings})))

            server.engine = engine
            return server

        yield start


@pytest.fixture(scope="session")
def schema():
    return StateSchema(
        instruction="reach",
        success="the hand is at the point",
        fields=(
            StateField("gap_m", 2, "m", "world", "hand minus point"),
            StateField("velocity_m_s", 2, "m/s", "world", "velocity of the hand", 5.0),
            StateField("point_m", 2, "m", "world", "where the point is"),
        ),
    )


@pytest.fixture(scope="session")
def episodes(make_reach):
    """Eight successes, and failures that stop on the way."""
    found = {f"win {seed}": make_reach(seed) for seed in range(8)}
    found |= {f"loss {seed}": make_reach(50 + seed, until=0.3 + 0.1 * seed) for seed in range(5)}
    return found


@pytest.fixture(scope="session")
def examples(episodes):
    return Examples.of(episodes, "reach")


@pytest.fixture(scope="session")
def answers():
    """Answers of a language model by what is wrong with them, and why they are refused."""
    assert set(BAD) == set(REASONS)
    return {"good": GOOD, "better": BETTER, "bad": BAD, "reasons": REASONS}


@pytest.fixture(scope="session")
def held_out(make_reach):
    wins = {f"win {seed}": make_reach(100 + seed) for seed in range(4)}
    return wins | {f"loss {seed}": make_reach(150 + seed, until=0.5) for seed in range(3)}


@pytest.fixture(scope="session")
def some_vectors():
    return np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
