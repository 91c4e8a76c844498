"""An evaluation sees a good judge, a hasty one and one that counts the time."""

import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.episodes import query_of
from robot_rl.reward.evaluation import Case, evaluate, judge
from robot_rl.reward.progress import Capabilities, ProgressEstimate


class Judge:
    """Judges the hand by its distance from the point, as `offset`, or by the time."""

    capabilities = Capabilities(causal=True)
    model_id, version = "distance", 1

    def __init__(self, hasty=0.0, counts_time=False):
        self.hasty, self.counts_time = hasty, counts_time

    def score(self, queries):
        return [self._judge(query) for query in queries]

    def _judge(self, query):
        way = np.linalg.norm(query.proprio[:, :2], axis=1)
        progress = np.clip(1 - way / np.linalg.norm(query.initial_proprio[:2]), 0, 1)
        if self.counts_time:
            progress = np.linspace(0, 1, len(query))
        progress = progress.astype(np.float32)
        return ProgressEstimate(
            progress=progress,
            success=np.clip(10 * (progress + self.hasty) - 9, 0, 1),
            sigma=np.zeros(len(query), np.float32),
            valid=np.ones(len(query), bool),
            model_id=self.model_id,
            version=1,
        )

    def save(self, folder):
        return folder


def cases_of(make_reach, model):
    cases = []
    for k in range(24):
        until = 1.0 if k < 12 else 0.2 + 0.05 * (k - 12)
        episode = make_reach(k, until=until)
        query = query_of(episode, "reach")
        done = np.array(episode.attrs["achieved"])
        ramp = np.linalg.norm(query.proprio[:, :2], axis=1)
        truth = np.clip(1 - ramp / ramp[0], 0, 1)
        cases.append(
            Case(
                name=str(k),
                kind="success" if k < 12 else "stop",
                query=query,
                estimate=ProgressEstimate.invalid(len(query), model_id="", version=0),
                success=k < 12,
                progress=truth,
                achieved=done,
            )
        )
    return judge(model, cases)


DETECTOR = SuccessDetector(DetectorCfg(threshold=0.5, hold_s=0.25))


def test_a_good_judge_passes_all_gates(make_reach):
    found = evaluate(cases_of(make_reach, Judge()), DETECTOR)
    assert found.failed_gates() == []
    figures = found.figures
    assert figures["f1"].mean == figures["recall"].mean == figures["roc_auc"].mean == 1.0
    assert figures["voc_reversed"].mean < -0.4
    assert figures["mae"].mean < 0.02
    assert all(i.low <= i.mean <= i.high for i in figures.values())


def test_a_hasty_judge_has_perfect_order_and_false_successes(make_reach):
    found = evaluate(cases_of(make_reach, Judge(hasty=0.4)), DETECTOR)
    assert found.figures["voc"].mean > 0.95
    assert found.figures["false_positive"].mean > 0.2
    assert found.figures["too_early"].mean > 0.9
    assert any("false_positive is" in words for words in found.failed_gates())


def test_a_judge_that_counts_the_time_is_seen_by_the_reversed_order(make_reach):
    found = evaluate(cases_of(make_reach, Judge(counts_time=True)), DETECTOR)
    assert found.figures["voc"].mean > 0.99
    assert found.figures["voc_reversed"].mean > 0.99


def test_what_could_not_be_judged_is_counted_and_not_averaged(make_reach):
    cases = cases_of(make_reach, Judge())
    blind = [
        Case(
            name=c.name,
            kind=c.kind,
            query=c.query,
            estimate=ProgressEstimate.invalid(len(c.query), model_id="m", version=1),
            success=c.success,
            progress=c.progress,
        )
        for c in cases
    ]
    figures = evaluate(blind, DETECTOR).figures
    assert figures["judged"].mean == 0.0 and figures["recall"].mean == 0.0
    assert np.isnan(figures["voc"].mean) and np.isnan(figures["mae"].mean)


def test_no_episodes_give_no_figures():
    with pytest.raises(DataError, match="no episodes"):
        evaluate([], DETECTOR)
