"""`robot-rl train --undo.task`: there and back in the twin, and what it refuses."""

import shlex

import pytest

from robot_rl.apps import cli, train
from robot_rl.apps.report.attempts import cost_to
from robot_rl.apps.reset_free import UndoCfg, undo_task
from robot_rl.errors import ConfigError, UnknownNameError
from robot_rl.learn.record import RunRecord

SMALL = shlex.split(
    "--steps 400 --seed 1 --warmup-steps 300 --warmup-updates 2 --batch 8 --utd 0.05 "
    "--chunk-utd 0.05 --td3.width 8 --chooser.width 8 --refresh.steps 5 --eval-every 0 "
    "--checkpoint-every 200 --eval-episodes 1 --videos 0 --bc.steps 100 --bc.checks 1 "
    "--bc.members 2 --bc.width 32"
)


def test_it_practises_both_ways_on_one_scene(tmp_path, capsys):
    for task in ("push", "push-back"):
        where = ["--env", task, "--out", str(tmp_path / task), "--episodes", "2"]
        assert cli.main(["collect", *where]) == 0
    run = tmp_path / "run"
    ways = ["--demos", str(tmp_path / "push"), "--undo.task", "push-back"]
    ways += ["--undo.demos", str(tmp_path / "push-back"), "--undo.patience", "1"]
    asked = ["train", "--env", "push", *ways, "--out", str(run), *SMALL, "--resume"]
    assert cli.main(asked) == 0
    record, back = RunRecord.read(run), RunRecord.read(run / "back")
    assert record.state == back.state == "finished"
    assert {row["direction"] for row in record.attempts} == {"there", "back"}
    assert record.attempts[-1]["step"] >= 400 and record.attempts[-1]["resets"] >= 1
    assert len(record.episodes) + len(back.episodes) == len(record.attempts)
    assert "Without resets" in (run / "report.html").read_text()
    assert cost_to(record, 0.0) is not None and cost_to(record, 1.1) is None
    assert cli.main(asked) == 0  # nothing left to do


def test_what_cannot_be_undone_is_refused():
    with pytest.raises(ConfigError, match="give both, or neither"):
        UndoCfg(task="push-back")
    with pytest.raises(UnknownNameError, match="push-bak"):
        undo_task("push-bak", "push")
    with pytest.raises(ConfigError, match="cannot be learned without resets"):
        undo_task("push-back", "gym:Pendulum-v1")
    undo = UndoCfg(task="push-back", demos="demos")
    with pytest.raises(ConfigError, match="is of a method with a base"):
        train.Cfg(env="push", undo=undo)
    with pytest.raises(ConfigError, match="is of a method with a base"):
        train.Cfg(env="push", demos="demos", undo=undo, engine="split")
