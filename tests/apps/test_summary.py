"""Headline figures follow from the logs alone."""

import pytest

from robot_rl.apps.summary import curves, deployed_curve, environment_of, summarize
from robot_rl.learn.record import RunRecord
from robot_rl.learn.run import RunFolder
from robot_rl.learn.statistics import wilson


def record(path, base, rates, outcomes=(), policy="residual"):
    """A run with 100-episode evaluations each 1000 steps."""
    run = RunFolder.create(path, {"env": "peg"})
    seeds = range(100)

    def evaluate(step, name, rate):
        run.log_eval(step, name, seeds, [s < round(rate * 100) for s in seeds], [50] * 100)

    if base is not None:
        evaluate(0, "base", base)
    for i, rate in enumerate(rates):
        evaluate(1000 * (i + 1), policy, rate)
    for i, good in enumerate(outcomes):
        run.log_episode(10 * i, {"episode": i, "success": good, "length": 10})
    run.finish()
    return RunRecord.read(path)


def test_the_figures_of_a_run(tmp_path):
    outcomes = [False] * 30 + [True] * 20 + [True] * 100
    summary = summarize(record(tmp_path / "a", 0.48, [0.45, 0.82, 0.96, 0.98], outcomes))
    assert summary.headline() == "base 0.48 -> residual 0.98 in 4000 steps"
    assert (summary.steps_to_80, summary.steps_to_95) == (2000, 3000)
    assert summary.worst_eval_dip == pytest.approx(0.03)
    assert summary.worst_executed_dip == pytest.approx(0.08)  # 20 of the first 50
    assert summary.area == pytest.approx((0.465 + 0.635 + 0.89 + 0.97) / 4)
    assert summary.final_step == 4000
    assert summary.cpu_s_per_1k_steps is not None and summary.cpu_s_per_1k_steps >= 0


def test_a_run_without_base_evaluation_or_episodes_says_what_is_not_known(tmp_path):
    summary = summarize(record(tmp_path / "a", None, [0.5]))
    assert summary.headline() == "no base -> residual 0.50 in 1000 steps"
    assert summary.worst_eval_dip is None and summary.worst_executed_dip is None
    assert summary.steps_to_80 is None


def test_a_run_that_has_just_begun_has_no_figures(tmp_path):
    summary = summarize(record(tmp_path / "a", None, []))
    assert summary.headline() == "no base -> not evaluated in 0 steps"


def test_a_base_alone_is_its_own_result(tmp_path):
    summary = summarize(record(tmp_path / "a", 0.4, []))
    assert (summary.policy, summary.final) == ("base", summary.base)


def test_the_curve_is_of_whoever_was_deployed_at_each_step(tmp_path):
    run = RunFolder.create(tmp_path / "a", {})
    for step, policy, good in (
        (0, "base", False),
        (1000, "base", False),
        (2000, "base", True),
        (2000, "imitation", False),
        (3000, "residual", True),
        (3000, "imitation", False),
        (3000, "base", True),
    ):
        run.log_eval(step, policy, range(10), [good] * 10, [5] * 10)
    run.finish()
    record = RunRecord.read(tmp_path / "a")
    assert [p.policy for p in deployed_curve(record)] == ["base", "base", "imitation", "residual"]
    summary = summarize(record)
    assert summary.headline() == "base 0.00 -> residual 1.00 in 3000 steps"
    assert summary.base == wilson(0, 10)  # its repetitions add nothing


def test_any_other_name_counts_as_the_policy_of_the_run(tmp_path):
    assert summarize(record(tmp_path / "a", 0.4, [0.5], policy="rlpd")).policy == "rlpd"


def test_evaluations_at_one_step_are_pooled(tmp_path):
    run = RunFolder.create(tmp_path / "a", {})
    run.log_eval(5, "residual", [1, 2], [True, False], [3, 5])
    run.log_eval(5, "residual", [3], [False], [7])
    run.finish()
    (point,) = curves(RunRecord.read(tmp_path / "a"))["residual"]
    assert (point.successes, point.trials, point.failed_seeds) == (1, 3, (2, 3))
    assert point.mean_length == 5


def test_the_environment_is_found_wherever_the_configuration_keeps_it():
    assert environment_of({"env": "peg"}) == "peg"
    assert environment_of({"train": {"task": {"name": "drawer"}}}) == "drawer"
    assert environment_of({"seed": 1}) == ""
