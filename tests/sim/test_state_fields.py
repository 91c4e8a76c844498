"""What the twin's tasks say of their features is what the features are."""

import numpy as np
import pytest

from robot_rl.types import RobotState
from sim.tasks import TASKS, make_port, make_task, make_twin
from sim.tasks.tool import tool


def values(task, state: RobotState):
    """Each field's values in its unit."""
    ends = np.cumsum([field.size for field in task.fields])
    parts = np.split(task.features(state), ends[:-1])
    return {f.name: f.values(part) for f, part in zip(task.fields, parts, strict=True)}


@pytest.fixture
def start():
    """The twin of a name and its state at a start."""
    ports = []

    def make(name):
        port = make_port(name)
        ports.append(port)
        port.connect()
        port.reset(7)
        return make_twin(name), port.read()

    yield make
    for port in ports:
        port.close()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_describes_each_of_its_numbers(name):
    task = make_task(name)
    assert sum(field.size for field in task.fields) == task.feature_dim
    assert all(field.meaning and field.unit != "?" for field in task.fields)


@pytest.mark.parametrize(
    ("name", "pose", "sign"), [("peg", "hole", -1), ("pick-lift", "cube", 1), ("push", "puck", 1)]
)
def test_gaps_are_metres_in_world(start, name, pose, sign):
    twin, state = start(name)
    found = values(twin.task, state)
    gap = state.poses[pose][:3] - tool(twin.robot.arms[0], state).position
    said = found["puck_gap_m" if name == "push" else "gap_m"]
    np.testing.assert_allclose(said, sign * gap, atol=1e-6)


def test_places_and_openings_are_in_their_units(start):
    twin, state = start("pick-lift")
    found = values(twin.task, state)
    np.testing.assert_allclose(found["opening_m"], state.gripper_m, atol=1e-6)
    np.testing.assert_allclose(found["cube_height_m"], state.poses["cube"][2:3], atol=1e-6)
    np.testing.assert_allclose(found["cube_x_m"], state.poses["cube"][:1], atol=1e-6)
    twin, state = start("peg")
    np.testing.assert_allclose(
        values(twin.task, state)["hole_xy_m"], state.poses["hole"][:2], atol=1e-6
    )
    twin, state = start("drawer")
    found = values(twin.task, state)
    np.testing.assert_allclose(found["drawer_m"], state.signals["drawer"], atol=1e-6)
    twin, state = start("bimanual-lift")
    np.testing.assert_allclose(
        values(twin.task, state)["tray_m"], state.poses["tray"][:3], atol=1e-6
    )
