import numpy as np
import pytest

from robot_rl.errors import ConfigError
from sim.batch import BatchedTwin
from sim.tasks import make_twin
from sim.tasks.rod import yaw_of
from sim.tasks.tool import pose

SEEDS = range(500_000, 500_030)


def _success(twin, act):
    batch = BatchedTwin(twin, len(SEEDS))
    batch.reset(SEEDS)
    success = np.zeros(len(SEEDS), bool)
    while batch.active.any():
        success |= batch.step(act(batch.state))[2]
    return success.mean()


def test_a_shot_that_believes_another_friction_misses():
    twin = make_twin("slide")
    assert _success(twin, lambda state: twin.shoot(state, 0.15)) > 0.9
    assert _success(twin, lambda state: twin.shoot(state, 0.09)) < 0.2
    assert _success(twin, lambda state: twin.shoot(state, 0.24)) < 0.2


def test_a_rod_pushed_beside_its_centre_of_mass_turns():
    twin = make_twin("rod", com_m=0.05)
    assert _success(twin, twin.expert) > 0.9
    assert _success(twin, lambda state: twin.push(state, 0.0, 0.012)) < 0.1


def test_beliefs_of_a_batch_may_differ_by_row():
    twin = make_twin("slide")
    batch = BatchedTwin(twin, 2)
    batch.reset([1, 1])
    action = twin.shoot(batch.state, np.array([0.15, 0.01]))
    assert action[0, 1] >= action[1, 1] > 0


def test_yaw_is_the_turn_of_an_upright_body():
    for yaw in (-2.0, 0.0, 0.3):
        assert yaw_of(pose((0.0, 0.0, 0.0), yaw)) == pytest.approx(yaw)


def test_impossible_pucks_and_rods_are_refused():
    with pytest.raises(ConfigError, match=r"friction is 0, but must be > 0"):
        make_twin("slide", friction=0)
    with pytest.raises(ConfigError, match=r"com_m is 0.2, but must lie within the rod"):
        make_twin("rod", com_m=0.2)
