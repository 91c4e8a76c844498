"""The audit finds what fools a judge, and a sound judge is not fooled."""

import numpy as np
import pytest

from robot_rl.errors import DataError
from robot_rl.reward.audit import RECORDED_ATTACKS, audit, recorded_attacks, worst_of_each
from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.progress import Capabilities, ProgressEstimate

DETECTOR = SuccessDetector(DetectorCfg(threshold=0.8, hold_s=0.2))


class Looking:
    """Judges by one number a frame; what a rule says of the frames of a query."""

    capabilities = Capabilities(causal=True)
    model_id, version = "looking", 1

    def __init__(self, rule):
        self.rule = rule

    def score(self, queries):
        found = []
        for query in queries:
            success = np.asarray(self.rule(query), np.float32)
            zero = np.zeros(len(query), np.float32)
            found.append(
                ProgressEstimate(
                    progress=success,
                    success=success,
                    sigma=zero,
                    valid=np.ones(len(query), bool),
                    model_id=self.model_id,
                    version=1,
                )
            )
        return found

    def save(self, folder):
        return folder


def near(query):
    return np.linalg.norm(query.proprio[:, :2], axis=1) < 0.05


def standing(query):
    moved = np.abs(np.diff(query.proprio[:, :2], axis=0)).max(1)
    return np.concatenate([[False], moved < 1e-6])


@pytest.fixture
def attacks(make_reach):
    episodes = {str(k): make_reach(k, images=True, hold=6) for k in range(4)}
    return recorded_attacks(episodes, "reach")


def test_every_kind_of_attack_is_made(attacks):
    assert {attack.kind for attack in attacks} == RECORDED_ATTACKS.keys()


def test_a_judge_that_takes_standing_still_for_success_is_found_out(attacks):
    findings = audit(Looking(standing), DETECTOR, attacks)
    fooled, count, worst = worst_of_each(findings)["hovering"]
    assert 0 < fooled <= count and worst.is_fooled
    assert findings[0].is_fooled and findings[0].score >= findings[-1].score


def test_a_judge_that_never_looks_is_fooled_by_covered_lenses(attacks):
    per_kind = worst_of_each(audit(Looking(near), DETECTOR, attacks))
    assert per_kind["occluded"][0] == per_kind["occluded"][1]
    assert per_kind["hovering"][0] == 0 and per_kind["backwards"][0] == 0


def test_a_judge_that_says_no_is_not_fooled(attacks):
    findings = audit(Looking(lambda query: np.zeros(len(query))), DETECTOR, attacks)
    assert not any(found.is_fooled for found in findings)


def test_without_a_success_there_is_no_bait(make_reach):
    with pytest.raises(DataError, match="no success to make attacks of"):
        recorded_attacks({"a": make_reach(0, until=0.5)}, "reach")
