"""Each wall is tried alone: these functions never saw the syntax check."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.reward.written.confined import WALLS
from robot_rl.reward.written.sandbox import Sandbox, SandboxCfg
from robot_rl.reward.written.syntax import CandidateError, Written, check_source
from robot_rl.reward.written.vocabulary import METHODS, NUMPY

COLUMNS = {"gap_m": np.arange(300.0).reshape(100, 3), "other": np.ones((100, 1))}
ESCAPE = """
kinds = ().__class__.__base__.__subclasses__()
kind = [k for k in kinds if k.__name__ == '_wrap_close'][0]
world = kind.__init__.__globals__
built = world['__builtins__']
imported = built['__import__']
os = imported('os')
"""
"""How a function gets at everything, once the syntax check is out of its way."""


def written(body):
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return Written(source=f"def progress(gap_m):\n{lines}", arguments=("gap_m",))


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxCfg(cpu_s=1, wall_s=280, memory_bytes=200_000_000)) as sandbox:
        yield sandbox


def refusal(sandbox, body):
    with pytest.raises(CandidateError) as caught:
        sandbox.run(written(body), COLUMNS)
    return str(caught.value)


@pytest.fixture(scope="module")
def walled(sandbox):
    sandbox.start()
    if set(sandbox.walls) != set(WALLS):
        pytest.skip(f"this system lets only {sandbox.walls} stand")
    return sandbox


def test_progress_and_components_come_back(sandbox):
    body = "far = gap_m.max(axis=1)\nreturn far / 300, {'far': far, 'one': 1.0}"
    said = sandbox.run(written(body), COLUMNS)
    np.testing.assert_array_equal(said.progress, COLUMNS["gap_m"].max(1) / 300)
    assert list(said.components) == ["far", "one"]
    np.testing.assert_array_equal(said.components["one"], np.ones(100))


def test_many_states_pass_the_pipes(sandbox):
    columns = {"gap_m": np.random.default_rng(0).normal(size=(200_000, 3))}
    said = sandbox.run(written("return gap_m[:, 0] + gap_m[:, 2]"), columns)
    np.testing.assert_array_equal(said.progress, columns["gap_m"][:, [0, 2]].sum(1))


def test_one_process_serves_many_calls_and_functions(sandbox):
    first, second = written("return gap_m[:, 0]"), written("return gap_m[:, 1]")
    for function, column in ((first, 0), (first, 0), (second, 1), (first, 0)):
        said = sandbox.run(function, COLUMNS)
        np.testing.assert_array_equal(said.progress, COLUMNS["gap_m"][:, column])


def test_threads_take_turns(sandbox):
    found = {}

    def ask(column):
        found[column] = sandbox.run(written(f"return gap_m[:, {column}]"), COLUMNS).progress

    threads = [threading.Thread(target=ask, args=(k % 3,)) for k in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for column in range(3):
        np.testing.assert_array_equal(found[column], COLUMNS["gap_m"][:, column])


WRONG = {
    "return gap_m": "progress has shape (N, 3), but must have shape (N,)",
    "return 0.5": "progress has shape (), but must have shape (N,)",
    "return None": "progress has shape (), but must have shape (N,)",
    "return gap_m[:, 0] / 0": "progress is NaN or infinite at 100 of 100 states",
    "return gap_m[:, 0], {'part': np.log(gap_m[:, 0] - 1)}": "component 'part' is NaN",
    "return gap_m[:, 0], {'part': gap_m}": "component 'part' has shape (N, 3)",
    "return gap_m[:, 0], gap_m": "must return progress, or (progress, dict of components)",
    "return gap_m[:, 0], {}, 1": "too many values to unpack",
    "return 'text'": "could not convert string to float",
    "return gap_m[:, 7]": "index 7 is out of bounds",
    "return missing": "NameError: name 'missing' is not defined",
    "gap_m[0] = 5": "assignment destination is read-only",
    "return np.load": "has no attribute 'load'",
}


@pytest.mark.parametrize("body", WRONG)
def test_a_wrong_function_is_refused_with_its_reason(sandbox, body):
    assert WRONG[body] in refusal(sandbox, body)


def test_a_loop_is_ended_by_its_processor_time(sandbox):
    assert refusal(sandbox, "while True:\n    pass") == "more than 1 s of processor time"


def test_a_long_computation_in_one_step_is_ended_too(sandbox):
    assert refusal(sandbox, "return 3 ** (7 ** 10)") == "more than 1 s of processor time"


def test_who_sleeps_is_ended_by_the_clock():
    with Sandbox(SandboxCfg(wall_s=0.5)) as sandbox:
        assert "no answer within 0.5 s" in refusal(
            sandbox, ESCAPE + "imported('time').sleep(1000)"
        )


def test_memory_is_limited(sandbox):
    body = "x = gap_m[:, 0]\nreturn (x[:, None, None, None] * x[:, None, None] * x[:, None] * x)"
    assert "MemoryError: Unable to allocate" in refusal(sandbox, body)
    assert "MemoryError" in refusal(sandbox, "return [0] * 10 ** 11")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os._exit(3)", "the process ended by itself (exit code 3)"),
        ("imported('ctypes').string_at(0)", "the process"),
        ("built['SystemExit']\nraise built['SystemExit'](4)", "exit code 4"),
        ("os.write(3, b'0000')\nos.write(4, b'0000')\nos._exit(0)", ""),
    ],
)
def test_a_crash_is_a_refusal_and_the_next_function_runs(sandbox, body, words):
    assert words in refusal(sandbox, ESCAPE + body)
    assert sandbox.run(written("return gap_m[:, 0]"), COLUMNS).progress[1] == 3.0


def test_a_flood_instead_of_an_answer_is_refused(sandbox):
    flood = "[os.write(k, b'7' * 1000000) for k in built['range'](3, 9) if 1]\nreturn 1"
    assert refusal(sandbox, ESCAPE + flood)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return built['open']('/etc/passwd').read()", "Error"),
        ("built['open']('/tmp/robot-rl-was-here', 'w')", "Error"),
        ("os.stat('/etc')", "No such file"),
        ("os.stat('/proc/1')", "No such file"),
        ("os.mkdir('/here')", "Error"),
        ("os.chroot('/')", "Operation not permitted"),
        ("imported('socket').socket()", "Error"),
        ("os.fork()", "Resource temporarily unavailable"),
        ("os.posix_spawn('/bin/sh', ['sh'], {})", "Error"),
        ("os.setuid(0)", "Error"),
    ],
)
def test_what_breaks_out_of_python_finds_nothing(walled, body, words):
    assert words in refusal(walled, ESCAPE + body)
    assert not os.path.exists("/tmp/robot-rl-was-here")


def test_no_other_process_can_be_signalled(walled):
    assert "No such process" in refusal(walled, ESCAPE + f"os.kill({os.getpid()}, 9)")


def test_nothing_of_this_process_is_handed_on(walled, monkeypatch):
    monkeypatch.setenv("ROBOT_RL_SECRET", "42")
    with Sandbox() as fresh:
        body = ESCAPE + "return gap_m[:, 0] * 0 + ('ROBOT_RL_SECRET' in os.environ)"
        assert fresh.run(written(body), COLUMNS).progress.max() == 0.0
        body = ESCAPE + "return gap_m[:, 0] * 0 + os.getuid()"
        assert fresh.run(written(body), COLUMNS).progress[0] != 0.0


def test_limits_cannot_be_lifted(walled):
    body = "r = imported('resource')\nr.setrlimit(r.RLIMIT_AS, (r.RLIM_INFINITY,) * 2)"
    assert "Error" in refusal(walled, ESCAPE + body)


def test_a_closed_sandbox_leaves_no_process_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = Sandbox()
    sandbox.run(written("return gap_m[:, 0]"), COLUMNS)
    child = sandbox._child
    assert list(tmp_path.iterdir()) == []
    sandbox.close()
    sandbox.close()
    assert child.poll() is not None


@pytest.mark.parametrize("name", ["memory_bytes", "cpu_s", "wall_s"])
def test_limits_that_are_none_are_refused(name):
    with pytest.raises(ConfigError, match=f"sandbox: {name} is 0, but must be above 0"):
        SandboxCfg(**{name: 0})


@pytest.mark.skipif(sys.platform != "linux", reason="the walls are those of Linux")
def test_on_linux_every_wall_is_known_by_name(sandbox):
    sandbox.start()
    assert set(sandbox.walls) <= set(WALLS) and "limits" in sandbox.walls


def test_every_word_of_the_vocabulary_works_behind_the_walls():
    """numpy imports some of its parts at the first use, and behind the walls there are none."""
    calls = {
        "cross": "np.cross(gap_m, gap_m)[:, 0]",
        "where": "np.where(gap_m > 1, gap_m, 0.0)[:, 0]",
        "select": "np.select([gap_m > 1], [gap_m], default=0.0)[:, 0]",
        "linalg.norm": "np.linalg.norm(gap_m, axis=-1)",
        "stack": "np.stack([gap_m[:, 0], gap_m[:, 1]], axis=-1)[:, 0]",
        "concatenate": "np.concatenate([gap_m, gap_m], axis=-1)[:, 0]",
        "full_like": "np.full_like(gap_m, 1.0)[:, 0]",
        "array": "np.array(gap_m)[:, 0]",
        "asarray": "np.asarray(gap_m)[:, 0]",
        "clip": "np.clip(gap_m, 0, 1)[:, 0]",
        "squeeze": "np.squeeze(gap_m[:, :1], axis=-1)",
        "float64": "np.float64(1.0) * gap_m[:, 0]",
        "newaxis": "gap_m[:, 0, np.newaxis][:, 0]",
        "nan_to_num": "np.nan_to_num(gap_m, nan=0.0, posinf=1.0)[:, 0]",
    }
    pairs = "arctan2 fmax fmin heaviside hypot logical_and logical_or maximum minimum power"
    calls |= {name: f"np.{name}(gap_m, 0.5)[:, 0] * 1.0" for name in pairs.split()}
    ends = "all any max mean min prod std sum"
    calls |= {name: f"np.{name}(gap_m, axis=-1) * 1.0" for name in ends.split()}
    calls |= {name: f"np.{name} * 0.0 + gap_m[:, 0]" for name in ("pi",)}
    calls["inf"] = "np.minimum(gap_m[:, 0], np.inf)"
    for name in NUMPY - set(calls):
        calls[name] = f"np.{name}(gap_m)[:, 0] * 1.0"
    methods = [f"gap_m.{name}(axis=-1) * 1.0" for name in sorted(METHODS - {"clip", "round"})]
    methods += ["gap_m.clip(0, 1)[:, 0]", "gap_m.round(1)[:, 0]", "abs(gap_m)[:, 0] * float(1)"]
    columns = {"gap_m": np.full((5, 3), 0.5)}
    with Sandbox() as fresh:
        for call in [*(calls[name] for name in sorted(calls)), *methods]:
            source = f"def progress(gap_m):\n    return np.nan_to_num({call}, posinf=1.0)\n"
            checked = check_source(source, ["gap_m"])
            assert fresh.run(checked, columns).progress.shape == (5,), call


def test_a_forgotten_sandbox_ends_its_process():
    sandbox = Sandbox()
    sandbox.start()
    child = sandbox._child
    del sandbox
    gc.collect()
    assert child.returncode is not None


LIMITED = """
import os, socket
from robot_rl.reward.written import confined
confined._be_nobody()
confined._limit(1 << 34)
for attempt in (lambda: open("/etc/passwd"), socket.socket, os.fork):
    try:
        attempt()
        os._exit(7)  # what nothing has stopped
    except OSError:
        pass
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
def test_limits_alone_refuse_every_new_file_socket_and_process():
    """As in a container that allows no namespaces."""
    assert subprocess.run([sys.executable, "-c", LIMITED], check=False).returncode == 0
