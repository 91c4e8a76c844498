"""Images become tokens of the stated number, and shifts move them without inventing pixels."""

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError, ShapeError, UnknownNameError
from robot_rl.policy.encoders import PatchEncoder, camera_images, random_shift


@pytest.mark.parametrize(("height", "width", "patches"), [(84, 84, 81), (48, 64, 5 * 7)])
def test_an_image_gives_one_token_a_patch(height, width, patches):
    encoder = PatchEncoder(height, width, 16)
    tokens = encoder(torch.zeros(2, height, width, 3, dtype=torch.uint8))
    assert encoder.patches == patches
    assert tokens.shape == (2, patches, 16)


def test_images_of_another_size_and_encoders_without_a_patch_are_refused():
    with pytest.raises(ShapeError, match="encoder: images"):
        PatchEncoder(48, 48, 16)(torch.zeros(1, 40, 48, 3, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="has no patch"):
        PatchEncoder(8, 84, 16)
    with pytest.raises(ConfigError, match="multiple of 4"):
        PatchEncoder(48, 48, 18)


def test_a_shift_moves_each_image_by_whole_pixels_within_the_pad():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(12, dtype=torch.uint8)[None, None, :, None].expand(20, 12, 12, 3)
    shifted = random_shift(ramp, 3, generator)
    assert shifted.dtype == torch.uint8
    moves = set()
    for image in shifted:
        row = image[5, 3:9, 0].int()
        move = int(row[0]) - 3
        assert torch.equal(row, torch.arange(3, 9, dtype=torch.int32) + move)
        moves.add(move)
    assert min(moves) >= -3
    assert max(moves) <= 3
    assert len(moves) > 3


def test_no_pad_is_no_change_and_one_colour_stays_that_colour():
    generator = torch.Generator().manual_seed(0)
    images = torch.full((2, 6, 6, 3), 7, dtype=torch.uint8)
    assert random_shift(images, 0, generator) is images
    assert random_shift(images, 2, generator).equal(images)


def test_a_missing_camera_is_named():
    obs = {"state": np.zeros(2, np.float32), "wrist": np.zeros((4, 4, 3), np.uint8)}
    assert camera_images(obs, ["wrist"])["wrist"].shape == (1, 4, 4, 3)
    with pytest.raises(UnknownNameError, match=r"'front'.*Available: state, wrist"):
        camera_images(obs, ["front"])
