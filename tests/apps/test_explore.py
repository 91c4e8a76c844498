import json

import pytest

from robot_rl.apps import cli
from robot_rl.apps.explore import main
from sim.identify.posterior import Posterior

FIT = {"starts": 1, "candidates": 0, "iterations": 2, "step": 0.1}
QUICK = tuple(str(word) for key, value in FIT.items() for word in (f"--fit.{key}", value))
SMALL = ("--plan.draws", "1", "--plan.search.candidates", "2", "--plan.search.elites", "2")


def says(capsys, *args):
    """Exit code and all that was printed."""
    code = main([str(arg) for arg in args])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def test_a_plan_becomes_a_trial_and_a_trial_a_posterior(tmp_path, capsys):
    plan, trial, out = (tmp_path / name for name in ("plan.json", "trial.npz", "posterior.json"))
    code, said = says(
        capsys, "plan", "slide", "--out", plan, *SMALL, "--plan.search.iterations", 1
    )
    assert code == 0 and "speed_m_s" in said and "Next: robot-rl explore run" in said
    assert json.loads(plan.read_text())["objective"] == "a-optimal"
    code, said = says(capsys, "run", plan, "--out", trial, "--twin", "2")
    assert code == 0 and "actions on 'slide'" in said
    code, said = says(capsys, "fit", trial, "--out", out, *QUICK)
    assert code == 0 and "puck.friction" in said and "chi2" in said
    assert Posterior.load(out).parameters.names == ("puck.friction",)


def test_what_is_no_plan_is_refused(tmp_path, capsys):
    path = tmp_path / "plan.json"
    code, said = says(capsys, "run", path, "--out", tmp_path / "t.npz")
    assert code == 2 and "is no plan that can be read" in said
    path.write_text("{}")
    code, said = says(capsys, "run", path, "--out", tmp_path / "t.npz")
    assert code == 2 and "Make one: robot-rl explore plan" in said


def test_an_unknown_world_is_refused_by_name(tmp_path, capsys):
    code, said = says(capsys, "plan", "puck", "--out", tmp_path / "plan.json")
    assert code == 2 and "unknown probe 'puck'. Available: drawer" in said


def test_explore_is_a_verb():
    assert "explore" in cli.available_verbs()
    with pytest.raises(SystemExit):
        cli.main(["explore", "--help"])
