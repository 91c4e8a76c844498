"""The Franka Panda as an `ArmSpec`: what the twin, `FakePort` and the real arm all start from."""

import numpy as np

from robot_rl.types import F64, ArmSpec, CameraSpec, GripperSpec, RobotSpec

__all__ = ["franka_arm", "franka_like_spec"]

_HALF_PI = np.pi / 2
# Ref: Franka Control Interface documentation, "Robot and interface specifications" (Panda).
_DH_A_M = np.array([0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088])
_DH_ALPHA_RAD = np.array([0.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0]) * _HALF_PI
_DH_D_M = np.array([0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0])
_LOWER_RAD = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
_UPPER_RAD = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
_VELOCITY_RAD_S = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
_ACCELERATION_RAD_S2 = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])
_HOME_RAD = np.array([0.0, -0.5, 0.0, -1.5, 0.0, 1.0, 0.5]) * _HALF_PI
_FLANGE_M, _HAND_TCP_M, _HAND_TURN_RAD = 0.107, 0.1034, -np.pi / 4


def _flange_to_tcp() -> F64:
    """(4, 4) [m] from the frame of joint 7 through flange and hand to between the fingertips."""
    c, s = np.cos(_HAND_TURN_RAD), np.sin(_HAND_TURN_RAD)
    T = np.eye(4)
    T[:2, :2] = [[c, -s], [s, c]]
    T[2, 3] = _FLANGE_M + _HAND_TCP_M
    return T


def franka_arm(
    name: str = "arm",
    *,
    T_world_base: F64 | None = None,
    workspace_lower_m: tuple[float, float, float] = (0.2, -0.45, 0.0),
    workspace_upper_m: tuple[float, float, float] = (0.75, 0.45, 0.75),
) -> ArmSpec:
    """One Panda with its hand, standing at `T_world_base` (4, 4) [m], or at the world's origin."""
    return ArmSpec(
        name=name,
        joint_names=tuple(f"{name}_joint{i}" for i in range(1, 8)),
        dh_a_m=_DH_A_M,
        dh_alpha_rad=_DH_ALPHA_RAD,
        dh_d_m=_DH_D_M,
        T_world_base=np.eye(4) if T_world_base is None else T_world_base,
        T_flange_tcp=_flange_to_tcp(),
        joint_lower_rad=_LOWER_RAD,
        joint_upper_rad=_UPPER_RAD,
        joint_velocity_limit_rad_s=_VELOCITY_RAD_S,
        joint_acceleration_limit_rad_s2=_ACCELERATION_RAD_S2,
        workspace_lower_m=np.array(workspace_lower_m),
        workspace_upper_m=np.array(workspace_upper_m),
        home_rad=_HOME_RAD,
        gripper=GripperSpec(max_width_m=0.08, max_speed_m_s=0.1, max_force_n=70.0),
    )


def franka_like_spec(
    name: str = "franka",
    *,
    arms: tuple[ArmSpec, ...] | None = None,
    cameras: tuple[CameraSpec, ...] = (),
    tracked: tuple[str, ...] = (),
) -> RobotSpec:
    """A robot of one Panda, or of the given `arms`."""
    return RobotSpec(name=name, arms=arms or (franka_arm(),), cameras=cameras, tracked=tracked)
