import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.reward.written.sandbox import Sandbox, SandboxCfg
from robot_rl.reward.written.scoring import Examples, examine
from robot_rl.reward.written.syntax import CandidateError, check_source, code_in


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxCfg(cpu_s=1, wall_s=280, memory_bytes=200_000_000)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def worth(schema, examples, sandbox):
    def examined(answer, on=examples):
        written = check_source(code_in(answer), schema.names)
        return examine(written, schema, on, sandbox)

    return examined


def line(expression):
    return f"def progress(gap_m, point_m):\n    return {expression}\n"


def test_a_good_function_orders_separates_and_resists(worth, answers):
    scale, figures = worth(answers["good"])
    assert (scale.low, scale.high) == (0.0, 1.0)
    assert figures.voc > 0.9 and figures.auc == 1.0 and figures.gap > 0.1
    assert figures.worth > 0.9 and figures.fooled < 0.1
    assert list(figures.components) == ["near", "still", "total"]
    near = figures.components["near"]
    assert near.start < near.middle < near.end and near.failed < near.end and near.order > 0.9


def test_one_that_never_looks_is_worth_less(worth, answers):
    _, blind = worth(line("0.5 + 0.1 * np.tanh(point_m[:, 0])"))
    assert blind.voc == 0.0 and blind.worth < 0.6
    assert blind.worth < worth(answers["good"])[1].worth


def test_what_saturates_on_the_way_is_fooled_by_hovering(worth):
    _, figures = worth(line("np.clip(1.6 - 1.6 * np.linalg.norm(gap_m, axis=-1), 0, 1)"))
    _, near = worth(line("np.exp(-np.linalg.norm(gap_m, axis=-1) / 0.05)"))
    assert figures.fooled_by["hovering"] > near.fooled_by["hovering"] == 0.0


def test_an_unbounded_function_is_brought_between_start_and_end(worth, episodes):
    scale, figures = worth(line("-1000.0 * np.linalg.norm(gap_m, axis=-1)"))
    starts = [
        -1000 * np.linalg.norm(e.obs["state"][0, :2]) for e in episodes.values() if e.success
    ]
    assert scale.low == pytest.approx(np.median(starts), rel=1e-5)
    assert -20 < scale.high < 0 and figures.voc > 0.9


@pytest.mark.parametrize("kind", ["useless", "backwards", "impure", "hungry"])
def test_what_is_no_progress_is_refused(worth, answers, kind):
    with pytest.raises(CandidateError) as caught:
        worth(answers["bad"][kind])
    assert answers["reasons"][kind] in str(caught.value)


def test_without_failures_separation_is_unknown_and_left_out(worth, answers, episodes):
    wins = {name: episode for name, episode in episodes.items() if episode.success}
    _, figures = worth(answers["good"], Examples.of(wins, "reach"))
    assert np.isnan(figures.auc) and np.isnan(figures.gap) and figures.worth > 0.9


def test_without_a_success_nothing_can_be_measured(episodes):
    losses = {name: episode for name, episode in episodes.items() if not episode.success}
    with pytest.raises(DataError, match="5 episodes without a success among them"):
        Examples.of(losses, "reach")


def test_what_fails_beside_the_recorded_states_is_refused(worth, examples):
    """Demonstrations come from above; noise from anywhere."""
    words = "at states unlike the recorded ones, the written function failed: progress is NaN"
    gap = examples.vectors[:, :2]
    least = float((gap[:, 1] - np.abs(gap[:, 0])).min())
    with pytest.raises(CandidateError, match=words):
        worth(line(f"-np.sqrt(gap_m[:, 1] - np.abs(gap_m[:, 0]) - {least - 1e-3:.6f})"))


def test_a_component_called_total_does_not_hide_the_progress(worth):
    body = "def progress(gap_m):\n    near = np.exp(-np.linalg.norm(gap_m, axis=-1))\n"
    _, figures = worth(body + "    return near, {'total': near * 0.0}\n")
    assert figures.components["total"].end > 0.9
