"""The arm of the twin as MuJoCo bodies: any `ArmSpec` in modified DH, drawn with our primitives.

command:   camera, arm → observe → policy (base + residual) → decode → safety → **send**

The joint frames come from the same `ArmSpec` that the inverse kinematics uses, so twin and control
code cannot disagree. Capsules instead of meshes: about 60 times faster to render, and nobody's
licence but ours.
"""

from typing import Literal

import mujoco
import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import F64, ArmSpec

__all__ = [
    "DRIVE_DAMPING",
    "DRIVE_STIFFNESS",
    "FINGERS",
    "ArmLook",
    "add_arm",
    "add_tool_site",
    "body_name",
    "split_transform",
    "tendon_name",
    "touch_scene",
]

ArmLook = Literal["primitives", "menagerie"]
FINGERS = ("left", "right")

# (mass, centre of mass, xx yy zz xy xz yz about it) a link.
# Ref: Gaz et al. 2019, "Dynamic identification of the Franka Emika Panda", as in franka_ros.
_INERTIALS = (
    (4.970684, (0.003875, 0.002081, -0.04762),
     (0.70337, 0.70661, 0.0091170, -0.000139, 0.0067720, 0.019169)),
    (0.646926, (-0.003141, -0.02872, 0.003495),
     (0.0079620, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    (3.228604, (0.027518, 0.039252, -0.066502),
     (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454),
     (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    (1.225946, (-0.011953, 0.041065, -0.038437),
     (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    (1.666555, (0.060149, -0.014117, -0.010517),
     (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    (0.735522, (0.010517, -0.004252, 0.061597),
     (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)  # fmt: skip

# One capsule a link: from, to, radius, in the frame of the link.
_CAPSULES = (
    ((0, 0, -0.19), (0, 0, -0.03), 0.065),
    ((0, 0, 0), (0, -0.19, 0), 0.065),
    ((0, 0, -0.09), (0.0825, 0, 0), 0.06),
    ((0, 0, 0), (-0.0825, 0.11, 0), 0.06),
    ((0, 0, -0.24), (0, 0, -0.03), 0.055),
    ((0, 0, 0), (0.088, 0, 0), 0.05),
    ((0, 0, 0), (0, 0, 0.075), 0.045),
)

_FIRST_TOUCHING = 4
"""Links before the fifth stay clear of any scene within the workspace box; looking for their
contacts would take a tenth of all time."""

DRIVE_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # [Nm/rad]
DRIVE_DAMPING = tuple(0.04 * stiffness for stiffness in DRIVE_STIFFNESS)  # [Nm s/rad]
"""In one proportion, so that all joints lag alike and straight lines stay straight."""
_TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # Franka data sheet
# Ref: mujoco_menagerie franka_fr3 (reflected inertia, viscous and Coulomb friction).
_ARMATURE = (0.195, 0.195, 0.195, 0.195, 0.074, 0.074, 0.074)
_DAMPING = 0.21
_FRICTION_LOSS = (1.137, 1.137, 1.137, 1.137, 0.763, 0.44, 0.248)

_FLANGE_TO_HAND_M = 0.107
_HAND_TO_FINGER_M = 0.0584
_LIGHT = (0.86, 0.87, 0.89, 1.0)
_DARK = (0.28, 0.30, 0.34, 1.0)


def body_name(arm: ArmSpec, part: str) -> str:
    """The name of a body of `arm`, as in "arm/hand"."""
    return f"{arm.name}/{part}"


def tendon_name(arm: ArmSpec) -> str:
    """The tendon, and its actuator, whose length is the opening between the fingers."""
    return f"{arm.name}/width"


def add_arm(spec: mujoco.MjSpec, arm: ArmSpec, look: ArmLook = "primitives") -> mujoco.MjsBody:
    """Add base, seven links, hand and, if `arm` has one, the gripper; return the hand's body.

    Joints and their position actuators are named by `arm.joint_names`; the site "<name>/tcp"
    lies at the tool centre point. All bodies are compensated for gravity, as Franka does.

    Args:
        spec: The scene.
        arm: The arm.
        look: Our capsules, or the Panda's meshes, masses and contacts of MuJoCo Menagerie.

    Raises:
        MissingExtraError: `look` is "menagerie", which is not installed.
        ConfigError: There is no such look.
    """
    if look == "menagerie":
        from sim.menagerie import add_menagerie_arm

        hand = add_menagerie_arm(spec, arm)
    elif look == "primitives":
        hand = _add_primitives_arm(spec, arm)
    else:
        raise ConfigError(f"arm_look is '{look}', but must be 'primitives' or 'menagerie'.")
    for i, joint in enumerate(arm.joint_names):
        _add_drive(spec, arm, i, joint)
    if arm.gripper is not None:
        _add_gripper_drive(spec, arm)
    return hand


def _add_primitives_arm(spec: mujoco.MjSpec, arm: ArmSpec) -> mujoco.MjsBody:
    """The bodies of the arm, without drives; returns the hand's."""
    base = spec.worldbody.add_body(name=body_name(arm, "base"), gravcomp=1)
    base.pos, base.quat = split_transform(arm.T_world_base)
    _capsule(base, (0, 0, 0.0), (0, 0, 0.12), 0.075, _DARK)
    parent = base
    for i, joint in enumerate(arm.joint_names):
        parent = _add_link(parent, arm, i, joint)
    add_tool_site(parent, arm)
    hand = parent.add_body(name=body_name(arm, "hand"), gravcomp=1)
    hand.pos = [0, 0, _FLANGE_TO_HAND_M]
    hand.quat = [np.cos(np.pi / 8), 0, 0, -np.sin(np.pi / 8)]  # -45 degrees about the flange
    _inertial(hand, 0.73, (-0.01, 0, 0.03), (0.001, 0.0025, 0.0017, 0, 0, 0))
    touch_scene(_capsule(hand, (0, -0.075, 0.03), (0, 0.075, 0.03), 0.028, _LIGHT))
    if arm.gripper is not None:
        _add_fingers(hand, arm)
    return hand


def add_tool_site(link: mujoco.MjsBody, arm: ArmSpec) -> None:
    """Mark the tool centre point on the last link."""
    tcp = link.add_site(name=body_name(arm, "tcp"), size=[0.004, 0.004, 0.004], group=4)
    tcp.pos, tcp.quat = split_transform(arm.T_flange_tcp)


def _add_link(parent: mujoco.MjsBody, arm: ArmSpec, i: int, joint_name: str) -> mujoco.MjsBody:
    """Link i on its joint; Ref: Craig, "Introduction to Robotics", eq. 3.6."""
    alpha, d = arm.dh_alpha_rad[i], arm.dh_d_m[i]
    body = parent.add_body(name=body_name(arm, f"link{i + 1}"), gravcomp=1)
    body.pos = [arm.dh_a_m[i], -np.sin(alpha) * d, np.cos(alpha) * d]
    body.quat = [np.cos(alpha / 2), np.sin(alpha / 2), 0, 0]
    _inertial(body, *_INERTIALS[i])
    joint = body.add_joint(name=joint_name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
    joint.range = [arm.joint_lower_rad[i], arm.joint_upper_rad[i]]
    joint.armature = _ARMATURE[i]
    joint.damping[0] = _DAMPING
    joint.frictionloss = _FRICTION_LOSS[i]
    capsule = _capsule(body, *_CAPSULES[i], _LIGHT if i % 2 else _DARK)
    if i >= _FIRST_TOUCHING:
        touch_scene(capsule)
    return body


def _add_drive(spec: mujoco.MjSpec, arm: ArmSpec, i: int, joint: str) -> None:
    drive = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    drive.set_to_position(kp=DRIVE_STIFFNESS[i], kv=DRIVE_DAMPING[i])
    drive.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    drive.forcerange = [-_TORQUE_NM[i], _TORQUE_NM[i]]
    drive.ctrllimited = mujoco.mjtLimited.mjLIMITED_TRUE
    drive.ctrlrange = [arm.joint_lower_rad[i], arm.joint_upper_rad[i]]


def _add_fingers(hand: mujoco.MjsBody, arm: ArmSpec) -> None:
    """Two fingers with box pads, sliding along the hand's y axis."""
    assert arm.gripper is not None
    for side, sign in zip(FINGERS, (1.0, -1.0), strict=True):
        finger = hand.add_body(name=body_name(arm, side), gravcomp=1)
        finger.pos = [0, 0, _HAND_TO_FINGER_M]
        _inertial(finger, 0.015, (0, 0.01 * sign, 0.03), (6e-6, 6e-6, 2e-6, 0, 0, 0))
        slide = finger.add_joint(
            name=body_name(arm, f"{side}_slide"),
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, sign, 0],
            range=[0, arm.gripper.max_width_m / 2],
        )
        slide.armature, slide.damping[0] = 0.1, 5.0
        _box(finger, (0, 0.0145 * sign, 0.022), (0.010, 0.007, 0.022), _DARK)
        pad = _box(finger, (0, 0.0045 * sign, 0.044), (0.010, 0.0045, 0.010), _DARK)
        pad.condim, pad.friction = 4, [1.2, 0.01, 0.0001]
        pad.solimp[:3] = [0.95, 0.99, 0.001]


def _add_gripper_drive(spec: mujoco.MjSpec, arm: ArmSpec) -> None:
    """Couple the fingers, and drive their distance through one tendon."""
    assert arm.gripper is not None
    tendon = spec.add_tendon(name=tendon_name(arm))
    slides = [body_name(arm, f"{side}_slide") for side in FINGERS]
    for slide in slides:
        tendon.wrap_joint(slide, 1.0)
    couple = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT, name1=slides[0], name2=slides[1], solref=[0.005, 1]
    )
    couple.data[:2] = [0, 1]
    drive = spec.add_actuator(
        name=tendon_name(arm), target=tendon_name(arm), trntype=mujoco.mjtTrn.mjTRN_TENDON
    )
    drive.set_to_position(kp=2000.0, kv=60.0)
    drive.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    drive.forcerange = [-arm.gripper.max_force_n, arm.gripper.max_force_n]
    drive.ctrllimited = mujoco.mjtLimited.mjLIMITED_TRUE
    drive.ctrlrange = [0, arm.gripper.max_width_m]


def touch_scene(geom: mujoco.MjsGeom) -> mujoco.MjsGeom:
    """Let a part of an arm touch the scene, but no arm: limits keep arms from themselves."""
    geom.contype, geom.conaffinity = 2, 1
    return geom


def split_transform(T: F64) -> tuple[list[float], list[float]]:
    """Position and quaternion (w, x, y, z) of a transform."""
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(T[:3, :3]).ravel())
    return T[:3, 3].tolist(), quat.tolist()


def _inertial(
    body: mujoco.MjsBody, mass: float, com: tuple[float, ...], full: tuple[float, ...]
) -> None:
    body.explicitinertial = True
    body.mass, body.ipos, body.fullinertia = mass, list(com), list(full)


def _capsule(
    body: mujoco.MjsBody,
    start: tuple[float, ...],
    end: tuple[float, ...],
    radius: float,
    rgba: tuple[float, ...],
) -> mujoco.MjsGeom:
    """A capsule that is only seen."""
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*start, *end])
    geom.size, geom.rgba = [radius, 0, 0], list(rgba)
    geom.contype = geom.conaffinity = 0
    return geom


def _box(
    body: mujoco.MjsBody,
    pos: tuple[float, ...],
    half: tuple[float, ...],
    rgba: tuple[float, ...],
) -> mujoco.MjsGeom:
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=list(pos), size=list(half))
    geom.rgba = list(rgba)
    return touch_scene(geom)
