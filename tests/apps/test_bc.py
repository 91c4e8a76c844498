"""A base is cloned, chosen on selection seeds, saved once, and never from data that do not fit."""

import re
import shlex

import pytest

from robot_rl.apps import bc, cli
from robot_rl.apps.envs import eval_seeds
from robot_rl.learn.record import RunRecord
from robot_rl.policy.saved import load_policy

SMALL = shlex.split("--steps 20 --checks 2 --width 16 --chunk 4 --selection-episodes 3")


def asked(tiny, demos, out, *more):
    return ["bc", "--env", tiny, "--demos", str(demos), "--out", str(out), *SMALL, *more]


@pytest.mark.parametrize("more", [(), ("--kind", "flow"), ("--select", "error")])
def test_a_base_is_trained_measured_and_saved(more, tiny, tiny_demos, tmp_path, capsys):
    out = tmp_path / "base"
    assert cli.main(asked(tiny, tiny_demos, out, "--members", "2", *more)) == 0
    said = capsys.readouterr().out
    assert re.search(r"base: success 0\.\d\d \(0\.\d\d to \d\.\d\d\), \d of 3 episodes", said)
    assert load_policy(out / "policy").chunk == 4
    record = RunRecord.read(out)
    assert record.state == "finished"
    assert record.evals[-1]["seeds"] == [600_000, 600_001, 600_002]
    assert cli.main(["eval", str(out), "--episodes", "2"]) == 0  # the run knows its environment


def test_a_base_that_is_there_is_not_trained_over(tiny, tiny_demos, tmp_path, capsys):
    out = tmp_path / "base"
    assert cli.main(asked(tiny, tiny_demos, out)) == 0
    before = (out / "policy" / "policy.json").read_bytes()
    assert cli.main(asked(tiny, tiny_demos, out)) == 2
    assert "holds a base already. Give another --out." in capsys.readouterr().err
    assert (out / "policy" / "policy.json").read_bytes() == before


def test_a_training_that_was_cut_short_starts_over(tiny, tiny_demos, tmp_path, monkeypatch):
    out = tmp_path / "base"

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bc, "save_policy", interrupt)
        assert cli.main(asked(tiny, tiny_demos, out)) == 130
    assert RunRecord.read(out).state == "interrupted"
    assert cli.main(asked(tiny, tiny_demos, out)) == 0
    assert len(RunRecord.read(out).evals) == 1


def test_a_corrupt_store_is_refused_and_left_as_it_is(tiny, tiny_demos, tmp_path, capsys):
    folder = tiny_demos / "episodes" / "ep_000002"
    chunk = max(folder.rglob("c.*"), key=lambda f: f.stat().st_size)
    data = chunk.read_bytes()
    chunk.write_bytes(data[: len(data) // 2])
    assert cli.main(asked(tiny, tiny_demos, tmp_path / "base")) == 2
    assert "ep_000002" in capsys.readouterr().err
    assert chunk.read_bytes() == data[: len(data) // 2]
    (tiny_demos / "zarr.json").write_text("{")
    assert cli.main(asked(tiny, tiny_demos, tmp_path / "base")) == 2
    assert "is no episode store" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


def test_demonstrations_of_another_environment_are_refused(tiny_demos, tmp_path, capsys):
    assert cli.main(asked("gym:Pendulum-v1", tiny_demos, tmp_path / "base")) == 2
    assert "but the environment's are (3,) and (1,)" in capsys.readouterr().err


def test_selection_seeds_are_never_evaluation_seeds(tiny):
    for name in (tiny, "peg"):
        assert not set(bc.SELECTION_SEEDS) & set(eval_seeds(name))
