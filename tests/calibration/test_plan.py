import numpy as np
import pytest

from calibration.chain import Chain, State
from calibration.plan import choose_views
from calibration.refinement import Noise, view_information
from robot_rl.errors import ConfigError
from sim.calibration_world import draw_world, plan_views

NOISE = Noise(corner_px=0.1, offset_rad=0.01)


@pytest.fixture(scope="module")
def candidates():
    world = draw_world("hand", 0)
    rng = np.random.default_rng(0)
    q = plan_views(world, 40, spare=1)
    chain = Chain.build(
        world.camera, world.board, "hand", world.forward, [world.see(x, rng) for x in q], q
    )
    return chain, State.start(world.X, world.Z, *q.shape)


def deviations(chain, state, places):
    """Of the camera's place; the lens is known, and so are the joints that no view tells."""
    told = view_information(chain, state, NOISE)[places].sum(0)[:19, :19]
    told += np.diag(np.r_[np.zeros(12), 1e12, np.full(5, NOISE.offset_rad**-2), 1e12])
    return np.sqrt(np.diag(np.linalg.inv(told)))[:6]


def test_chosen_views_tell_more_than_the_first_ones(candidates):
    chosen = choose_views(*candidates, NOISE, 10)
    assert len(set(chosen)) == 10
    ours, first = deviations(*candidates, chosen), deviations(*candidates, list(range(10)))
    assert np.median(ours / first) < 0.9


def test_views_that_are_there_are_not_taken_again(candidates):
    first = choose_views(*candidates, NOISE, 5)
    assert (
        choose_views(*candidates, NOISE, 3, taken=first) == choose_views(*candidates, NOISE, 8)[5:]
    )
    with pytest.raises(ConfigError, match="41 views are wanted of 40 candidates"):
        choose_views(*candidates, NOISE, 41)
