"""Acting and learning in two processes, through the command line: it learns, whoever is killed."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_rl.apps import cli, learner, train
from robot_rl.apps.learner import LearnerLostError, LearnerProcess
from robot_rl.errors import ConfigError
from robot_rl.learn.jsonl import read_lines
from robot_rl.learn.record import RunRecord
from robot_rl.learn.split import SplitFolder
from robot_rl.learn.weights import newest_weights
from robot_rl.policy.saved import load_policy
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.store_lock import StoreLock
from robot_rl.replay.verify import verify_episode

SMALL = shlex.split(
    "--engine split --steps 240 --seed 3 --warmup-steps 80 --warmup-updates 10 --batch 16 "
    "--td3.width 16 --chooser.width 16 --refresh.steps 10 --refresh-every 100 --eval-every 100 "
    "--checkpoint-every 40 --eval-episodes 3 --videos 0 --resume"
)
TIMEOUT_S = 60.0


@pytest.fixture
def command(tiny, tiny_demos, tiny_base, tmp_path, monkeypatch):
    """`command(*more)`: the arguments of a small split run in `tmp_path/run`."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    where = ["--env", tiny, "--demos", str(tiny_demos), "--base", str(tiny_base)]
    return lambda *more: ["train", *where, "--out", str(tmp_path / "run"), *SMALL, *more]


@pytest.fixture
def started(command):
    """`started(*more)`: the same as a process of its own, ended with the test."""
    processes = []

    def start(*more):
        process = subprocess.Popen(
            [sys.executable, "-m", "robot_rl", *command(*more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def until(is_true, process=None):
    """Poll until something holds."""
    end_s = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < end_s, "it did not come about"
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.01)


def learner_of(process) -> int | None:
    """The process id of its learner."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        if "learner" in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            return int(child)
    return None


def executed(folder) -> list[str]:
    """Ids of the sealed episodes of a run."""
    store = SplitFolder(folder).store
    return EpisodeStore.open(store).ids() if (store / "zarr.json").exists() else []


def is_whole(folder) -> None:
    """The run is finished, and its log says what its store holds."""
    record, store = RunRecord.read(folder), EpisodeStore.open(SplitFolder(folder).store)
    assert record.state == "finished"
    infos = store.infos()
    assert [info.id for info in infos] == store.ids()
    assert all(verify_episode(store, name) == [] for name in store.ids())
    trained = [i for i in infos if not {"evaluation", "salvaged"} & i.facts.keys()]
    assert [row["length"] for row in record.episodes] == [info.length for info in trained]
    assert [row["behaviour"] for row in record.episodes] == [
        info.facts["behaviour"] for info in trained
    ]
    assert [info.facts["episode"] for info in trained] == list(range(len(trained)))
    assert record.episodes[-1]["step"] >= 240
    assert [row["step"] for row in record.evals] == sorted({r["step"] for r in record.evals})
    assert record.evals[0]["policy"] == "base" and len(record.evals[-1]["successes"]) == 3
    versions = [row["version"] for row in record.episodes]
    assert versions == sorted(versions), "weights only get newer"
    assert load_policy(folder / "policy").chunk >= 1


def test_a_split_run_leaves_what_an_inline_one_does(command, tmp_path, capsys):
    assert cli.main(command()) == 0
    is_whole(tmp_path / "run")
    assert len({row["version"] for row in RunRecord.read(tmp_path / "run").episodes}) > 5
    first = capsys.readouterr().out
    before = executed(tmp_path / "run")
    assert cli.main(command()) == 0  # it is over: nothing is done again
    assert capsys.readouterr().out == first
    assert executed(tmp_path / "run") == before


def test_the_actor_goes_on_while_a_killed_learner_comes_back(started, tmp_path):
    run = tmp_path / "run"
    process = started("--max-lag", "None")
    until(lambda: len(read_lines(run / "episodes.jsonl")) > 2, process)
    killed = learner_of(process)
    os.kill(killed, signal.SIGKILL)
    count = len(executed(run))
    until(lambda: len(executed(run)) > count or process.poll() is not None)
    until(lambda: learner_of(process) not in (None, killed) or process.poll() is not None)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, out
    is_whole(run)


def test_a_killed_actor_goes_on_and_no_sealed_episode_is_lost(started, command, tmp_path):
    run = tmp_path / "run"
    for lines in (3, 8):
        process = started()
        until(lambda lines=lines: len(executed(run)) > 3 + lines, process)
        process.kill()
        process.wait()
        sealed = executed(run)
        assert RunRecord.read(run).state == "killed"
    assert cli.main(command()) == 0
    assert executed(run)[: len(sealed)] == sealed
    is_whole(run)


def test_a_learner_elsewhere_will_do(command, started, tmp_path):
    run = tmp_path / "run"
    process = started("--no-own-learner")
    until(lambda: SplitFolder(run).is_packed, process)
    assert newest_weights(SplitFolder(run).weights) is None
    assert subprocess.run([sys.executable, "-m", "robot_rl", "learner", str(run)]).returncode == 0
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, out
    is_whole(run)


def test_a_learner_that_keeps_ending_is_given_up_and_named(tmp_path):
    (tmp_path / "learner").mkdir()
    with LearnerProcess(SplitFolder(tmp_path)) as child:  # of a run that is none
        with pytest.raises(LearnerLostError, match="has ended 3 times with exit code 2"):
            for _ in range(10_000):
                child.tend(True)
                time.sleep(0.01)
        child.tend(False)  # who does not wait for it goes on
    assert "holds no run" in (tmp_path / "learner" / "learner.log").read_text()


def test_a_second_learner_waits_until_it_is_alone(tmp_path, capsys):
    folder, first = SplitFolder(tmp_path), StoreLock(tmp_path / "learner" / "lock")
    folder.learner.mkdir()
    first.acquire()
    looks = iter([False, False, True])
    with learner._alone(folder, lambda: next(looks)) as is_alone:
        assert not is_alone, "it was asked to stop before"
    assert capsys.readouterr().err.count("waiting, for there is a learner") == 1
    first.release()
    with learner._alone(folder, lambda: False) as is_alone:
        assert is_alone


def test_what_cannot_be_split_is_refused(tmp_path, capsys):
    assert cli.main(["learner", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="max_lag is -1, but must be at least 0"):
        train.Cfg(env="peg", max_lag=-1)
    with pytest.raises(ConfigError, match="nice 40, but must be"):
        learner.Cfg(run=tmp_path, nice=40)
