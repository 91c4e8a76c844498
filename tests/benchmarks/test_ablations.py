"""The ablations are configurations that can be run, each for itself."""

import argparse
import importlib
from pathlib import Path

import pytest

ASKED = argparse.Namespace(method="ours", steps=None, episodes=100, seeds=2)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("bench_ablations")


def test_every_ablation_is_a_configuration_of_its_own(bench):
    runs = bench.specs(["peg", "fetch-push"], [*bench.CHANGES, *bench.DEMOS], ASKED)
    assert len({run.key for run in runs}) == len(runs)
    full = runs[0].learner()
    assert all(run.learner() != full for run in runs if run.task == "peg" and run.changes)


def test_the_full_method_is_the_run_of_the_learning_table(bench):
    ours = importlib.import_module("bench_learning").specs(["peg"], ["ours"], range(1))
    assert bench.specs(["peg"], ["full"], ASKED)[0].key == ours[0].key


def test_no_task_is_asked_for_more_demonstrations_than_it_has(bench):
    assert bench.specs(["fetch-push"], ["40 demos"], ASKED) == []
    assert len(bench.specs(["peg"], ["40 demos"], ASKED)) == 2
