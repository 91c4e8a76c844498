"""The command line: instant help, one clear line for each error, and the exit codes."""

import dataclasses
import subprocess
import sys
import time
import types

import pytest

from robot_rl.apps import cli
from robot_rl.errors import ConfigError

PROBE = """
import sys
from robot_rl.apps.cli import main
code = main(["--help"])
heavy = {"torch", "mujoco", "cv2", "gymnasium", "zarr", "tyro"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "robot_rl", *arguments], capture_output=True, text=True
    )


def test_help_lists_the_verbs_and_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in ("eval", "report", "compare"):
        assert f"  {verb} " in done.stdout


def test_help_answers_at_once():
    times_s = []
    for _ in range(5):
        start_s = time.monotonic()
        assert run("--help").returncode == 0
        times_s.append(time.monotonic() - start_s)
    assert min(times_s) <= 0.3


def test_no_verb_prints_help_and_an_unknown_one_names_the_known():
    assert run().stdout.startswith("usage: robot-rl <verb>")
    done = run("reprot")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown verb 'reprot'. Available: ")
    assert "Did you mean 'report'?" in done.stderr


@pytest.mark.parametrize("verb", list(cli.available_verbs()))
def test_each_verb_explains_its_options(verb):
    done = run(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert f"robot-rl {verb}" in done.stdout


def test_a_wrong_folder_is_one_line_and_exit_code_2(tmp_path):
    done = run("report", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} holds no run")
    assert len(done.stderr.strip().splitlines()) == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerbCfg:
    fail: str = ""
    """How to end."""


@pytest.fixture
def verb(monkeypatch):
    def main(cfg):
        if cfg.fail == "config":
            raise ConfigError("scale is -1, but must be positive.")
        if cfg.fail == "ctrl-c":
            raise KeyboardInterrupt
        return 0

    module = types.ModuleType("robot_rl.apps.report")
    module.Cfg, module.main = VerbCfg, main
    monkeypatch.setitem(sys.modules, "robot_rl.apps.report", module)
    monkeypatch.setattr(cli, "available_verbs", lambda: {"report": ""})


def test_exit_codes_tell_how_a_verb_ended(verb, capsys):
    assert cli.main(["report"]) == 0
    assert cli.main(["report", "--fail", "config"]) == 2
    assert capsys.readouterr().err == "error: scale is -1, but must be positive.\n"
    assert cli.main(["report", "--fail", "ctrl-c"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
