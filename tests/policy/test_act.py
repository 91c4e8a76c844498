"""ACT answers with chunks, reads its cameras, and refuses what it was not trained on."""

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError, NonFiniteError, ShapeError, UnknownNameError
from robot_rl.policy.act import ACTCfg, ACTPolicy
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
)
STATE = np.zeros(5, np.float32)


def test_it_is_a_base_policy_and_repeats_itself():
    policy = ACTPolicy(ACTCfg(chunk=3, width=16, latent=2), NORM, seed=0)
    assert isinstance(policy, BasePolicy)
    assert policy.act(STATE).shape == (3, 2)
    np.testing.assert_array_equal(policy.act(STATE), policy.act({"state": STATE}))


def test_building_one_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ACTPolicy(ACTCfg(width=16), NORM, seed=0)
    assert torch.rand(3).equal(expected)


def test_what_the_camera_sees_changes_the_plan():
    policy = ACTPolicy(ACTCfg(chunk=3, width=16, cameras=(("cam", 24, 24),)), NORM, seed=0)
    dark = policy.act({"state": STATE, "cam": np.zeros((24, 24, 3), np.uint8)})
    light = policy.act({"state": STATE, "cam": np.full((24, 24, 3), 255, np.uint8)})
    assert np.abs(dark - light).max() > 1e-4
    with pytest.raises(UnknownNameError, match="camera in the observation 'cam'"):
        policy.act({"state": STATE})


def test_masked_actions_do_not_count_in_the_loss():
    policy = ACTPolicy(ACTCfg(chunk=3, width=16), NORM, seed=0)
    state, unit = torch.zeros(4, 5), torch.zeros(4, 3, 2)
    mask = torch.tensor([[1.0, 1.0, 0.0]]).expand(4, 3)
    other = unit.clone()
    other[:, 2] = 100.0
    generator = torch.Generator()
    with torch.no_grad():
        losses = [float(policy.loss(state, {}, u, mask, generator)) for u in (unit, other)]
    assert losses[0] == losses[1]


def test_bad_sizes_observations_and_weights_are_refused():
    with pytest.raises(ConfigError, match="multiple of heads"):
        ACTCfg(width=30)
    policy = ACTPolicy(ACTCfg(width=16), NORM, seed=0)
    with pytest.raises(ShapeError, match="observation: state"):
        policy.act(STATE[:3])
    with torch.no_grad():
        policy.net.head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="act: plan"):
        policy.act(STATE)
