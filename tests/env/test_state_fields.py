import numpy as np
import pytest

from robot_rl.control.observe import ObservationBuilder, ObserveCfg, proprioception
from robot_rl.env.fake_port import FakePort, fake_reach_task
from robot_rl.env.state_fields import (
    StateField,
    check_fields,
    observed_fields,
    proprioception_fields,
    variable_name,
)
from robot_rl.env.task_file import TaskFile
from robot_rl.errors import ConfigError


@pytest.fixture
def port():
    port = FakePort()
    port.connect()
    port.reset(0)
    return port


def test_a_field_brings_numbers_back_to_their_unit():
    place = StateField("place_m", 2, "m", "world", "where it is", 0.05, (0.5, 0.0))
    np.testing.assert_allclose(place.values(np.array([[2.0, -1.0]])), [[0.6, -0.05]])


@pytest.mark.parametrize(
    "cfg",
    [
        ObserveCfg(),
        ObserveCfg(use_proprioception=True),
        ObserveCfg(frames=3),
        ObserveCfg(frames=2, use_proprioception=True, use_time=True),
    ],
)
def test_every_number_of_an_observation_is_described_once(port, cfg):
    task = fake_reach_task(port.spec)
    fields = observed_fields(port.spec, task, cfg)
    size = ObservationBuilder(port.spec, task, cfg).state_dim
    check_fields("observation", fields, size)


def test_proprioception_is_described_in_its_order(port):
    state = port.read()
    vector = proprioception(port.spec, state)
    fields = proprioception_fields(port.spec)
    ends = np.cumsum([field.size for field in fields])
    parts = dict(zip([f.name for f in fields], np.split(vector, ends[:-1]), strict=True))
    np.testing.assert_array_equal(parts["joints_rad"], state.q_rad.astype(np.float32))
    np.testing.assert_array_equal(parts["joint_speeds_rad_s"], state.dq_rad_s.astype(np.float32))
    x_axes = [part for name, part in parts.items() if name.endswith("x_axis")]
    assert all(np.linalg.norm(axis) == pytest.approx(1.0, abs=1e-5) for axis in x_axes)


def test_what_a_task_file_shows_is_described():
    file = TaskFile(
        name="door",
        instruction="open it",
        control_hz=10.0,
        horizon=100,
        poses=("Door/Handle",),
        signals={"force": 2},
    )
    names = [(field.name, field.size) for field in file.task().fields]
    assert names == [
        ("door_handle_position_m", 3),
        ("door_handle_quaternion", 4),
        ("force_signal", 2),
    ]


@pytest.mark.parametrize(("name", "variable"), [("Cube 1", "cube_1"), ("7th", "x_7th")])
def test_any_name_can_begin_a_field(name, variable):
    assert variable_name(name) == variable


def test_fields_that_do_not_fit_are_refused():
    one = StateField("gap_m", 3, "m", "world", "gap")
    with pytest.raises(ConfigError, match="describe 3 numbers, but must describe 4"):
        check_fields("task", [one], 4)
    with pytest.raises(ConfigError, match="each under a name of its own"):
        check_fields("task", [one, one], 6)
    with pytest.raises(ConfigError, match="must be called by a-z 0-9 _"):
        StateField("__class__", 1, "-", "-", "a trick")
    with pytest.raises(ConfigError, match="must be one number or as many"):
        StateField("gap_m", 3, "m", "world", "gap", 1.0, (0.0, 0.0))
