"""Pretraining by its command: what it leaves, that a kill costs nothing, what it refuses."""

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from robot_rl.apps import cli, train
from robot_rl.apps.twins import make_twin
from robot_rl.errors import ConfigError, DataError, UnknownNameError
from robot_rl.learn.record import RunRecord

PRE = shlex.split(
    "--seed 3 --batch 16 --td3.width 16 --chooser.width 16 --refresh.steps 10 --utd 0.25 "
    "--offline-updates 1200 --calql.actions 1 --warmup-steps 60 --eval-episodes 2 --bc.steps 20 "
    "--bc.checks 1 --bc.members 2 --bc.width 16 --bc.chunk 4"
)


def asked(tiny, demos, out, *more):
    where = ["--env", tiny, "--demos", str(demos), "--twin", "none", "--out", str(out)]
    return ["pretrain", *where, *PRE, *more]


def onwards(tiny, source, out, *more):
    from test_train import SMALL  # pyright: ignore

    return ["train", "--env", tiny, "--from", str(source), "--out", str(out), *SMALL, *more]


@pytest.fixture
def done(tiny, tiny_demos, tmp_path):
    assert cli.main(asked(tiny, tiny_demos, tmp_path / "pre")) == 0
    return tmp_path / "pre"


def test_it_leaves_what_training_starts_from_and_says_what_it_saw(
    done, tiny, tiny_demos, tmp_path, capsys
):
    assert cli.main(onwards(tiny, done, tmp_path / "run", "--warmup-steps", "1")) == 0
    record = RunRecord.read(tmp_path / "run")
    assert record.config["from"] == str(done)
    assert [row["behaviour"] for row in record.episodes].count("base") < len(record.episodes)
    page = (done / "report.html").read_text()
    assert "Learning from data alone" in page and "1,200 updates" in page
    kept = {f: f.read_bytes() for f in done.glob("*.jsonl")}
    assert cli.main([*asked(tiny, tiny_demos, done), "--resume"]) == 0  # it is done already
    assert all(f.read_bytes() == data for f, data in kept.items())
    again = onwards(tiny, done, tmp_path / "run", "--warmup-steps", "1", "--resume")
    assert cli.main(again) == 0  # nothing left to do


def test_another_process_learns_on_from_it_too(done, tiny, tmp_path, monkeypatch, capsys):
    from test_train import error_of  # pyright: ignore

    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)  # for the learner
    split = ("--engine", "split", "--warmup-steps", "1", "--max-lag", "0")
    wrong = onwards(tiny, done, tmp_path / "wrong", *split, "--td3.width", "24")
    assert "does not fit this learner" in error_of(wrong, capsys)
    run = tmp_path / "run"
    assert cli.main(onwards(tiny, done, run, *split)) == 0
    record = RunRecord.read(run)
    assert record.state == "finished" and record.config["from"] == str(done)
    assert [row["behaviour"] for row in record.episodes].count("base") < len(record.episodes)
    assert "prior.state" in load_file(max((run / "checkpoints").iterdir()) / "arrays.safetensors")


def test_a_killed_pretraining_goes_on_to_the_bit_identical_end(done, tiny, tiny_demos, tmp_path):
    from test_train import killed_after  # pyright: ignore

    cut = tmp_path / "cut"
    arguments = asked(tiny, tiny_demos, cut, "--resume")
    killed_after(arguments, cut / "offline.jsonl", 6)
    assert RunRecord.read(cut).state == "killed"
    error = onwards(tiny, cut, tmp_path / "early")
    assert cli.main(error) == 2  # half a pretraining is none
    assert cli.main(arguments) == 0
    assert (cut / "offline.jsonl").read_bytes() == (done / "offline.jsonl").read_bytes()
    last = [max((run / "checkpoints").iterdir()) for run in (cut, done)]
    for file in ("tensors.safetensors", "arrays.safetensors"):
        ours, theirs = (load_file(folder / file) for folder in last)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_data_with_failures_is_taken_in(tiny, tiny_demos, tmp_path):
    out = tmp_path / "pre"
    more = ("--data", str(tiny_demos), "--offline-updates", "100")
    assert cli.main(asked(tiny, tiny_demos, out, *more)) == 0
    assert RunRecord.read(out).config["data"]["episodes"] == 5


def test_what_is_no_pretraining_of_this_task_is_refused(
    done, tiny, tiny_demos, tiny_base, tmp_path, capsys
):
    from test_train import error_of  # pyright: ignore

    def refused(source, *more, env=tiny):
        return error_of(onwards(env, source, tmp_path / "run", *more), capsys)

    assert "holds no run" in refused(tmp_path / "nowhere")
    other = refused(done, env=tiny.replace("Tiny-v0", "TinySick-v0"))
    assert "is a pretraining for" in other and "but this run is of" in other
    with pytest.raises(ConfigError, match="brings its own base"):
        train.Cfg(env=tiny, pretrained=done, base=tiny_base)
    with pytest.raises(ConfigError, match="uses no base"):
        train.Cfg(env=tiny, pretrained=done, method="rlpd")
    assert "does not fit this learner" in refused(done, "--td3.width", "24")
    arrays = max((done / "checkpoints").iterdir())
    (arrays / "arrays.safetensors").write_bytes(b"cut")
    for older in sorted((done / "checkpoints").iterdir())[:-1]:
        (older / "state.json").unlink()
    assert "none of the" in refused(done)


def test_a_twin_that_is_not_there_is_refused(tiny, tiny_demos, tmp_path, capsys):
    from test_train import error_of  # pyright: ignore

    out = tmp_path / "pre"
    said = error_of(asked(tiny, tiny_demos, out, "--twin", "nominal"), capsys)
    assert "no twins side by side" in said and not out.exists()
    with pytest.raises(ConfigError, match="twin is 'nowhere', but must be one of nominal"):
        make_twin("reach", "nowhere")
    with pytest.raises(UnknownNameError):
        make_twin("reech", "nominal")
    (tmp_path / "edited.json").write_text('{"format": 1}')
    with pytest.raises(DataError, match="holds no posterior"):
        make_twin("reach", str(tmp_path / "edited.json"))


@pytest.mark.parametrize("belief", ["nominal", "uniform", "forces"])
def test_a_task_is_pretrained_in_its_twins(belief, tmp_path):
    demos = tmp_path / "demos"
    assert cli.main(["collect", "--env", "reach", "--out", str(demos), "--episodes", "3"]) == 0
    out = tmp_path / "pre"
    few = ("--twin", belief, "--scenes", "3", "--steps", "150", "--offline-updates", "20")
    assert cli.main(asked("reach", demos, out, *few)) == 0
    record = RunRecord.read(out)
    assert record.state == "finished" and record.step >= 150
    assert record.evals[0]["policy"] == "base" and record.config["twin"] == belief
