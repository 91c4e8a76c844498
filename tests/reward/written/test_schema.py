import json

import numpy as np
import pytest

from robot_rl.control.observe import ObserveCfg
from robot_rl.env.fake_port import FakePort, fake_reach_task
from robot_rl.env.state_fields import StateField
from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.reward.written.schema import StateSchema, schema_of


def test_columns_are_the_fields_in_their_units(schema, some_vectors):
    columns = schema.columns(some_vectors)
    assert {name: part.shape for name, part in columns.items()} == {
        "gap_m": (50, 2),
        "velocity_m_s": (50, 2),
        "point_m": (50, 2),
    }
    np.testing.assert_allclose(columns["velocity_m_s"], 5.0 * some_vectors[:, 2:4], rtol=1e-6)


def test_vectors_of_another_robot_are_refused(schema):
    with pytest.raises(ShapeError, match=r"has shape \(3, 7\), but must have shape \(3, 6\)"):
        schema.columns(np.zeros((3, 7)))


def test_a_schema_comes_back_from_its_file(schema):
    assert StateSchema.from_plain(json.loads(json.dumps(schema.to_plain()))) == schema


def test_people_read_names_units_frames_and_what_a_success_changes(schema):
    lines = schema.describe(np.ones((3, 6)), np.zeros((3, 6))).splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "gap_m: float64 (N, 2) [m] in world, hand minus point; "
        "successes begin at (1, 1) and end at (0, 0)"
    )
    assert lines[1].endswith("successes begin at (5, 5) and end at (0, 0)")


def test_the_schema_of_an_environment_is_read_from_robot_and_task():
    port = FakePort()
    task, cfg = fake_reach_task(port.spec), ObserveCfg(use_proprioception=True)
    felt = 2 * port.spec.dof + port.spec.num_grippers + 9 * len(port.spec.arms)
    found = schema_of(port.spec, task, cfg, felt + task.feature_dim)
    assert found.names[:2] == ("joints_rad", "joint_speeds_rad_s")
    assert found.names[-1] == "features" and found.instruction == task.instruction
    with pytest.raises(DataError, match="the episodes hold state vectors of 5 numbers"):
        schema_of(port.spec, task, cfg, 5)


def test_a_state_of_nothing_and_a_name_that_stands_twice_are_refused():
    with pytest.raises(ConfigError, match="schema: no fields"):
        StateSchema(instruction="reach", fields=())
    gap = StateField("gap_m", 3, "m", "world", "gap")
    with pytest.raises(ConfigError, match="each under a name of its own"):
        StateSchema(instruction="reach", fields=(gap, gap))
