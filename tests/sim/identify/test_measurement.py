from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import DataError, NonFiniteError, ShapeError, UnknownNameError
from sim.identify.measurement import Measurement, estimate_noise, load_measurement

STAMPS = np.arange(0, 3, 0.01)


def example(**changes) -> Measurement:
    wave = np.stack((np.sin(STAMPS), np.cos(2 * STAMPS)), -1)
    rng = np.random.default_rng(0)
    parts = {
        "channels": ("a", "b"),
        "command_s": STAMPS,
        "command": wave,
        "state_s": STAMPS,
        "position": wave + 1e-4 * rng.normal(size=wave.shape),
        "velocity": None,
        "source": "example",
    }
    return Measurement(**{**parts, **changes})


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    one = example(facts={"share": 0.1})
    name = one.save(tmp_path / "deep" / "m.npz")
    back = load_measurement(tmp_path / "deep" / "m.npz")
    assert back.hash == name == one.hash
    assert back.facts == {"share": 0.1}
    np.testing.assert_array_equal(back.position, one.position)


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    example().save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["position"][5] += 0.01
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="was edited"):
        load_measurement(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="no measurement that can be read"):
        load_measurement(path)


@pytest.mark.parametrize("std", [1e-5, 3e-4, 5e-3])
def test_noise_on_a_motion_is_found(std: float) -> None:
    stamps = np.arange(0, 8, 0.01)[:, None]
    motion = 0.5 * np.sin(2 * np.pi * stamps * [0.3, 1.0])
    noisy = motion + std * np.random.default_rng(1).normal(size=motion.shape)
    np.testing.assert_allclose(estimate_noise(noisy), std, rtol=0.15)


def test_a_still_beginning_is_recognised() -> None:
    command = example().command.copy()
    command[:100] = command[99]
    assert example(command=command).rest_s == pytest.approx(1.0)
    assert example().rest_s == pytest.approx(0.01)


def test_channels_are_picked_by_name() -> None:
    picked = example().select(["b"])
    np.testing.assert_array_equal(picked.position[:, 0], example().position[:, 1])
    with pytest.raises(UnknownNameError, match=r"channel of example 'elbow'\. Available: a, b"):
        example().select(["elbow"])


def test_a_robot_that_does_not_move_is_refused() -> None:
    still = 1e-4 * np.random.default_rng(0).normal(size=(len(STAMPS), 2))
    with pytest.raises(DataError, match="example: nothing moves"):
        example(position=still)


def test_a_measurement_that_is_too_short_is_refused() -> None:
    few = slice(0, 50)
    with pytest.raises(DataError, match=r"50 states over 0\.49 s are too short"):
        example(state_s=STAMPS[few], position=example().position[few])


def test_numbers_that_are_not_finite_are_placed() -> None:
    position = example().position.copy()
    position[7, 1] = np.nan
    with pytest.raises(NonFiniteError, match="example: position at row 7, channel b"):
        example(position=position)


def test_stamps_that_go_backwards_are_placed() -> None:
    stamps = STAMPS.copy()
    stamps[20] = stamps[18]
    with pytest.raises(
        DataError, match=r"state_s does not move on at row 20: 0\.18\d* after 0\.19"
    ):
        example(state_s=stamps)


def test_the_first_command_must_be_known() -> None:
    with pytest.raises(
        DataError, match=r"first command is at 0\.500 s, the first state at 0\.000"
    ):
        example(command_s=STAMPS + 0.5)


def test_arrays_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="example: velocity has shape"):
        example(velocity=np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"position_std is .* must be positive"):
        example(position_std=np.zeros(2))


def test_a_copy_is_checked_like_the_first() -> None:
    with pytest.raises(ShapeError):
        replace(example(), channels=("a",))
