"""`robot-rl record` in a real terminal over the twin, into a real store; and killed in between."""

import importlib.util
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import urllib.request

import numpy as np
import pytest

from robot_rl.apps import cli
from robot_rl.apps.envs import make_env
from robot_rl.apps.live_view import LiveView
from robot_rl.apps.record_screen import RecordScreen, Shown
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import CONTROL_SOURCES
from robot_rl.teleop.session import Session

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("pip install 'robot-rl[sim]'", allow_module_level=True)
DEADLINE_S = 40.0


class Operator:
    """A person at a terminal in which `robot-rl record` runs."""

    def __init__(self, out, *options):
        self.out = out
        self.line, program = pty.openpty()
        self._name = os.ttyname(program)
        self.before = termios.tcgetattr(program)[:4]
        # The terminal is its own: Ctrl-C and a hang-up are what they are for a person, also where
        # the tests run in the background of a shell, which has them ignore Ctrl-C.
        command = [
            "env",
            "--default-signal=INT",
            "setsid",
            "--ctty",
            sys.executable,
            "-m",
            "robot_rl",
            "record",
            "--env",
            "reach",
            "--out",
            str(out),
        ]
        env = os.environ | {
            "COLUMNS": "100",
            "LINES": "50",
            "TERM": "xterm",
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [*command, *options],
            stdin=program,
            stdout=program,
            stderr=program,
            env=env,
        )
        os.close(program)
        self.seen = ""

    def type(self, keys):
        os.write(self.line, keys.encode())

    def look(self):
        """What has been shown; reading also keeps the program from waiting for the terminal."""
        import select

        while select.select([self.line], [], [], 0.02)[0]:
            try:
                self.seen += os.read(self.line, 65536).decode(errors="replace")
            except OSError:
                break
        return self.seen

    def wait_for(self, condition, what, keys=""):
        """Wait, pressing `keys` again and again as a person would who holds them."""
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            self.look()
            assert time.monotonic() < end_s, (
                f"not within {DEADLINE_S} s: {what}\n{self.seen[-3000:]}"
            )
            assert self.process.poll() is None, f"ended before {what}\n{self.seen[-3000:]}"
            if keys:
                self.type(keys)

    def shows(self, words):
        mark = len(self.seen)
        self.wait_for(lambda: words in self.seen[mark:] or words in self.look()[mark:], words)

    def sealed(self):
        folder = self.out / "episodes"
        return sorted(path.name for path in folder.glob("ep_*"))

    def end(self):
        end_s = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < end_s:
            self.look()
        assert self.process.poll() is not None, f"did not end\n{self.seen[-3000:]}"
        return self.process.returncode

    def is_restored(self):
        program = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            return termios.tcgetattr(program)[:4] == self.before
        finally:
            os.close(program)

    def leave(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self.line)


@pytest.fixture
def sits_down(tmp_path):
    operators = []

    def sit(*options):
        operators.append(Operator(tmp_path / "reach.zarr", *options))
        return operators[-1]

    yield sit
    for operator in operators:
        operator.leave()


QUICK = ("--countdown-s", "0", "--reset-s", "0.5", "--gate.max-late-share", "1")


def test_a_person_records_by_keyboard_in_a_terminal(sits_down):
    operator = sits_down("--episodes", "1", "--operator", "anna", *QUICK)
    operator.shows("IDLE")
    assert "start" in operator.seen and "forward" in operator.seen, "the keymap is on the screen"
    operator.type("\n")
    operator.shows("RECORDING")
    mark = time.monotonic() + 1.0
    operator.wait_for(lambda: time.monotonic() > mark, "a moment of steering", keys="w")
    operator.type("y")
    assert operator.end() == 0
    assert "1 successes and 0 failures recorded" in operator.look()
    assert operator.is_restored()
    with EpisodeStore.open(operator.out) as store:
        (info,) = store.infos()
        episode = store.read(info.id)
    assert (info.outcome, info.label_source) == ("success", "human")
    assert episode.attrs["operator"] == "anna" and episode.attrs["teleop"] == "keyboard"
    assert (episode.control_source == CONTROL_SOURCES.index("human")).all()
    assert episode.executed[:, 0].max() > 0.9 and np.abs(episode.executed[:, 1:]).max() < 0.1


def test_kill_9_while_recording_loses_no_sealed_episode(sits_down):
    operator = sits_down("--device", "scripted", "--episodes", "100")
    operator.wait_for(lambda: len(operator.sealed()) >= 2, "two sealed episodes")
    operator.process.kill()
    operator.process.wait(10)
    sealed = operator.sealed()

    def is_free():
        try:
            EpisodeStore.open(operator.out, mode="a").close()
        except cli.RobotRLError:
            return False
        return True

    end_s = time.monotonic() + DEADLINE_S
    while not is_free():
        assert time.monotonic() < end_s, "the writer never let the store go"
        time.sleep(0.05)
    assert cli.main(["data", "verify", str(operator.out)]) == 0
    with EpisodeStore.open(operator.out) as store:
        assert set(sealed) <= set(store.ids())
        assert all(store.read(name).success for name in sealed)
    end_s = time.monotonic() + DEADLINE_S
    while not operator.is_restored():
        assert time.monotonic() < end_s, "the terminal was left without echo"
        time.sleep(0.05)


