"""Any function is a base policy, as long as it answers with finite chunks of one shape."""

import numpy as np
import pytest

from robot_rl.errors import NonFiniteError, ShapeError
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.callable import CallablePolicy

OBS = np.zeros(3, np.float32)


def test_a_function_of_one_action_is_a_policy_with_chunks_of_one():
    policy = CallablePolicy(lambda obs: obs[:2] + 1)
    assert isinstance(policy, BasePolicy)
    np.testing.assert_array_equal(policy.act(OBS), [[1, 1]])
    assert policy.act(OBS).dtype == np.float32


def test_reset_reaches_the_functions_owner():
    calls = []
    CallablePolicy(lambda obs: obs, reset=lambda: calls.append(1)).reset()
    CallablePolicy(lambda obs: obs).reset()
    assert calls == [1]


@pytest.mark.parametrize("answer", [0.0, np.zeros(2), np.zeros((3, 2)), np.zeros((2, 5))])
def test_an_answer_of_another_shape_is_refused(answer):
    with pytest.raises(ShapeError, match="policy function: plan"):
        CallablePolicy(lambda obs: answer, chunk=2, action_dim=2).act(OBS)


def test_nan_is_refused():
    with pytest.raises(NonFiniteError, match="policy function: plan"):
        CallablePolicy(lambda obs: [np.nan, 0]).act(OBS)
