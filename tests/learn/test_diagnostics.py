"""The curves of offline learning are told for what they are."""

import numpy as np
import pytest

from robot_rl.learn.diagnostics import FEWEST_ROWS, diagnose


def rows(count=40, **curves):
    """A log of healthy updates, with some curves replaced."""
    time = np.linspace(0, 1, count)
    healthy = {
        "dataset_q": 0.5 * (1 - np.exp(-5 * time)),
        "policy_q": 0.45 * (1 - np.exp(-5 * time)),
        "td_error": 0.1 * np.exp(-4 * time) + 0.005,
        "regulariser": 0.2 * np.exp(-4 * time),
        "bound_rate": np.full(count, 0.2),
        "return": np.full(count, 0.5),
    } | curves
    return [
        {"update": 100 * (k + 1), **{name: float(curve[k]) for name, curve in healthy.items()}}
        for k in range(count)
    ]


def warnings(log):
    return [finding.title for finding in diagnose(log) if finding.mood == "warning"]


def test_healthy_curves_raise_no_warning():
    found = diagnose(rows())
    assert {finding.mood for finding in found} == {"good"}
    assert {f.title for f in found} == {"No overfitting", "No underfitting", "Calibrated"}


def test_values_that_rise_and_fall_are_overfitting_and_the_peak_is_named():
    time = np.linspace(0, 1, 40)
    log = rows(dataset_q=0.6 * np.exp(-((time - 0.4) ** 2) / 0.05) + 0.1)
    assert "Overfitting" in warnings(log)
    words = diagnose(log)[0].words
    peak = int(words.split("at update ")[1].split(" ")[0].replace(",", ""))
    assert 1_400 <= peak <= 2_200 and f"--offline-updates {peak}" in words


def test_an_error_that_stays_high_is_underfitting():
    assert warnings(rows(td_error=np.full(40, 0.2))) == ["Underfitting"]


def test_values_far_below_the_return_are_too_much_caution():
    low = np.full(40, 0.1)
    assert warnings(rows(dataset_q=low, policy_q=low)) == ["Too much caution"]
    assert warnings(rows(policy_q=np.full(40, -0.5))) == ["Too much caution"]


def test_untried_actions_above_tried_ones_are_too_little_caution():
    assert warnings(rows(policy_q=np.full(40, 0.9))) == ["Too little caution"]


def test_warnings_come_first():
    found = diagnose(rows(td_error=np.full(40, 0.2)))
    assert [f.mood for f in found] == ["warning", "good", "good"]


@pytest.mark.parametrize("count", [1, FEWEST_ROWS - 1])
def test_too_few_rows_are_not_judged(count):
    (only,) = diagnose(rows(count))
    assert only.mood == "unknown" and f"There are {count} rows" in only.words


def test_no_rows_and_holes_are_no_trouble():
    assert diagnose([]) == []
    holed = [{k: v for k, v in row.items() if k != "bound_rate"} for row in rows()]
    holed[-1]["dataset_q"] = None
    assert len(diagnose(holed)) == 3
