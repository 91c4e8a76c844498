"""The world around the arm: options, light, table, cameras, and boxes to fill it with.

Everything that a task moves about between episodes without giving it weight is a mocap body: its
pose is state, so that each simulation of a batch has its own.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from sim.cameras import use_fast_rendering

__all__ = [
    "CAMERA_NAMES",
    "TIMESTEP_S",
    "add_box",
    "add_cylinder",
    "add_fixture",
    "add_object",
    "add_wrist_camera",
    "empty_scene",
]

TIMESTEP_S = 0.002
CAMERA_NAMES = ("front", "wrist")


def empty_scene(
    name: str, *, look_at: tuple[float, float, float] = (0.5, 0.0, 0.05)
) -> mujoco.MjSpec:
    """A table with its top at z = 0, lights, and the "front" camera; options as measured.

    implicitfast at 2 ms with an elliptic cone and impratio 10 holds a grasped object without
    slip; a stiffer solver or a longer step drops it.
    """
    spec = mujoco.MjSpec()
    spec.modelname = name
    spec.compiler.degree = False
    use_fast_rendering(spec)
    option = spec.option
    option.timestep = TIMESTEP_S
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0
    # Splitting an arm and an object into islands costs more than it saves.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
    world = spec.worldbody
    world.add_light(pos=[0.3, 0.4, 1.5], dir=[0.1, -0.25, -1.0], diffuse=[0.7, 0.7, 0.7])
    world.add_light(pos=[1.2, -0.6, 1.2], dir=[-0.6, 0.4, -1.0], diffuse=[0.3, 0.3, 0.3])
    spec.visual.headlight.ambient[:] = 0.35
    table = world.add_geom(name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.2, 1.2, 0.1])
    table.rgba = [0.55, 0.46, 0.38, 1.0]
    _solid(table)
    target = world.add_body(name="look_at", pos=list(look_at))
    front = world.add_camera(name="front", pos=[look_at[0] + 0.55, -0.35, look_at[2] + 0.45])
    front.mode, front.targetbody = mujoco.mjtCamLight.mjCAMLIGHT_TARGETBODY, target.name
    front.fovy = 45.0
    return spec


def add_wrist_camera(hand: mujoco.MjsBody) -> None:
    """The "wrist" camera: ahead of the hand, looking back at the fingertips."""
    place, target = np.array([0.08, 0.0, 0.0]), np.array([0.0, 0.0, 0.13])
    back = (place - target) / np.linalg.norm(place - target)  # cameras look along their -z
    right = np.array([0.0, 1.0, 0.0])
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack((right, np.cross(back, right), back), 1).ravel())
    hand.add_camera(name="wrist", pos=place.tolist(), quat=quat.tolist(), fovy=75.0)


def add_object(spec: mujoco.MjSpec, name: str, pos: Sequence[float]) -> mujoco.MjsBody:
    """A free body; its pose is tracked under its name."""
    body = spec.worldbody.add_body(name=name, pos=list(pos))
    body.add_freejoint(name=name)
    return body


def add_fixture(spec: mujoco.MjSpec, name: str, pos: Sequence[float]) -> mujoco.MjsBody:
    """A body that no force moves but every episode places anew; its pose is tracked."""
    return spec.worldbody.add_body(name=name, pos=list(pos), mocap=True)


def add_box(
    body: mujoco.MjsBody,
    pos: Sequence[float],
    half: Sequence[float],
    rgba: Sequence[float],
    *,
    mass_kg: float = 0.0,
    friction: float = 0.8,
    solid: bool = True,
) -> mujoco.MjsGeom:
    """A box of the scene; one that is not solid is only seen."""
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=list(pos), size=list(half))
    geom.rgba, geom.mass = list(rgba), mass_kg
    geom.friction[0] = friction
    if solid:
        _solid(geom)
    else:
        geom.contype = geom.conaffinity = 0
    return geom


def add_cylinder(
    body: mujoco.MjsBody,
    radius: float,
    half_height: float,
    rgba: Sequence[float],
    *,
    mass_kg: float = 0.0,
    friction: float = 0.8,
    priority: int = 0,
    solid: bool = True,
) -> mujoco.MjsGeom:
    """An upright cylinder about the origin of a body; the higher priority's friction rules."""
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, half_height, 0])
    geom.rgba, geom.mass, geom.priority = list(rgba), mass_kg, priority
    geom.friction[0] = friction
    if solid:
        _solid(geom)
    else:
        geom.contype = geom.conaffinity = 0
    return geom


def _solid(geom: mujoco.MjsGeom) -> None:
    """Scene geoms touch each other and the arms."""
    geom.contype, geom.conaffinity = 1, 3
    geom.solref = [0.006, 1.0]
