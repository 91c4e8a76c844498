"""The same arm on real meshes: MuJoCo Menagerie's Panda under our names and our drives.

Optional: the package `mujoco-menagerie` fetches the model once (or reads it from
`MENAGERIE_ROOT`). Its link frames are ours, so kinematics, tasks and experts do not change; its
masses, joint friction and contact shapes do.
"""

from pathlib import Path

import mujoco

from robot_rl.errors import MissingExtraError, PortError
from robot_rl.types import ArmSpec
from sim.arm import FINGERS, add_tool_site, body_name, split_transform, touch_scene

__all__ = ["ROBOT", "add_menagerie_arm"]

ROBOT, _ENTRY = "franka_emika_panda", "panda"


def add_menagerie_arm(spec: mujoco.MjSpec, arm: ArmSpec) -> mujoco.MjsBody:
    """Add the bodies of Menagerie's Panda in the place of `arm`, without drives.

    Args:
        spec: The scene.
        arm: The arm, of a Panda's kinematics; without a gripper, the fingers are left out.

    Returns:
        The hand's body.

    Raises:
        MissingExtraError: `mujoco-menagerie` is not installed.
        PortError: The model cannot be had, or lacks a part that a Panda has.
    """
    panda = mujoco.MjSpec.from_file(str(_panda_xml()))
    for part in (
        *panda.actuators,
        *panda.tendons,
        *panda.equalities,
        *panda.excludes,
        *panda.keys,
    ):
        panda.delete(part)  # drives and couplings are ours
    for light in panda.lights:
        panda.delete(light)
    if arm.gripper is None:
        for side in FINGERS:
            panda.delete(_part(panda, "body", f"{side}_finger"))
    for geom in panda.geoms:
        if geom.contype or geom.conaffinity or geom.classname.name == "collision":
            touch_scene(geom)
    place = spec.worldbody.add_frame()
    place.pos, place.quat = split_transform(arm.T_world_base)
    spec.attach(panda, frame=place, prefix=f"{arm.name}/")
    _rename(spec, arm)
    add_tool_site(_part(spec, "body", body_name(arm, "link7")), arm)
    return _part(spec, "body", body_name(arm, "hand"))


def _rename(spec: mujoco.MjSpec, arm: ArmSpec) -> None:
    """Give base, joints and fingers the names that the twin looks for; compensate gravity."""
    _part(spec, "body", body_name(arm, "link0")).name = body_name(arm, "base")
    for i, joint in enumerate(arm.joint_names, start=1):
        _part(spec, "joint", body_name(arm, f"joint{i}")).name = joint
    if arm.gripper is not None:
        for i, side in enumerate(FINGERS, start=1):
            _part(spec, "body", body_name(arm, f"{side}_finger")).name = body_name(arm, side)
            slide = _part(spec, "joint", body_name(arm, f"finger_joint{i}"))
            slide.name = body_name(arm, f"{side}_slide")
    for body in spec.bodies:
        if body.name.startswith(f"{arm.name}/"):
            body.gravcomp = 1


def _panda_xml() -> Path:
    """Where the model lies, fetched if it was not there."""
    try:
        import mujoco_menagerie
    except ImportError as error:
        raise MissingExtraError(
            "mujoco_menagerie", "menagerie", "the arm on real meshes"
        ) from error
    try:
        return Path(mujoco_menagerie.get(ROBOT).xml(_ENTRY))
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise PortError(
            f"the model '{ROBOT}' cannot be had: {error}. "
            "Point MENAGERIE_ROOT to a checkout of mujoco_menagerie, or use arm_look='primitives'."
        ) from error


def _part(spec: mujoco.MjSpec, kind: str, name: str) -> mujoco.MjsBody:
    """A body or joint by name."""
    part = getattr(spec, kind)(name)
    if part is None:
        raise PortError(
            f"the model '{ROBOT}' has no {kind} '{name}'. Use a newer mujoco-menagerie."
        )
    return part
