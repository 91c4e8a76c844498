import mujoco
import numpy as np
import pytest
from small_arm import measured, short_motion, truth, unknowns

from robot_rl.errors import DataError
from sim.identify.arm import arm_parameters
from sim.identify.fit import fit_residuals, held_out_errors, identify, identify_in_steps
from sim.identify.hidden import nominal_arm
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.measurement import Measurement
from sim.identify.parameters import Parameter, ParameterSet
from sim.identify.play import play_motion
from sim.identify.posterior import Posterior

ONE_START = LeastSquaresCfg(starts=1, candidates=0)


@pytest.fixture(scope="module")
def fitted() -> Posterior:
    return identify(nominal_arm()[0], unknowns(), [measured(truth(), short_motion())])


def test_the_truth_is_found_within_its_intervals(fitted: Posterior) -> None:
    known = unknowns()
    assert fitted.is_trusted
    assert fitted.at_bound == ()
    assert fitted.details["agreeing_starts"] == 3
    z = (fitted.mean - known.to_coordinates(truth())) / fitted.std
    assert np.abs(z).mean() < 1.6
    assert abs(fitted.values[known.index("delay")] - truth()[known.index("delay")]) < 1e-3
    np.testing.assert_allclose(fitted.values[0], truth()[0], rtol=0.1)


def test_unseen_motions_are_predicted_far_better_than_by_the_nominal(fitted: Posterior) -> None:
    unseen = [measured(truth(), short_motion(5), seed=9)]
    (errors,) = held_out_errors(nominal_arm()[0], fitted, unseen)
    assert errors.gain > 10
    assert errors.fitted_rms < 1e-4


def test_two_motions_tell_more_than_one(fitted: Posterior) -> None:
    both = [measured(truth(), short_motion(s), seed=s) for s in (0, 5)]
    again = identify(nominal_arm()[0], unknowns(), both, ONE_START)
    assert (again.std < fitted.std).all()
    assert len(again.details["measurements"]) == 2


def stiffer() -> Measurement:
    """Of an arm whose gains are a tenth above those that are believed."""
    spec, robot = nominal_arm(share=0.11)
    known = unknowns()
    known.prepare(spec)
    model = spec.compile()
    known.apply(model, truth())
    return play_motion(model, robot, short_motion())


def with_gains() -> ParameterSet:
    spec, robot = nominal_arm()
    gains = arm_parameters(spec.compile(), robot.arms, ("kp", "kv"))
    return ParameterSet([*unknowns().parameters, *gains.parameters])


def test_what_fewer_unknowns_explain_is_left_to_them() -> None:
    motion = measured(truth(), short_motion())
    steps = [unknowns(), with_gains()]
    found = identify_in_steps(nominal_arm()[0], steps, [motion], ONE_START)
    assert found.parameters.names == unknowns().names
    assert [step["unknowns"] for step in found.details["steps"]] == [len(unknowns().names)]


def test_what_they_leave_unexplained_lets_more_unknowns_in() -> None:
    steps = [unknowns(), with_gains()]
    found = identify_in_steps(nominal_arm()[0], steps, [stiffer()], ONE_START)
    few, more = (step["chi2"] for step in found.details["steps"])
    assert found.parameters.names == with_gains().names
    assert few > 1.5 and more < 0.8 * few
    delay = unknowns().index("delay")
    assert abs(found.values[delay] - truth()[delay]) < 1e-3


def test_a_twin_that_is_built_otherwise_gets_no_intervals() -> None:
    """The measured arm has gains that the fitted one lacks, and may not change."""
    known = unknowns()
    found = identify(nominal_arm()[0], known, [stiffer()], ONE_START)
    assert found.chi2 > 1.5
    assert found.interval("delay") is None
    assert "something moves that the twin does not have" in found.verdict
    np.testing.assert_array_less(
        np.sqrt(np.diag(found.covariance))[:-1] * 1.05, found.std[:-1] + 1e-9
    )


def test_what_motion_cannot_tell_is_named_and_not_guessed() -> None:
    """A gravity-compensated arm moves alike whatever constant its encoders add."""
    spec, robot = nominal_arm()
    every = arm_parameters(spec.compile(), robot.arms, ("armature", "encoder_bias"))
    known = every.subset(["arm_joint4.armature", "arm_joint1.encoder_bias"])
    values = known.from_dict({"arm_joint4.armature": 0.3})
    spec, robot = nominal_arm()
    model = spec.compile()
    known.apply(model, values)
    found = identify(
        nominal_arm()[0], known, [play_motion(model, robot, short_motion())], ONE_START
    )
    assert [one.words for one in found.unidentifiable] == [
        "arm_joint1's encoder_bias: not from these data"
    ]
    assert found.std[1] > 0.5 * known.prior_std[1]
    np.testing.assert_allclose(found.values[0], 0.3, rtol=0.05)


def test_the_speed_of_a_gripper_is_found_from_its_opening() -> None:
    slow = Parameter(
        name="speed", quantity="speed", targets=("arm/width",), nominal=0.2, low=0.01, high=2.0
    )
    known = ParameterSet([slow])
    model = nominal_arm()[0].compile()
    known.apply(model, np.array([0.05]))
    data, drive = mujoco.MjData(model), model.actuator("arm/width").id
    fingers = [model.joint(f"arm/{side}_slide").qposadr[0] for side in ("left", "right")]
    stamps, asked = 0.01 * np.arange(300), np.zeros(300)
    asked[20:150] = 0.08
    widths = []
    for width in asked:
        widths.append(data.qpos[fingers].sum())
        data.ctrl[drive] = width
        mujoco.mj_step(model, data, nstep=5)
    noise = 1e-4 * np.random.default_rng(0).normal(size=300)
    opening = Measurement(
        channels=("arm/width",),
        command_s=stamps,
        command=asked[:, None],
        state_s=stamps,
        position=(np.array(widths) + noise)[:, None],
        position_std=np.array([1e-4]),
        source="gripper",
    )
    found = identify(nominal_arm()[0], known, [opening], ONE_START)
    assert found.values[0] == pytest.approx(0.05, rel=0.01)
    assert found.chi2 == pytest.approx(1.0, abs=0.25)


def test_fewer_numbers_than_unknowns_are_refused() -> None:
    known: ParameterSet = unknowns()
    with pytest.raises(DataError, match="3 numbers were measured, but 7 parameters"):
        fit_residuals(known, lambda x: x[:, :3] - known.prior_mean[:3], ONE_START)
