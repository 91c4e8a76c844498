"""A stand-in with the names, frames and file layout of Menagerie's Panda, which cannot be fetched
here; the real one is loaded by the same path."""

import sys

import mujoco
import numpy as np
import pytest

from robot_rl.control.kinematics import forward
from robot_rl.env.conformance import check_port
from robot_rl.errors import ConfigError, MissingExtraError, PortError
from sim.batch import BatchedTwin
from sim.tasks import make_port, make_twin

pytest.importorskip("mujoco_menagerie")

MESHES = {"arm_look": "menagerie"}
TETRAHEDRON = "v 0 0 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"
LINKS = [
    ("0 0 0.333", "1 0 0 0"),
    ("0 0 0", "1 -1 0 0"),
    ("0 -0.316 0", "1 1 0 0"),
    ("0.0825 0 0", "1 1 0 0"),
    ("-0.0825 0.384 0", "1 -1 0 0"),
    ("0 0 0", "1 1 0 0"),
    ("0.088 0 0", "1 1 0 0"),
]


def _panda() -> str:
    inside = ""
    for i in (2, 1):
        inside += f"""<body name="{"left" if i == 1 else "right"}_finger" pos="0 0 0.0584"
          quat="{"1 0 0 0" if i == 1 else "0 0 0 1"}">
          <joint name="finger_joint{i}" class="finger"/>
          <inertial mass="0.015" pos="0 0 0" diaginertia="2e-6 2e-6 2e-6"/>
          <geom type="box" size="0.01 0.004 0.0095" pos="0 0.004 0.0445" class="collision"/>
          </body>"""
    inside = f"""<body name="hand" pos="0 0 0.107" quat="0.9238795 0 0 -0.3826834">
      <inertial mass="0.73" pos="-0.01 0 0.03" diaginertia="0.001 0.0025 0.0017"/>
      <geom type="mesh" mesh="part" class="visual"/>{inside}</body>"""
    for i, (pos, quat) in reversed(list(enumerate(LINKS, start=1))):
        inside = f"""<body name="link{i}" pos="{pos}" quat="{quat}"><joint name="joint{i}"/>
          <inertial mass="2" pos="0 0 0" diaginertia="0.02 0.02 0.02"/>
          <geom type="mesh" mesh="part" class="visual"/>
          <geom type="capsule" size="0.04 0.02" class="collision"/>{inside}</body>"""
    return f"""<mujoco model="panda"><compiler angle="radian" meshdir="assets" autolimits="true"/>
    <option integrator="implicitfast"/>
    <default><default class="panda"><joint armature="0.1" damping="1" axis="0 0 1"/>
      <default class="finger"><joint axis="0 1 0" type="slide" range="0 0.04"/></default>
      <default class="visual"><geom contype="0" conaffinity="0" group="2"/></default>
      <default class="collision"><geom group="3"/></default></default></default>
    <asset><mesh name="part" file="part.obj"/></asset>
    <worldbody><light name="top" pos="0 0 2"/>
      <body name="link0" childclass="panda">{inside}</body></worldbody>
    <tendon><fixed name="split"><joint joint="finger_joint1" coef="0.5"/>
      <joint joint="finger_joint2" coef="0.5"/></fixed></tendon>
    <contact><exclude body1="link0" body2="link1"/></contact>
    <equality><joint joint1="finger_joint1" joint2="finger_joint2"/></equality>
    <actuator><position name="actuator1" joint="joint1" kp="4500"/>
      <general name="actuator8" tendon="split" ctrlrange="0 255"/></actuator>
    <keyframe><key name="home" qpos="0 0 0 -1.5 0 1.5 0 0.04 0.04"/></keyframe></mujoco>"""


@pytest.fixture
def menagerie(tmp_path, monkeypatch):
    folder = tmp_path / "franka_emika_panda"
    (folder / "assets").mkdir(parents=True)
    (folder / "panda.xml").write_text(_panda())
    (folder / "assets" / "part.obj").write_text(TETRAHEDRON)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    return folder


@pytest.mark.parametrize("name", ["pick-lift", "peg", "bimanual-lift"])
def test_a_twin_on_meshes_is_a_robot_port(menagerie, name):
    check_port(lambda: make_port(name, difficulty=MESHES))


def test_the_tool_on_meshes_is_where_the_kinematics_say(menagerie):
    port = make_port("bimanual-lift", difficulty=MESHES)
    port.connect()
    assert port.model.nmesh > 0
    state = port.read()
    mujoco.mj_kinematics(port.model, port.data)
    for i, arm in enumerate(port.spec.arms):
        T = arm.T_world_base @ forward(arm, state.q_rad[7 * i : 7 * i + 7])
        np.testing.assert_allclose(port.data.site(f"{arm.name}/tcp").xpos, T[:3, 3], atol=1e-6)


def test_the_expert_also_works_on_meshes(menagerie):
    twin = make_twin("pick-lift", **MESHES)
    batch = BatchedTwin(twin, 10)
    batch.reset(range(10))
    success = np.zeros(10, bool)
    while batch.active.any():
        success |= batch.step(twin.expert(batch.state))[2]
    assert success.mean() >= 0.9


def test_a_missing_model_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(PortError, match=r"'franka_emika_panda' cannot be had: .*MENAGERIE_ROOT"):
        make_twin("peg", **MESHES).build()


def test_a_model_without_a_needed_part_is_refused_by_name(menagerie):
    xml = (menagerie / "panda.xml").read_text().replace('"left_finger"', '"thumb"')
    (menagerie / "panda.xml").write_text(xml)
    with pytest.raises(PortError, match=r"has no body 'arm/left_finger'"):
        make_twin("pick-lift", **MESHES).build()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(MissingExtraError, match=r"robot-rl\[menagerie\]"):
        make_twin("peg", **MESHES).build()


def test_an_unknown_look_is_refused():
    with pytest.raises(ConfigError, match=r"arm_look is 'lego', but must be"):
        make_twin("peg", arm_look="lego").build()
