from dataclasses import replace

import numpy as np
import pytest
from small_arm import measured, short_motion, truth, unknowns

from robot_rl.errors import DataError, UnknownNameError
from sim.identify.arm import arm_parameters
from sim.identify.hidden import nominal_arm
from sim.identify.measurement import Measurement
from sim.identify.parameters import ParameterSet
from sim.identify.play import play_motion
from sim.identify.replay import MotionReplay


@pytest.fixture(scope="module")
def quiet() -> Measurement:
    return measured(truth(), short_motion(), seed=None)


def replay_of(measurement: Measurement, parameters: ParameterSet | None = None) -> MotionReplay:
    return MotionReplay(nominal_arm()[0], parameters or unknowns(), [measurement])


def test_the_true_twin_does_what_was_measured(quiet: Measurement) -> None:
    found = replay_of(quiet).predict(truth()[None])[0]
    np.testing.assert_allclose(found.position[0], quiet.position, atol=1e-9)
    np.testing.assert_allclose(found.velocity[0], quiet.velocity, atol=1e-9)


def test_rows_do_not_depend_on_their_neighbours(quiet: Measurement) -> None:
    replay = replay_of(quiet)
    table = np.stack((unknowns().nominal, truth(), truth(1)))
    together = replay.predict(table)[0].position
    for row, values in enumerate(table):
        np.testing.assert_array_equal(replay.predict(values[None])[0].position[0], together[row])


def test_more_rows_than_fit_at_once_are_played_in_parts(quiet: Measurement) -> None:
    replay = replay_of(quiet)
    found = replay.predict(np.tile(truth(), (70, 1)))[0].position
    np.testing.assert_allclose(found[[0, 69]], quiet.position[None].repeat(2, 0), atol=1e-9)
    assert replay.rollouts == 70


def test_residuals_are_in_deviations_of_the_noise() -> None:
    noisy = measured(truth(), short_motion())
    replay = replay_of(noisy)
    r = replay.residuals(unknowns().to_coordinates(truth())[None])[0]
    assert len(r) == replay.num_residuals
    assert np.mean(r**2) == pytest.approx(1.0, abs=0.06)


def test_stamps_need_not_lie_on_the_steps_of_the_twin(quiet: Measurement) -> None:
    """The same motion, told in the time of another clock, and read between the steps."""
    shifted = replace(
        quiet, state_s=quiet.state_s + 123.4567, command_s=quiet.command_s + 123.4567
    )
    found = replay_of(shifted).predict(truth()[None])[0]
    np.testing.assert_allclose(found.position[0], quiet.position, atol=1e-9)
    late = quiet.state_s[:-1] + 0.0007
    between = replace(
        quiet,
        state_s=np.concatenate((quiet.state_s[:1], late)),
        position=quiet.position.copy(),
    )
    position = replay_of(between).predict(truth()[None])[0].position[0, 1:]
    ahead = quiet.position[:-1] + 0.0007 * quiet.velocity[:-1]
    np.testing.assert_allclose(position, ahead, atol=2e-5)


def test_commands_between_steps_count_for_their_share(quiet: Measurement) -> None:
    """Commands a millisecond later are a delay of a millisecond more."""
    known = unknowns()
    later = truth()
    later[known.index("delay")] += 0.001
    told_late = replace(
        quiet,
        command_s=np.concatenate((quiet.command_s[:1], quiet.command_s[1:] + 0.001)),
    )
    one = replay_of(told_late).predict(truth()[None])[0].position
    other = replay_of(quiet).predict(later[None])[0].position
    before = replay_of(quiet).predict(truth()[None])[0].position
    # Sticking joints let go at other instants; all else agrees.
    assert np.std(one - other) < 0.05 * np.std(one - before)


def test_commands_that_were_on_their_way_for_ten_milliseconds_are_read_as_that() -> None:
    spec, robot = nominal_arm()
    prompt = play_motion(spec.compile(), robot, short_motion(), seed=None)
    early = replace(prompt, command_s=prompt.command_s - 0.010)
    replay = replay_of(early, unknowns().subset(["delay"]))
    delays = 0.010 + 0.0005 * np.arange(-2, 3)
    cost = (replay.residuals(delays[:, None]) ** 2).sum(1)
    assert delays[np.argmin(cost)] == pytest.approx(0.010)


def test_a_motion_under_way_is_joined_with_its_speed_and_its_past(quiet: Measurement) -> None:
    half = len(quiet.state_s) // 2
    later = replace(
        quiet,
        state_s=quiet.state_s[half:],
        position=quiet.position[half:],
        velocity=quiet.velocity[half:],
    )
    replay = replay_of(later)
    assert not replay.plans[0].counts[:10].any()  # it settles first
    found = replay.predict(truth()[None])[0].position[0]
    settled = replay.plans[0].counts
    assert np.abs(found - later.position)[settled].max() < 2e-4


def test_encoders_with_a_bias_read_it(quiet: Measurement) -> None:
    spec, robot = nominal_arm()
    known = arm_parameters(spec.compile(), robot.arms, ("encoder_bias",))
    values = np.linspace(-0.01, 0.01, 7)
    replay = replay_of(quiet, known)
    there = replay.predict(np.stack((values, np.zeros(7))))[0].position
    # Commands are in the encoders' angles, too: what is read hardly moves.
    np.testing.assert_allclose(there[0], there[1], atol=2e-3)
    np.testing.assert_allclose(there[0, 0], quiet.position[0], atol=1e-9)


def test_commands_that_a_drive_would_clip_are_refused(quiet: Measurement) -> None:
    far = quiet.command.copy()
    far[100, 3] = 0.5
    with pytest.raises(DataError, match=r"arm_joint4 lie in \[.*0\.5000\].*clips the rest"):
        replay_of(replace(quiet, command=far))


def test_channels_without_a_drive_are_refused(quiet: Measurement) -> None:
    other = replace(quiet, channels=tuple(f"other_{name}" for name in quiet.channels))
    with pytest.raises(UnknownNameError, match=r"channel 'other_arm_joint1'\. Available: arm"):
        replay_of(other)
