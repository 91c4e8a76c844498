"""Progress as a distribution over bins: told apart, and read off where it errs least."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.reward.network import BINS, median, two_hot


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_median_of_a_target_is_the_target_to_a_fraction_of_a_bin(progress):
    wanted = torch.tensor(progress)
    shares = two_hot(wanted)
    assert shares.sum(1) == pytest.approx(1.0)
    assert (median(shares) - wanted).abs().max() <= 0.26 / (BINS - 1)


def test_a_frame_that_is_one_of_two_things_is_not_something_between():
    shares = torch.zeros(2, BINS)
    shares[:, 0], shares[:, -1] = torch.tensor([0.6, 0.4]), torch.tensor([0.4, 0.6])
    assert median(shares).tolist() == pytest.approx([0, 1], abs=0.5 / (BINS - 1))


def test_the_median_is_within_zero_and_one_whatever_the_shares():
    shares = torch.rand(50, BINS, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert ((median(shares) >= 0) & (median(shares) <= 1)).all()
