"""Progress that leads where success is keeps its weight; progress that misleads loses it."""

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.reward.alignment import AlignmentCfg, alignment_of

RNG = np.random.default_rng(0)


def climb(count, top=1.0, noise=0.02):
    return (np.linspace(0, top, count) + noise * RNG.normal(size=count)).astype(np.float32)


def lived(success, failure, each=15):
    return [(phi(), won) for _ in range(each) for phi, won in ((success, True), (failure, False))]


def trust(those, **changes):
    return alignment_of(those, AlignmentCfg(**changes)).trust


def test_progress_that_knows_what_succeeds_keeps_its_full_weight():
    assert trust(lived(lambda: climb(30), lambda: climb(80, top=0.5))) == 1.0


@pytest.mark.parametrize(
    ("success", "failure"),
    [
        (lambda: climb(30)[::-1], lambda: climb(80, top=0.5)),  # points away from the goal
        (lambda: climb(30, top=0.5), lambda: climb(80)),  # likes what fails
        (lambda: climb(30), lambda: np.full(80, 0.97, np.float32)),  # can be hovered at
        (lambda: RNG.random(30), lambda: RNG.random(80)),  # knows nothing
    ],
)
def test_progress_that_misleads_is_faded_out(success, failure):
    assert trust(lived(success, failure)) < 0.3


def test_without_evidence_progress_is_trusted():
    assert trust([]) == 1.0
    assert trust([(climb(20), False)] * 30) == 1.0
    assert trust(lived(lambda: climb(30)[::-1], lambda: climb(80)), episodes=0) == 1.0


def test_one_odd_episode_does_not_take_the_weight_away():
    assert trust([(climb(30)[::-1], True), (climb(80, top=0.5), False)]) > 0.5


def test_unknown_frames_say_nothing():
    phi = climb(40)
    gappy = phi.copy()
    gappy[10:20] = np.nan
    cfg = AlignmentCfg()
    assert alignment_of([(gappy, True)], cfg).rises == pytest.approx(
        alignment_of([(np.delete(phi, slice(10, 20)), True)], cfg).rises
    )


def test_old_episodes_are_forgotten():
    wrong = lived(lambda: climb(30)[::-1], lambda: climb(80))
    right = lived(lambda: climb(30), lambda: climb(80, top=0.5))
    assert trust([*wrong, *right], episodes=30) == 1.0


def test_an_alignment_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match=r"full 0\.5 in \(0\.5, 1\]"):
        AlignmentCfg(full=0.5)
