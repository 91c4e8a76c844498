import numpy as np
import pytest

from robot_rl.reward.detector import DetectorCfg, SuccessDetector
from robot_rl.reward.episodes import query_of
from robot_rl.reward.written.model import Range, WrittenModel
from robot_rl.reward.written.scoring import Examples
from robot_rl.reward.written.syntax import check_source, code_in
from robot_rl.reward.written.verdicts import fit_verdicts


@pytest.fixture(scope="module")
def model(schema, answers):
    written = check_source(code_in(answers["good"]), schema.names)
    made = WrittenModel(written, schema, Range())
    yield made
    made.close()


def test_a_detector_on_progress_alone_tells_successes_from_failures(model, examples, held_out):
    detector = SuccessDetector(fit_verdicts(model, examples, DetectorCfg(hold_s=0.3)))
    assert detector.cfg.hold_s == 0.3
    for episode in held_out.values():
        query = query_of(episode, "reach")
        (estimate,) = model.score([query])
        assert detector.decide(query, estimate).success == episode.success


def test_order_is_measured_until_the_success_and_not_beyond(make_reach):
    """What is recorded after a success says nothing about the way to it."""
    episode = make_reach(3, hold=1)
    long = make_reach(3, hold=41)
    settled_s = float(long.t_s[-1] - episode.t_s[-1])
    told = Examples.of({"a": _with(long, settled_s=settled_s)}, "reach")
    untold = Examples.of({"a": long}, "reach")
    values = np.concatenate([np.arange(len(episode.t_s)), np.zeros(40)])
    assert told.order(values, 0) == pytest.approx(1.0)
    assert untold.order(values, 0) < 0.2


def _with(episode, **facts):
    kind = type(episode)
    return kind(
        obs=episode.obs,
        t_s=episode.t_s,
        success=episode.success,
        attrs={**episode.attrs, **facts},
    )
