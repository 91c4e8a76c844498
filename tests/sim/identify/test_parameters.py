import dataclasses

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from robot_rl.errors import ConfigError, ShapeError, UnknownNameError
from robot_rl.types import ArmSpec, RobotSpec
from sim.identify.arm import arm_parameters, arm_scene
from sim.identify.parameters import Parameter, ParameterSet, nominal_parameter
from sim.identify.quantities import QUANTITIES
from sim.tasks import make_twin

JOINTS = ("arm_joint1", "arm_joint4")


def scene() -> mujoco.MjSpec:
    return make_twin("pick-lift").build()


def every_quantity(model: mujoco.MjModel) -> ParameterSet:
    one = lambda *args, **kwargs: nominal_parameter(model, *args, **kwargs)  # noqa: E731
    return ParameterSet(
        [
            *(one(q, j) for j in JOINTS for q in ("armature", "damping", "frictionloss")),
            *(one(q, j) for j in JOINTS for q in ("kp", "kv")),
            *(one("encoder_bias", j, low=-0.02, high=0.02) for j in JOINTS),
            Parameter(
                name="delay", quantity="delay", targets=JOINTS, nominal=0.01, low=0.002, high=0.03
            ),
            one("force", "arm/width"),
            one("speed", "arm/width"),
            one("friction", ("arm/left", "arm/right"), name="pads.friction"),
            one("mass", "cube"),
            *(one(f"com_{axis}", "cube", low=-0.02, high=0.02) for axis in "xyz"),
            one("friction", "cube"),
        ]
    )


@pytest.fixture(scope="module")
def parameters() -> ParameterSet:
    return every_quantity(scene().compile())


@pytest.fixture(scope="module")
def model(parameters: ParameterSet) -> mujoco.MjModel:
    spec = scene()
    parameters.prepare(spec)
    return spec.compile()