@pytest.mark.parametrize("ending", [signal.SIGTERM, "\x03", "q"])
def test_ending_in_the_middle_trashes_what_is_open_and_restores_the_terminal(sits_down, ending):
    operator = sits_down(*QUICK)
    operator.shows("IDLE")
    operator.type("\n")
    operator.shows("RECORDING")
    operator.shows("steps")
    if isinstance(ending, str):
        operator.type(ending)
    else:
        operator.process.send_signal(ending)
    assert operator.end() in (1, 130, 143)
    assert operator.is_restored()
    with EpisodeStore.open(operator.out) as store:
        assert store.ids() == store.partials() == []


@pytest.fixture
def no_terminal(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


def recorded(out, *options):
    words = ["record", "--env", "reach", "--device", "scripted", "--out", str(out), *options]
    return cli.main(words)


def test_a_script_records_unattended_and_goes_on_where_it_stopped(tmp_path, capfd, no_terminal):
    out = tmp_path / "reach.zarr"
    assert recorded(out, "--episodes", "2") == 0
    shown = capfd.readouterr()
    assert "2 successes and 0 failures recorded" in shown.out
    assert "recording: 1 of 2" in shown.err and "done: 2 of 2" in shown.err
    assert recorded(out) == 2
    assert "exists already. Add to it by --append" in capfd.readouterr().err
    assert recorded(out, "--episodes", "1", "--append") == 0
    with EpisodeStore.open(out) as store:
        seeds = [info.facts["seed"] for info in store.infos()]
        episode = next(iter(store))
    assert seeds == [700_000, 700_001, 700_002]
    assert (episode.control_source == CONTROL_SOURCES.index("scripted")).all()


def test_a_recorded_episode_replays_to_the_same_end(tmp_path, no_terminal):
    """What is stored is what was done: its actions lead the twin to the same observations."""
    assert recorded(tmp_path / "reach.zarr", "--episodes", "1") == 0
    with EpisodeStore.open(tmp_path / "reach.zarr") as store:
        episode = next(iter(store))
    env = make_env("reach")
    obs, _ = env.reset(seed=episode.attrs["seed"])
    for k, action in enumerate(episode.requested):
        np.testing.assert_allclose(obs, episode.obs["state"][k], atol=1e-6)
        obs, _, terminated, _, _ = env.step(action)
    np.testing.assert_allclose(obs, episode.obs["state"][-1], atol=1e-6)
    assert terminated and episode.success
    env.close()


def test_corrections_of_a_policy_are_told_apart(sits_down, tiny_reach_policy):
    operator = sits_down("--policy", str(tiny_reach_policy), "--episodes", "1", *QUICK)
    operator.shows("IDLE")
    operator.type("\n")
    operator.shows("policy drives")
    operator.type(" ")
    operator.shows("human drives")
    operator.type("n")
    operator.shows("1 failed")
    operator.type("q")
    assert operator.end() == 1
    with EpisodeStore.open(operator.out) as store:
        episode = next(iter(store))
    words = {CONTROL_SOURCES[k] for k in episode.control_source}
    assert words == {"policy", "blend", "human"}
    assert episode.base is not None and not episode.success


@pytest.fixture
def tiny_reach_policy(tmp_path):
    """A policy that hardly moves, trained on next to nothing."""
    from robot_rl.apps.envs import load_demos
    from robot_rl.learn.bc import BCCfg, fit
    from robot_rl.policy.saved import save_policy

    assert (
        cli.main(["collect", "--env", "reach", "--out", str(tmp_path / "d"), "--episodes", "1"])
        == 0
    )
    cfg = BCCfg(steps=2, checks=1, members=2, width=8, chunk=4)
    return save_policy(fit(cfg, load_demos(tmp_path / "d", "reach"), seed=0), tmp_path / "base")


def test_what_cannot_be_recorded_says_why_and_leaves_nothing(tmp_path, capsys, tiny, no_terminal):
    cases = {
        ("--env", "pge"): "unknown task 'pge'",
        ("--env", tiny): "has no robot to steer",
        ("--env", "reach"): "the keyboard needs a terminal",
        ("--env", "reach", "--device", "spacemouse"): "no SpaceMouse is there",
    }
    for options, words in cases.items():
        assert cli.main(["record", *options, "--out", str(tmp_path / "x")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


def test_the_help_tells_devices_and_defaults(capsys):
    with pytest.raises(SystemExit):
        cli.main(["record", "--help"])
    shown = capsys.readouterr().out
    for words in ("keyboard,gamepad,spacemouse,scripted", "--episodes", "--append", "--view"):
        assert words in shown


def test_the_scene_can_be_watched_in_a_browser():
    env = make_env("reach")
    env.reset(seed=0)
    with LiveView(env, 0) as view:
        view.show()
        with urllib.request.urlopen(view.url, timeout=20) as page:
            assert b"/stream" in page.read()
        with urllib.request.urlopen(view.url + "/stream", timeout=20) as stream:
            assert "multipart/x-mixed-replace" in stream.headers["Content-Type"]
            head = stream.read(200)
    assert b"image/jpeg" in head and b"\xff\xd8" in head
    env.close()


def test_stale_streams_are_red(capsys):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    shown = Shown(status=Session().status(0.0), ages_s={"wrist": 0.5}, max_age_s=0.2)
    with RecordScreen("keyboard", title="t", stream=stream) as screen:
        screen.update(shown)
    assert "wrist 500 ms" in stream.getvalue() and "press start" in stream.getvalue()
