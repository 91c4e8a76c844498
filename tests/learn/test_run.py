"""A run's folder: refuses to mix runs, loses no line, and resumes to the same bytes."""

import contextlib
import itertools
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.checkpoint import load_latest, save_checkpoint
from robot_rl.learn.jsonl import JsonLines, read_lines
from robot_rl.learn.record import RunRecord
from robot_rl.learn.run import RunFolder

CONFIG = {"env": "peg", "seed": 0, "learn": {"scale": 0.2}}
EXACT_LOGS = ("metrics.jsonl", "evals.jsonl", "episodes.jsonl")


def work(run, first, last):
    """What a learner logs in steps first..last-1."""
    for step in range(first, last):
        run.log(step, {"q": step / 7, "td": 1.0 / (step + 1)})
        run.log_episode(step, {"episode": step, "success": step % 3 == 0, "length": 10})
        if step % 4 == 0:
            run.log_eval(step, "residual", [1, 2], [True, False], [5, 6])


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG, command=["robot-rl", "train", "--seed", "0"])
    work(run, 0, 9)
    run.finish({"final": 0.9})
    record = RunRecord.read(tmp_path / "a")
    assert record.config == CONFIG
    assert record.about["command"] == "robot-rl train --seed 0"
    assert {"hash", "git", "versions", "calibration"} <= set(record.about)
    assert record.state == "finished"
    assert record.status["summary"] == {"final": 0.9}
    assert record.step == 8
    assert len(record.metrics) == len(record.episodes) == 9
    assert record.evals[-1] == {
        "step": 8,
        "policy": "residual",
        "seeds": [1, 2],
        "successes": [True, False],
        "lengths": [5, 6],
    }
    assert list((tmp_path / "a" / "tb").glob("events.*"))
    assert record.clock[-1]["cpu_s"] >= 0


def test_what_is_done_off_the_clock_costs_nothing(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG)
    with run.off_the_clock():
        before_s = time.process_time()
        while time.process_time() < before_s + 0.2:
            pass
    run.log_eval(10, "base", [], [], [])
    run.finish()
    (row,) = RunRecord.read(tmp_path / "a").clock
    assert row["step"] == 10 and row["cpu_s"] < 0.1


def test_a_folder_with_another_configuration_is_refused_by_what_differs(tmp_path):
    RunFolder.create(tmp_path / "a", CONFIG)
    with pytest.raises(ConfigError) as error:
        RunFolder.create(tmp_path / "a", CONFIG | {"seed": 1}, resume=True)
    assert "another configuration: seed: 0 -> 1." in str(error.value)
    assert "another name" in str(error.value)


def test_a_folder_with_the_same_run_needs_resume(tmp_path):
    RunFolder.create(tmp_path / "a", CONFIG)
    with pytest.raises(ConfigError, match="Go on with it by --resume"):
        RunFolder.create(tmp_path / "a", CONFIG)
    RunFolder.create(tmp_path / "a", CONFIG, resume=True)


@pytest.mark.parametrize("killed_at", [6, 7, 11])
def test_logs_of_a_resumed_run_equal_those_of_an_uninterrupted_one(tmp_path, killed_at):
    whole = RunFolder.create(tmp_path / "whole", CONFIG)
    work(whole, 0, 12)
    whole.finish()

    killed = RunFolder.create(tmp_path / "cut", CONFIG)
    work(killed, 0, 6)
    save_checkpoint(killed, 6, tensors={}, arrays={}, state={})
    work(killed, 6, killed_at)
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "q"')  # killed within a line
    resumed = RunFolder.create(tmp_path / "cut", CONFIG, resume=True)
    checkpoint = load_latest(resumed)
    assert checkpoint is not None
    resumed.rewind(checkpoint)
    work(resumed, checkpoint.step, 12)
    resumed.finish()

    for name in EXACT_LOGS:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    clock = RunRecord.read(tmp_path / "cut").clock
    assert all(a["cpu_s"] <= b["cpu_s"] for a, b in itertools.pairwise(clock))


def test_a_run_without_checkpoint_rewinds_to_the_start(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG)
    work(run, 0, 5)
    run.rewind(None)
    work(run, 0, 2)
    assert [row["step"] for row in RunRecord.read(tmp_path / "a").metrics] == [0, 1]


@given(st.integers(min_value=0))
def test_a_log_cut_at_any_byte_keeps_all_whole_lines_and_goes_on(tmp_path_factory, size):
    path = tmp_path_factory.mktemp("log") / "x.jsonl"
    log = JsonLines(path)
    for i in range(5):
        log.append({"i": i})
    size %= path.stat().st_size + 1
    whole = path.read_bytes()[:size].count(b"\n")
    os.truncate(path, size)
    JsonLines(path).append({"i": "next"})
    rows = [row["i"] for row in read_lines(path)]
    assert rows == [*range(whole), "next"]


def test_a_number_that_json_does_not_know_is_kept_as_missing(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG)
    run.log(1, {"q": float("nan"), "td": float("inf")})
    assert RunRecord.read(tmp_path / "a").metrics == [{"step": 1, "q": None, "td": None}]


def test_an_evaluation_with_missing_outcomes_is_refused(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG)
    with pytest.raises(DataError, match="2 seeds, 1 successes, 1 lengths"):
        run.log_eval(0, "base", [1, 2], [True], [3])


def test_a_run_whose_process_has_gone_reads_as_killed(tmp_path):
    RunFolder.create(tmp_path / "a", CONFIG)
    assert RunRecord.read(tmp_path / "a").state == "running"
    file = tmp_path / "a" / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": 2**22 + 1}))
    assert RunRecord.read(tmp_path / "a").state == "killed"


def test_a_failed_run_says_why(tmp_path):
    run = RunFolder.create(tmp_path / "a", CONFIG)
    run.stop("failed", "the policy produced NaN")
    record = RunRecord.read(tmp_path / "a")
    assert (record.state, record.status["reason"]) == ("failed", "the policy produced NaN")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "finished", None),
        (KeyboardInterrupt(), "interrupted", "stopped by the user"),
        (DataError("the store is empty"), "failed", "the store is empty"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
    ],
)
def test_however_a_run_ends_its_status_is_true(tmp_path, error, state, reason):
    expected = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with expected, RunFolder.create(tmp_path / "a", CONFIG) as run:
        work(run, 0, 2)
        if error:
            raise error
    record = RunRecord.read(tmp_path / "a")
    assert (record.state, record.status.get("reason")) == (state, reason)


def test_a_summary_given_before_the_end_is_kept(tmp_path):
    with RunFolder.create(tmp_path / "a", CONFIG) as run:
        run.finish({"final": 1.0})
    assert RunRecord.read(tmp_path / "a").status["summary"] == {"final": 1.0}


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        RunRecord.read(tmp_path)