def fields_of(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    used = {field for quantity in QUANTITIES.values() for field in quantity.fields}
    return {name: np.array(getattr(model, name)) for name in used | {"dof_invweight0"}}


def test_every_quantity_is_covered(parameters: ParameterSet) -> None:
    assert {one.quantity for one in parameters.parameters} == set(QUANTITIES)


def test_coordinates_and_values_are_inverse(parameters: ParameterSet) -> None:
    table = parameters.sample_prior(50, np.random.default_rng(0))
    back = parameters.to_values(parameters.to_coordinates(table))
    np.testing.assert_allclose(back, table, rtol=1e-12)
    assert (parameters.to_coordinates(table) >= parameters.low).all()
    assert (parameters.to_coordinates(table) <= parameters.high).all()


def test_nominal_values_change_nothing_in_the_model(
    parameters: ParameterSet, model: mujoco.MjModel
) -> None:
    before, values = fields_of(model), parameters.nominal.copy()
    values[parameters.index("delay")] = model.actuator_delay[0]
    parameters.apply(model, values)
    for name, array in fields_of(model).items():
        np.testing.assert_allclose(array, before[name], rtol=1e-12, err_msg=name)


def test_model_batch_and_scene_are_given_the_same(
    parameters: ParameterSet, model: mujoco.MjModel
) -> None:
    table = parameters.sample_prior(3, np.random.default_rng(1))
    batch = Batch(model, 3, 1)
    writer = parameters.writer(model, batch)
    writer.write(table[::-1].copy())
    writer.write(table)  # leaves no trace of what was written before
    for i, values in enumerate(table):
        spec = scene()
        parameters.apply_to_spec(spec, values)
        compiled = fields_of(spec.compile())
        parameters.apply(model, values)
        alone, row = fields_of(model), fields_of(batch.get_model(i))
        for name in alone:
            np.testing.assert_allclose(row[name], alone[name], rtol=1e-9, err_msg=name)
            np.testing.assert_allclose(compiled[name], alone[name], rtol=1e-9, err_msg=name)


def test_some_rows_of_a_batch_can_be_written_alone(
    parameters: ParameterSet, model: mujoco.MjModel
) -> None:
    batch = Batch(model, 4, 1)
    writer = parameters.writer(model, batch)
    before = fields_of(batch.get_model(0))
    values = parameters.sample_prior(2, np.random.default_rng(2))
    writer.write(values, ids=np.array([3, 1]))
    armature = batch.expanded("dof_armature")
    assert armature is not None
    np.testing.assert_allclose(armature[[3, 1], 0], values[:, 0])
    for name, array in fields_of(batch.get_model(0)).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_closed_gripper_moves_at_the_speed_it_was_given() -> None:
    spec = make_twin("reach").build()
    nominal = spec.compile()
    speed = nominal_parameter(nominal, "speed", "arm/width")
    set_ = ParameterSet([speed])
    assert speed.nominal == pytest.approx(28.0)
    set_ = ParameterSet(
        [
            Parameter(
                name="s", quantity="speed", targets=("arm/width",), nominal=0.1, low=0.01, high=1
            )
        ]
    )
    set_.apply(nominal, np.array([0.05]))
    data = mujoco.MjData(nominal)
    data.ctrl[nominal.actuator("arm/width").id] = 0.08
    mujoco.mj_step(nominal, data, nstep=200)
    slides = [nominal.joint(f"arm/{side}_slide").dofadr[0] for side in ("left", "right")]
    assert data.qvel[slides].sum() == pytest.approx(0.05, rel=0.05)


def test_the_drive_servoes_what_a_biased_encoder_reads() -> None:
    spec = make_twin("reach").build()
    model = spec.compile()
    bias = ParameterSet([nominal_parameter(model, "encoder_bias", JOINTS[1], low=-0.1, high=0.1)])
    bias.apply(model, np.array([0.05]))
    data = mujoco.MjData(model)
    model.dof_frictionloss[:] = 0
    place = model.joint(JOINTS[1]).qposadr[0]
    data.qpos[place] = data.ctrl[model.actuator(JOINTS[1]).id] = -1.0
    mujoco.mj_step(model, data, nstep=2000)
    read = data.qpos[place] + bias.encoder_bias(np.array([0.05]), JOINTS)[1]
    assert read == pytest.approx(-1.0, abs=1e-6)


def test_a_set_refuses_names_that_are_there_twice(model: mujoco.MjModel) -> None:
    one = nominal_parameter(model, "kp", "arm_joint1")
    with pytest.raises(ConfigError, match=r"arm_joint1\.kp is there twice"):
        ParameterSet([one, one])


def test_a_delay_needs_a_prepared_scene(parameters: ParameterSet) -> None:
    with pytest.raises(ConfigError, match=r"keeps no history of commands.*prepare\(spec\)"):
        parameters.apply(scene().compile(), parameters.nominal)


def test_unknown_names_are_answered_with_the_known_ones(model: mujoco.MjModel) -> None:
    with pytest.raises(
        UnknownNameError, match=r"joint of the model 'elbow'\. Available: .*joint1"
    ):
        nominal_parameter(model, "armature", "elbow")
    with pytest.raises(UnknownNameError, match="unknown quantity 'colour'"):
        nominal_parameter(model, "colour", "arm_joint1")


def test_tables_of_another_shape_are_refused(
    parameters: ParameterSet, model: mujoco.MjModel
) -> None:
    with pytest.raises(ShapeError, match="table of parameter values"):
        parameters.writer(model, Batch(model, 2, 1)).write(parameters.nominal[None])


def test_bounds_must_hold_the_nominal() -> None:
    with pytest.raises(ConfigError, match=r"nominal is 5.0, bounds are \[0.1, 1.0\]"):
        Parameter(name="m", quantity="mass", targets=("cube",), nominal=5.0, low=0.1, high=1.0)
    with pytest.raises(ConfigError, match="must be > 0 for a logarithm"):
        Parameter(name="m", quantity="mass", targets=("cube",), nominal=0.5, low=0.0, high=1.0)


def test_an_arm_has_a_parameter_of_each_kind_a_joint_and_one_delay() -> None:
    twin = make_twin("reach")
    model = twin.build().compile()
    usual = arm_parameters(model, twin.robot.arms)
    assert len(usual) == 22
    assert usual.names[0] == "arm_joint1.armature"
    assert usual.parameters[-1].targets == twin.robot.arms[0].joint_names
    gains = arm_parameters(model, twin.robot.arms, ("kp", "kv"))
    assert {one.prior_std for one in gains.parameters} == {0.05}
    with pytest.raises(UnknownNameError, match="unknown of an arm 'colour'"):
        arm_parameters(model, twin.robot.arms, ("colour",))  # type: ignore[arg-type]


def test_a_twin_of_another_arm_is_refused() -> None:
    arm = make_twin("reach").robot.arms[0]
    short = {
        field.name: value[:6] if np.shape(value) == (7,) else value
        for field in dataclasses.fields(arm)
        for value in [getattr(arm, field.name)]
    }
    other = RobotSpec(name="short", arms=(ArmSpec(**short),))
    with pytest.raises(ConfigError, match="arm 'arm' has 6 joints, but the twin knows the masses"):
        arm_scene(other)
